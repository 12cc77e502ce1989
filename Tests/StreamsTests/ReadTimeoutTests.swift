// B45 and RELIABILITY rows 27, 33: how long a peer may keep a read waiting. On a virtual clock:
// time passes when nothing else can happen.

import Sluice
import SluiceTestKit
import Testing

@Suite struct ReadTimeoutTests {
    @Test func `a peer that never sends a byte is cut after the first-byte time`() async throws {
        try await withTimes(firstByte: 10) { server, seconds in
            let client = try await server.connect()
            #expect(try await client.reader.readToEnd() == bytes("firstByte\n"))
            #expect(seconds() == 10)
            await client.writer.close()
            #expect(await server.closings(1) == [.firstByte: 1])
        }
    }

    @Test func `a first byte in time is enough for the first-byte deadline`() async throws {
        try await withTimes(firstByte: 10) { server, seconds in
            let client = try await server.connect()
            try await sleep(for: .seconds(9))
            try await client.writer.send("x")
            try await sleep(for: .seconds(1_000))
            try await client.writer.send("\n")
            #expect(try await client.reader.readLine() == bytes("x\n"))
            #expect(seconds() == 1_009)
            await client.writer.close()
        }
    }

    @Test func `B45: a byte every nine seconds does not defeat the message deadline`()
        async throws
    {
        try await withTimes(message: 30) { server, seconds in
            let client = try await server.connect()
            let dripping = await started {
                while true {
                    try await sleep(for: .seconds(9))
                    try await client.writer.send("x")
                }
            }
            #expect(try await client.reader.readToEnd() == bytes("message\n"))
            // The first byte came after nine.
            #expect(seconds() == 39)
            dripping.cancel()
            await client.writer.abort()
            #expect(await server.closings(1) == [.message: 1])
        }
    }

    @Test func `each message has its own time, and a quiet peer between two is left alone`()
        async throws
    {
        try await withTimes(message: 30) { server, seconds in
            let client = try await server.connect()
            for _ in 0..<5 {
                try await client.writer.send("be")
                try await sleep(for: .seconds(29))
                try await client.writer.send("gun\n")
                #expect(try await client.reader.readLine() == bytes("begun\n"))
                try await sleep(for: .seconds(500))
            }
            #expect(seconds() == 5 * 529)
            await client.writer.close()
        }
    }

    @Test func `skipping through an endless line counts as one message`() async throws {
        let errors = Shared<[StreamError]>([])
        try await withTimes(message: 30) { reader, _ in
            do throws(StreamError) { try await reader.skip(through: [10]) } catch {
                errors.append(error)
            }
        } client: { server, seconds in
            let client = try await server.connect()
            let dripping = await started {
                while true {
                    try await client.writer.send("xxxx")
                    try await sleep(for: .seconds(7))
                }
            }
            #expect(try await client.reader.read() == nil)
            #expect(seconds() == 30)
            dripping.cancel()
            await client.writer.abort()
        }
        #expect(errors.value == [.peerTimedOut(.message)])
    }

    /// In memory, where a peer takes at once what it reads; TCP's acknowledgement comes later.
    @Test func `an idle peer is cut after the idle time, counted from its last byte`()
        async throws
    {
        let faults = FaultTable()
        faults.setClock(nanoseconds: 1_000_000_000)
        try await withLoop(faults: faults) { loop in
            var options = StreamOptions()
            options.idleTimeout = .seconds(300)
            let (near, far) = try await makeMemoryPair(options: options)
            let start = loop.now()
            let serving = loop.spawn { try await echoOrTell(near.reader, near.writer) }
            let client = StreamEnd(far)
            for _ in 0..<4 {
                try await client.echo("still here")
                try await sleep(for: .seconds(299))
            }
            await #expect(throws: StreamError.peerTimedOut(.idle)) { try await serving.value }
            #expect((loop.now() - start) / 1_000_000_000 == 3 * 299 + 300)
            await near.writer.close()
            #expect(try await client.reader.readToEnd() == bytes("idle\n"))
            await client.writer.close()
        }
    }

    @Test func `a peer that only takes is not idle`() async throws {
        try await withTimes(idle: 300) { reader, writer in
            let loop = reader.loop
            let ticking = loop.spawn {
                for _ in 0..<20 {
                    try await writer.send("tick\n")
                    try await sleep(for: .seconds(200))
                }
            }
            _ = try? await reader.readLine()
            ticking.cancel()
        } client: { server, seconds in
            let client = try await server.connect()
            #expect(try await client.reader.readToEnd().count == 20 * 5)
            // Twenty ticks until 3,800 s; then idle, found at most twice as late.
            #expect((4_100...4_400).contains(seconds()), "\(seconds())")
            await client.writer.close()
        }
    }

    @Test func `a handler that does not read has no deadline`() async throws {
        try await withTimes(firstByte: 1, message: 1, idle: 1) { reader, writer in
            try await sleep(for: .seconds(1_000))
            try await writer.send("done\n")
            #expect(try await reader.readLine() == bytes("sent meanwhile\n"))
        } client: { server, seconds in
            let client = try await server.connect()
            try await client.writer.send("sent meanwhile\n")
            #expect(try await client.reader.readLine() == bytes("done\n"))
            #expect(seconds() == 1_000)
            await client.writer.close()
        }
    }

