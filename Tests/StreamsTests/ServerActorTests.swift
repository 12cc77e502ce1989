// Readers and writers inside actors: pinned ones, ordinary ones, and ordinary ones that tasks
// elsewhere use at the same time. Whichever thread an actor's turn runs on, the calls do what they
// say.

import Sluice
import SluiceTestKit
import Testing

/// Somebody's session, written without a thought about threads.
private actor Session {
    private let end: StreamEnd
    private(set) var lines = 0

    init(_ end: StreamEnd) {
        self.end = end
    }

    func serve() async throws {
        while let line = try await end.reader.readLine() {
            lines += 1
            try await end.writer.send(line)
        }
    }

    func say(_ text: String) async throws {
        try await end.writer.send(text)
        try await end.writer.flush()
    }
}

/// The same, pinned to the connection's loop; it may use the sync calls.
private actor PinnedSession {
    private let end: StreamEnd

    init(_ end: StreamEnd) {
        self.end = end
    }

    nonisolated var unownedExecutor: UnownedSerialExecutor {
        end.reader.loop.serialExecutor.asUnownedSerialExecutor()
    }

    func serve() async throws {
        while let line = try await end.reader.readLine() {
            try end.writer.write(line)
            try await end.writer.drain()
        }
    }

    func say(_ text: String) async throws {
        try end.writer.write(text)
        try await end.writer.flush()
    }
}

@Suite struct ServerActorTests {
    private func visit(_ server: Server, rounds: Int = 100) async throws {
        let client = try await server.connect()
        for round in 0..<rounds { try await client.echo("round \(round)") }
        await client.writer.close()
    }

    @Test func `an ordinary actor serves a connection`() async throws {
        try await withServer { reader, writer in
            try await Session(StreamEnd((reader, writer))).serve()
        } client: { server in
            try await visit(server)
        }
    }

    @Test func `an actor pinned to the loop serves a connection`() async throws {
        try await withServer { reader, writer in
            try await PinnedSession(StreamEnd((reader, writer))).serve()
        } client: { server in
            try await visit(server)
        }
    }

    @Test func `a task without the loop serves a connection through a pinned actor`() async throws {
        try await withServer { reader, writer in
            let session = PinnedSession(StreamEnd((reader, writer)))
            try await Task.detached { try await session.serve() }.value
        } client: { server in
            try await visit(server)
        }
    }

    @Test func `a task without the loop serves a connection through an ordinary actor`()
        async throws
    {
        try await withServer { reader, writer in
            let session = Session(StreamEnd((reader, writer)))
            try await Task.detached { try await session.serve() }.value
        } client: { server in
            try await visit(server)
        }
    }

    /// While others keep the actor busy on their threads, its reads come back on one of those. What
    /// the loop's connections share would be torn, if such a read went on there as if it were at
    /// home.
    @Test func `an actor that tasks elsewhere keep busy reads and answers every line`() async throws
    {
        try await withServer { reader, writer in
            let session = Session(StreamEnd((reader, writer)))
            let isOver = Shared(false)
            let others = (0..<2).map { _ in
                Task.detached {
                    while !isOver.value { _ = await session.lines }
                }
            }
            try await session.serve()
            isOver.set(true)
            for other in others { await other.value }
        } client: { server in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<8 { group.addTask { try await Self.visitInPieces(server) } }
                try await group.waitForAll()
            }
        }
    }

    /// Half a line first: the read waits twice.
    private static func visitInPieces(_ server: Server) async throws {
        let client = try await server.connect()
        for round in 0..<100 {
            try await client.writer.send("round ")
            try await client.writer.flush()
            try await client.writer.send("\(round)\n")
            #expect(try await client.reader.readLine() == bytes("round \(round)\n"))
        }
        await client.writer.close()
    }

    /// Tasks of the loop and tasks elsewhere in one actor: the actor's turns run on either thread.
    @Test(arguments: [true, false])
    func `an actor shared with tasks elsewhere loses no line and mixes none`(
        isPinned: Bool
    ) async throws {
        try await withLoop(faults: FaultTable()) { loop in
            let (near, far) = try await PairKind.memory.makePair()
            let say: @Sendable (String) async throws -> Void
            if isPinned {
                let session = PinnedSession(near)
                say = { try await session.say($0) }
            } else {
                let session = Session(near)
                say = { try await session.say($0) }
            }
            let writing = loop.spawn {
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for writer in 0..<4 {
                        group.addTask {
                            let task = Task.detached {
                                for line in 0..<50 { try await say("\(writer) \(line)\n") }
                            }
                            try await task.value
                        }
                        group.addTask {
                            for line in 0..<50 { try await say("\(writer + 4) \(line)\n") }
                        }
                    }
                    try await group.waitForAll()
                }
            }
            var next: [Int: Int] = [:]
            for _ in 0..<400 {
                let line = try #require(try await far.reader.readLine())
                let words = String(decoding: line.dropLast(), as: UTF8.self).split(separator: " ")
                let writer = try #require(Int(words[0]))
                #expect(Int(words[1]) == next[writer, default: 0])
                next[writer, default: 0] += 1
            }
            try await writing.value
            #expect(next.values.allSatisfy { $0 == 50 } && next.count == 8)
            await near.writer.abort()
            await far.writer.abort()
        }
    }
}

@Suite struct ServerReportTests {
    /// The handler blocks by moving the loop's virtual clock, so nothing else counts as time.
    @Test func `a turn that a handler holds up is reported once, with its client's address`()
        async throws
    {
        let faults = FaultTable()
        faults.setClock(nanoseconds: 1_000_000_000)
        let reports = Shared<[Report]>([])
        var options = EventLoop.Options()
        options.report = { reports.append($0) }
        let names = try await withLoop(faults: faults, options: options) { _ in
            let server = try await startServer(port: 0) { reader, writer in
                while let line = try await reader.readLine() {
                    if line == bytes("block\n") { faults.advance(nanoseconds: 150_000_000) }
                    try await writer.send(line)
                }
            }
            var names: [String] = []
            for _ in 0..<3 {
                let client = try await server.connect()
                try await client.echo("quick")
                try await client.echo("block")
                try await client.echo("quick")
                names.append("\(try #require(client.writer.localAddress))")
                await client.writer.close()
            }
            await server.close()
            try await server.waitClosed()
            return names
        }
        #expect(reports.value.map(\.kind) == [.turnTooLong, .turnTooLong, .turnTooLong])
        for (report, name) in zip(reports.value, names) {
            #expect(report.duration == .milliseconds(150))
            #expect(report.message.contains("the handler of \(name)"), "\(report)")
        }
    }

    @Test func `a handler that holds up the loop before its first wait is named too`() async throws
    {
        let faults = FaultTable()
        faults.setClock(nanoseconds: 1_000_000_000)
        let reports = Shared<[Report]>([])
        var options = EventLoop.Options()
        options.report = { reports.append($0) }
        let name = try await withLoop(faults: faults, options: options) { _ in
            let server = try await startServer(port: 0) { reader, _ in
                faults.advance(nanoseconds: 200_000_000)
                _ = try await reader.readLine()
            }
            let client = try await server.connect()
            try await client.writer.send("x\n")
            #expect(try await client.reader.read() == nil)
            await client.writer.close()
            await server.close()
            try await server.waitClosed()
            return "\(try #require(client.writer.localAddress))"
        }
        #expect(reports.value.map(\.duration) == [.milliseconds(200)])
        #expect(reports.value.first?.message.contains("the handler of \(name)") == true)
    }
}
