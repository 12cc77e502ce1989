// B33, and what else ends a stream without its handles' help: the write stall, and dropping them.

import Glibc
import Sluice
import SluiceTestKit
import Testing

@Suite struct AbortTests {
    @Test(arguments: PairKind.allCases)
    func `B33: abort is a reset for the peer, not an end`(_ kind: PairKind) async throws {
        try await withPair(kind) { near, far in
            let reading = await started { try await far.reader.read() }
            await near.writer.abort()
            await #expect(throws: StreamError.reset(errno: ECONNRESET)) { try await reading.value }
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B33: after abort every call says aborted, and closing again is quiet`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            try await far.say("unread")
            _ = try await near.reader.peek(3)
            near.writer.startAborting()
            near.writer.startAborting()
            await #expect(throws: StreamError.aborted) { try await near.reader.read() }
            await #expect(throws: StreamError.aborted) { try await near.writer.drain() }
            await #expect(throws: StreamError.aborted) { try await near.writer.flush() }
            #expect(throws: StreamError.aborted) { try near.writer.write("") }
            #expect(throws: StreamError.aborted) { try near.writer.finishWriting() }
            await near.writer.close()
            try await near.writer.waitClosed()
            #expect(near.writer.closeReason == .aborted)
            #expect(near.writer.bytesQueued == 0)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B33: abort during an orderly close ends it at once`(_ kind: PairKind) async throws {
        try await withCloggedPair(kind) { near, far, _ in
            let closing = await started { await near.writer.close(within: .seconds(600)) }
            await near.writer.abort()
            try await closing.value
        }
    }

    @Test func `RELIABILITY 55: only an abort sets SO_LINGER`() async throws {
        let faults = FaultTable()
        try await withPair(.tcp, faults: faults) { near, far in
            faults.resetCounts()
            async let one: Void = near.writer.close()
            async let two: Void = far.writer.close()
            _ = await (one, two)
            #expect(faults.calls(CF_SETSOCKOPT) == 0)
        }
        try await withPair(.tcp, faults: faults) { near, far in
            faults.resetCounts()
            await near.writer.abort()
            #expect(faults.calls(CF_SETSOCKOPT) == 1)
        }
    }

    /// On a virtual clock, which jumps to the next deadline whenever nothing is ready.
    @Test func `RELIABILITY 52: a peer that takes nothing ends the stream as stalled`()
        async throws
    {
        let faults = FaultTable()
        faults.setClock(nanoseconds: 1_000_000_000_000)
        try await withCloggedPair(.memory, faults: faults) { near, far, _ in
            let began = near.writer.loop.now()
            let draining = await started { try await near.writer.drain() }
            await #expect(throws: StreamError.stalled) { try await draining.value }
            await #expect(throws: StreamError.stalled) { try await near.reader.read() }
            #expect(throws: StreamError.stalled) { try near.writer.write("x") }
            #expect(near.writer.closeReason == .stalled)
            let spent = near.writer.loop.now() - began
            #expect((29_000_000_000...61_000_000_000).contains(spent), "\(spent) ns")
        }
    }

    @Test func `RELIABILITY 52: also a TCP peer whose kernel took all it had room for`()
        async throws
    {
        let faults = FaultTable()
        faults.setClock(nanoseconds: 1_000_000_000_000)
        try await withCloggedPair(.tcp, faults: faults) { near, far, _ in
            let draining = await started { try await near.writer.drain() }
            await #expect(throws: StreamError.stalled) { try await draining.value }
            await #expect(throws: StreamError.stalled) { try await near.writer.flush() }
        }
    }

    @Test func `RELIABILITY 52: a slow peer that takes something is not cut off`() async throws {
        let faults = FaultTable()
        faults.setClock(nanoseconds: 1_000_000_000_000)
        try await withCloggedPair(.memory, faults: faults) { near, far, queued in
            let flushing = await started { try await near.writer.flush() }
            var received = 0
            while received < queued {
                received += try await far.reader.read(upTo: 8_192)?.count ?? queued
                // Less than the stall's 30 s each time, and more in all.
                try await sleep(for: .seconds(20))
            }
            try await flushing.value
            #expect(near.writer.closeReason == nil)
        }
    }

    /// Makes a pair and keeps the chosen handles of the near end only.
    private func halves(
        _ kind: PairKind
    ) async throws -> (reader: StreamReader, writer: StreamWriter, far: StreamEnd) {
        let (near, far) = try await kind.makePair()
        return (near.reader, near.writer, far)
    }

    @Test(arguments: PairKind.allCases)
    func `dropping both handles without a close closes in order, flushing first`(
        _ kind: PairKind
    ) async throws {
        try await withLoop(faults: FaultTable()) { loop in
            let far = try await { () async throws -> StreamEnd in
                let ends = try await self.halves(kind)
                try ends.writer.write("last words")
                return ends.far
            }()
            #expect(try await far.reader.readToEnd() == bytes("last words"))
            await far.writer.close()
        }
    }

    @Test(arguments: PairKind.allCases)
    func `one handle alone keeps the stream open`(_ kind: PairKind) async throws {
        try await withLoop(faults: FaultTable()) { loop in
            let (writer, far) = try await { () async throws -> (StreamWriter, StreamEnd) in
                let ends = try await self.halves(kind)
                return (ends.writer, ends.far)
            }()
            await settle()
            try await writer.send("a")
            #expect(try await far.reader.read() == bytes("a"))
            #expect(!writer.isClosing)
            async let closed: Void = far.writer.close()
            await writer.close()
            await closed
        }
    }

    @Test(arguments: PairKind.allCases)
    func `dropping the last handle on another thread closes too`(_ kind: PairKind) async throws {
        try await withLoop(faults: FaultTable()) { loop in
            let handover = Handover<StreamEnd>()
            let far = try await { () async throws -> StreamEnd in
                let (near, far) = try await kind.makePair()
                handover.give(near)
                return far
            }()
            await Task.detached { _ = handover.take() }.value
            #expect(try await far.reader.read() == nil)
            await far.writer.close()
        }
    }

    @Test(arguments: PairKind.allCases)
    func `a reset with unread input leaves nothing when the handles go`(
        _ kind: PairKind
    ) async throws {
        // The audit of the loop's blocks is the check.
        try await withLoop(faults: FaultTable()) { loop in
            let ends = try await self.halves(kind)
            try await ends.far.say("never read by anybody")
            _ = try await ends.reader.peek(5)
            await ends.far.writer.abort()
            await #expect(throws: StreamError.self) { try await ends.reader.peek(100) }
        }
    }
}
