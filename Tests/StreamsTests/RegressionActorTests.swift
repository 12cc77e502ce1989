// What a review broke with actors: a wait that begins inside one, while the stream is aborted in
// the same turn, and calls that come back on other threads.

import Sluice
import SluiceTestKit
import Testing

/// An actor that tasks elsewhere can keep busy.
private actor OrdinarySession {
    private let end: StreamEnd
    private var pokes = 0

    init(_ end: StreamEnd) {
        self.end = end
    }

    func poke() {
        for _ in 0..<1_000 { pokes &+= 1 }
    }

    /// The abort is in line behind this job, and before the read is parked.
    func readWhileAborting() async throws -> [UInt8]? {
        end.reader.loop.spawn { self.end.writer.startAborting() }
        return try await end.reader.read()
    }

    func flushWhileAborting() async throws {
        end.reader.loop.spawn { self.end.writer.startAborting() }
        try await end.writer.flush()
    }

    func serve() async throws {
        while let line = try await end.reader.readLine() { try await end.writer.send(line) }
    }

    func flood(pieces: Int, of size: Int) async throws {
        for piece in 0..<pieces {
            try await end.writer.send(TestBytes.make(from: piece * size, count: size))
        }
    }
}

/// The same waits in an actor pinned to the loop.
private actor PinnedSession {
    private let end: StreamEnd

    init(_ end: StreamEnd) {
        self.end = end
    }

    nonisolated var unownedExecutor: UnownedSerialExecutor {
        end.reader.loop.serialExecutor.asUnownedSerialExecutor()
    }

    func readWhileAborting() async throws -> [UInt8]? {
        end.reader.loop.spawn { self.end.writer.startAborting() }
        return try await end.reader.read()
    }

    func flushWhileAborting() async throws {
        end.reader.loop.spawn { self.end.writer.startAborting() }
        try await end.writer.flush()
    }
}

/// An actor that holds a loop's executor and not the loop.
private actor Remainder {
    private nonisolated let executor: LoopSerialExecutor

    init(_ executor: LoopSerialExecutor) {
        self.executor = executor
    }

    nonisolated var unownedExecutor: UnownedSerialExecutor {
        executor.asUnownedSerialExecutor()
    }

    func answer() -> Int { 42 }
}

@Suite struct RegressionActorTests {
    @Test(arguments: [true, false])
    func `a read inside an actor ends when the stream is aborted right before it parks`(
        isPinned: Bool
    ) async throws {
        try await withLoop(deadline: .seconds(10)) { loop in
            let (near, far) = try await PairKind.memory.makePair()
            let reading = loop.spawn {
                isPinned
                    ? try await PinnedSession(near).readWhileAborting()
                    : try await OrdinarySession(near).readWhileAborting()
            }
            await #expect(throws: StreamError.aborted) { try await reading.value }
            await far.writer.abort()
        }
    }

    @Test(arguments: [true, false])
    func `a flush inside an actor ends when the stream is aborted right before it parks`(
        isPinned: Bool
    ) async throws {
        try await withLoop(deadline: .seconds(10)) { loop in
            let (near, far, _) = try await PairKind.memory.makeCloggedPair()
            let flushing = loop.spawn {
                isPinned
                    ? try await PinnedSession(near).flushWhileAborting()
                    : try await OrdinarySession(near).flushWhileAborting()
            }
            await #expect(throws: StreamError.aborted) { try await flushing.value }
            await far.writer.abort()
        }
    }

    @Test(arguments: [true, false])
    func `a handler in an actor learns of an abort right before its read parks`(
        isPinned: Bool
    ) async throws {
        let error = Shared<StreamError?>(nil)
        try await withServer { reader, writer in
            let end = StreamEnd((reader, writer))
            do {
                _ =
                    isPinned
                    ? try await PinnedSession(end).readWhileAborting()
                    : try await OrdinarySession(end).readWhileAborting()
            } catch let thrown as StreamError {
                error.set(thrown)
            }
        } client: { server in
            let client = try await server.connect()
            try await waitUntil("the handler's read has ended") { error.value != nil }
            await client.writer.close()
        }
        #expect(error.value == .aborted)
    }

    @Test func `an actor kept busy elsewhere answers several lines that came at once`()
        async throws
    {
        try await withServer { reader, writer in
            try await beset(OrdinarySession(StreamEnd((reader, writer)))) { try await $0.serve() }
        } client: { server in
            let client = try await server.connect()
            for round in 0..<40 {
                let lines = ["first \(round)\n", "second \(round)\n", "third \(round)\n"]
                try await client.writer.send(lines.joined())
                for line in lines { #expect(try await client.reader.readLine() == bytes(line)) }
            }
            await client.writer.close()
        }
    }

    @Test func `an actor kept busy elsewhere sends more than its connection takes at once`()
        async throws
    {
        try await withServer { reader, writer in
            let session = OrdinarySession(StreamEnd((reader, writer)))
            try await beset(session) { try await $0.flood(pieces: 40, of: 100_000) }
        } client: { server in
            let client = try await server.connect()
            #expect(try await receivePieces(client.reader, seed: 1) == 4_000_000)
            await client.writer.close()
        }
    }

    /// Runs `body` while tasks elsewhere call the actor all the time.
    private func beset(
        _ session: OrdinarySession, _ body: (OrdinarySession) async throws -> Void
    ) async throws {
        let isOver = Shared(false)
        defer { isOver.set(true) }
        for _ in 0..<2 {
            Task.detached { while !isOver.value { await session.poke() } }
        }
        try await body(session)
    }

    @Test func `an actor on a loop's serial executor answers when the loop is gone`() async throws {
        var loop: EventLoop? = try EventLoop.start()
        weak let gone = loop
        let actor = Remainder(try #require(loop).serialExecutor)
        #expect(await actor.answer() == 42)
        await loop?.stop()
        loop = nil
        try await waitUntil("nobody holds the loop") { gone == nil }
        try await withDeadline(.seconds(10)) { #expect(await actor.answer() == 42) }
    }
}