    /// As after SIGSTOP: the time has passed, but the bytes came in time.
    @Test func `row 27: bytes that lie in the kernel when the deadline has passed save the peer`()
        async throws
    {
        let faults = FaultTable()
        try await withTimes(faults: faults, idle: 300) { server, _ in
            let client = try await server.connect()
            try await client.echo("first")
            await settle()
            try await client.writer.send("second\n")
            try await client.writer.flush()
            // Before the loop waits again: the next turn begins with its timers.
            faults.advance(nanoseconds: 1_000_000_000_000)
            #expect(try await client.reader.readLine() == bytes("second\n"))
            await client.writer.close()
        }
    }

    @Test func `the error stays, and a shorter wait of the reader's own resets no idle time`()
        async throws
    {
        let errors = Shared<[StreamError]>([])
        try await withTimes(idle: 300) { reader, _ in
            while errors.value.count < 3 {
                do {
                    try await withTimeout(.seconds(7)) { _ = try await reader.readLine() }
                } catch StreamError.timedOut {
                } catch let error as StreamError { errors.append(error) }
            }
        } client: { server, seconds in
            let client = try await server.connect()
            #expect(try await client.reader.read() == nil)
            #expect(seconds() == 300)
            await client.writer.close()
        }
        #expect(errors.value == Array(repeating: .peerTimedOut(.idle), count: 3))
    }

    @Test func `the edge options have the deadlines of the design, the defaults have none`() {
        let edge = ServerOptions.edge.stream
        #expect(edge.firstByteTimeout == .seconds(10))
        #expect(edge.messageTimeout == .seconds(30))
        #expect(edge.idleTimeout == .seconds(300))
        let plain = StreamOptions()
        #expect(plain.firstByteTimeout == nil && plain.messageTimeout == nil)
        #expect(plain.idleTimeout == nil)
    }

    @Test(arguments: ["firstByteTimeout", "messageTimeout", "idleTimeout"])
    func `a deadline of nothing is refused`(_ name: String) async throws {
        var options = StreamOptions()
        switch name {
        case "firstByteTimeout": options.firstByteTimeout = .zero
        case "messageTimeout": options.messageTimeout = .seconds(-1)
        default: options.idleTimeout = .zero
        }
        let error = await #expect(throws: StreamError.self) {
            _ = try await makeMemoryPair(options: options)
        }
        #expect(error == .invalidOption(name: name, rule: "more than 0"))
    }

    /// RELIABILITY row 33, and §5.2 row 1: no timer fires while they are quiet.
    @Test func `row 33: five hundred idle clients are all cut, on time`() async throws {
        try await withTimes(idle: 300) { server, seconds in
            var clients: [StreamEnd] = []
            for _ in 0..<500 { clients.append(try await server.connect()) }
            for client in clients { try await client.echo("here") }
            for client in clients {
                #expect(try await client.reader.readToEnd() == bytes("idle\n"))
            }
            #expect(seconds() == 300)
            for client in clients { await client.writer.close() }
            #expect(await server.closings(500) == [.idle: 500])
        }
    }
}

/// A server on a virtual clock with these deadlines, in seconds; `client` gets it and the seconds
/// gone by.
func withTimes(
    faults: FaultTable = FaultTable(), firstByte: Int? = nil, message: Int? = nil,
    idle: Int? = nil, sourceLocation: SourceLocation = #_sourceLocation,
    handler: @escaping ClientHandler = echoOrTell,
    client: @escaping @Sendable (Server, @Sendable () -> Int) async throws -> Void
) async throws {
    var options = ServerOptions()
    options.stream.firstByteTimeout = firstByte.map { .seconds($0) }
    options.stream.messageTimeout = message.map { .seconds($0) }
    options.stream.idleTimeout = idle.map { .seconds($0) }
    try await withServer(
        faults: faults, isVirtual: true, options: options, sourceLocation: sourceLocation,
        handler: handler
    ) { server in
        let start = server.loop.now()
        try await client(server) { Int((server.loop.now() - start) / 1_000_000_000) }
    }
}

/// Echoes lines; a peer that let a deadline pass is told which.
let echoOrTell: ClientHandler = { reader, writer in
    do {
        try await echoLines(reader, writer)
    } catch StreamError.peerTimedOut(let deadline) {
        try await writer.send("\(deadline)\n")
        throw StreamError.peerTimedOut(deadline)
    }
}

extension Server {
    /// What its connections ended by, once so many have.
    ///
    /// - Parameter step: the sleep between two looks, for virtual clocks that have far to go.
    func closings(
        _ count: Int, step: Duration = .milliseconds(1)
    ) async -> [CloseReason: Int] {
        try? await waitUntil(deadline: .seconds(30)) {
            if await self.statistics().closed == count { return true }
            try await sleep(for: step)
            return false
        }
        return await statistics().closedBy
    }
}
