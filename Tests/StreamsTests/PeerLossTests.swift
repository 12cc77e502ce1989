// B24, B25, B48: what a writer learns of a peer that went away, and when.

import Sluice
import SluiceTestKit
import Testing

@Suite struct PeerLossTests {
    @Test(arguments: PairKind.allCases)
    func `B24: a reset ends blocked writers and every later write with one typed error`(
        _ kind: PairKind
    ) async throws {
        try await withCloggedPair(kind) { near, far, _ in
            let draining = await started { try await near.writer.drain() }
            let flushing = await started { try await near.writer.flush() }
            await far.writer.abort()
            var errors: Set<StreamError> = []
            for task in [draining, flushing] {
                do {
                    try await task.value
                    Issue.record("a blocked write reported success for lost bytes")
                } catch let error as StreamError {
                    errors.insert(error)
                }
            }
            for _ in 0..<1_000 {
                do throws(StreamError) {
                    try near.writer.write("x")
                    Issue.record("a write after the loss was accepted")
                } catch {
                    errors.insert(error)
                }
            }
            #expect(errors.count == 1)
            guard case .reset(let number)? = errors.first else {
                Issue.record("not a reset: \(errors)")
                return
            }
            #expect(number > 0)
            await near.writer.close()
            guard case .reset? = near.writer.closeReason else {
                Issue.record("closed because \(String(describing: near.writer.closeReason))")
                return
            }
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B25: test_drain_raises: a tight loop to a dead peer ends, and others run meanwhile`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            let isOver = Handover<Bool>()
            let other = EventLoop.current!.spawn {
                var turns = 0
                while !isOver.hasValue {
                    turns += 1
                    await EventLoop.yield()
                }
                return turns
            }
            let closing = EventLoop.current!.spawn { await far.writer.close() }
            var error: StreamError?
            // Small writes, always below the high mark: drain never has a reason to wait.
            let data = TestBytes.make(count: 1_000)
            for _ in 0..<100_000 where error == nil {
                do throws(StreamError) {
                    try near.writer.write(data)
                    try await near.writer.drain()
                } catch let failure {
                    error = failure
                }
            }
            isOver.give(true)
            #expect(try await other.value > 0)
            guard case .reset = error else {
                Issue.record("the loop ended with \(String(describing: error))")
                return
            }
            try await closing.value
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B48: the sender of a receiver that closed sees a reset at last, and then for ever`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            let closing = await started { await far.writer.close() }
            let error = await sendUntilError(near.writer)
            guard case .reset? = error, let error else {
                Issue.record("sending to a closed peer ended with \(String(describing: error))")
                return
            }
            for _ in 0..<3 {
                await #expect(throws: error) { try await near.writer.send("x") }
                await #expect(throws: error) { try await near.writer.flush() }
            }
            try await closing.value
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B48: the receiver sees all data and then the end after a graceful close`(
        _ kind: PairKind
    ) async throws {
        try await withCloggedPair(kind) { near, far, queued in
            let closing = await started { await near.writer.close() }
            #expect(try await receivePieces(far.reader, seed: 5) == queued)
            #expect(try await far.reader.read() == nil)
            await far.writer.close()
            try await closing.value
            #expect(near.writer.closeReason == .closed)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `test_open_connection_error: closing after a reset is quiet and quick`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            await far.writer.abort()
            while let _ = try? await near.reader.read() {}
            await near.writer.close()
            try await near.writer.waitClosed()
            #expect(near.writer.isClosing)
        }
    }

    /// SIGPIPE would end the process: many writes to a peer that answers with a reset.
    @Test func `RELIABILITY 58: writing into resets kills nobody`() async throws {
        for _ in 0..<(isLongRun ? 10_000 : 10) {
            try await withPair(.tcp) { near, far in
                try near.writer.write(TestBytes.make(count: 200_000))
                far.writer.startAborting()
                for _ in 0..<10 {
                    _ = try? near.writer.write("x")
                    await EventLoop.yield()
                }
            }
        }
    }
}
