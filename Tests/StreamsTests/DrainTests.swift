// B19, B26, B27: `drain`, `flush`, the water marks and the hard cap. Both kinds of pair.

import Sluice
import SluiceTestKit
import Testing

@Suite struct DrainTests {
    @Test(arguments: PairKind.allCases)
    func `B19: up to the high mark drain returns at once, above it waits for the low one`(
        _ kind: PairKind
    ) async throws {
        try await withCloggedPair(kind) { near, far, queued in
            let before = near.writer.bytesQueued
            near.writer.setWriteMarks(high: before, low: before - 1)
            try await near.writer.drain()
            #expect(near.writer.bytesQueued == before)
            near.writer.setWriteMarks(high: before - 1, low: 0)
            let draining = await started { try await near.writer.drain() }
            #expect(near.writer.bytesQueued > 0)
            #expect(try await far.reader.skip(queued) == queued)
            try await draining.value
            #expect(near.writer.bytesQueued == 0)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B19: drain goes on at the low mark, not only when all is gone`(
        _ kind: PairKind
    ) async throws {
        try await withCloggedPair(kind) { near, far, queued in
            let more = 64 * 1_024
            try near.writer.write(TestBytes.make(from: queued, count: more))
            let low = near.writer.bytesQueued / 2
            near.writer.setWriteMarks(high: low + 500, low: low)
            let atLow = Handover<Int>()
            let draining = await started {
                try await near.writer.drain()
                atLow.give(near.writer.bytesQueued)
            }
            #expect(!atLow.hasValue)
            var received = 0
            while received < queued + more {
                let piece = try await far.reader.read(upTo: 2_048) ?? []
                #expect(TestBytes.match(piece, from: received))
                received += piece.count
                await settle()
            }
            try await draining.value
            #expect(atLow.take() <= low)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B19: a high mark of zero makes drain wait until the kernel has all`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            near.writer.setWriteMarks(high: 0)
            for _ in 0..<5 {
                try near.writer.write("abc")
                try await near.writer.drain()
                #expect(near.writer.bytesQueued == 0)
            }
            #expect(try await far.reader.readExactly(15).count == 15)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B19: test_multiple_drain: ten tasks waiting in drain are all released`(
        _ kind: PairKind
    ) async throws {
        try await withCloggedPair(kind) { near, far, queued in
            let loop = EventLoop.current!
            let draining = (0..<10).map { _ in loop.spawn { try await near.writer.drain() } }
            let flushing = (0..<10).map { _ in loop.spawn { try await near.writer.flush() } }
            await settle()
            #expect(try await far.reader.skip(queued) == queued)
            for task in draining + flushing { try await task.value }
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B19: over the hard cap a write throws, queues nothing of it, and the stream goes on`(
        _ kind: PairKind
    ) async throws {
        var options = StreamOptions()
        options.outputCap = 100_000
        try await withCloggedPair(kind, options: options) { near, far, queued in
            var written = queued
            var refused: StreamError?
            while refused == nil {
                do throws(StreamError) {
                    try near.writer.write(TestBytes.make(from: written, count: 10_000))
                    written += 10_000
                } catch {
                    refused = error
                }
                // The cap and one write: the bound of one connection's memory.
                #expect(near.writer.bytesQueued <= 100_000 + 10_000)
            }
            let full = StreamError.outputFull(queued: near.writer.bytesQueued)
            #expect(refused == full)
            #expect(throws: full) { try near.writer.write(contentsOf: [[1], [2]]) }
            #expect(throws: full) { try near.writer.write([3].span.bytes) }
            #expect(!near.writer.isClosing)
            async let flushed: Void = near.writer.flush()
            #expect(TestBytes.match(try await far.reader.readExactly(written), from: 0))
            try await flushed
            try await near.writer.send("on")
            #expect(try await far.reader.readExactly(2) == bytes("on"))
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B19: many senders to a slow reader stay within the cap`(_ kind: PairKind) async throws {
        try await withCloggedPair(kind) { near, far, queued in
            let writers = 10
            let sending = (0..<writers).map { writer in
                EventLoop.current!.spawn {
                    for _ in 0..<8 {
                        try await near.writer.send(Array(repeating: UInt8(writer), count: 4_000))
                    }
                }
            }
            let before = near.writer.bytesQueued
            var most = 0
            var left = queued + writers * 8 * 4_000
            while left > 0 {
                most = max(most, near.writer.bytesQueued)
                left -= try await far.reader.skip(min(left, 5_000))
            }
            for task in sending { try await task.value }
            #expect(most <= before + writers * 4_000, "one write of each writer")
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B26: flush returns when the kernel has everything, not before`(
        _ kind: PairKind
    ) async throws {
        try await withCloggedPair(kind) { near, far, queued in
            let isFlushed = Handover<Bool>()
            let flushing = await started {
                try await near.writer.flush()
                isFlushed.give(true)
                #expect(near.writer.bytesQueued == 0)
            }
            #expect(!isFlushed.hasValue)
            #expect(try await far.reader.skip(queued) == queued)
            try await flushing.value
            try await near.writer.flush()
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B26: flush ends with the error when the bytes will never go`(
        _ kind: PairKind
    ) async throws {
        try await withCloggedPair(kind) { near, far, _ in
            let flushing = await started { try await near.writer.flush() }
            near.writer.startAborting()
            await #expect(throws: StreamError.aborted) { try await flushing.value }
        }
        try await withCloggedPair(kind) { near, far, _ in
            let flushing = await started { try await near.writer.flush() }
            await far.writer.abort()
            do {
                try await flushing.value
                Issue.record("flush reported success for lost bytes")
            } catch StreamError.reset {
                // As it should be.
            }
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B27: a cancelled or timed-out send is queued whole and sent once`(
        _ kind: PairKind
    ) async throws {
        try await withCloggedPair(kind) { near, far, queued in
            let sending = await started {
                try await near.writer.send(TestBytes.make(from: queued, count: 10_000))
            }
            sending.cancel()
            await #expect(throws: StreamError.cancelled) { try await sending.value }
            await #expect(throws: StreamError.timedOut) {
                try await withTimeout(.milliseconds(2)) {
                    try await near.writer.send(TestBytes.make(from: queued + 10_000, count: 10_000))
                }
            }
            await #expect(throws: StreamError.timedOut) {
                try await withTimeout(.milliseconds(2)) { try await near.writer.flush() }
            }
            try near.writer.finishWriting()
            let all = try await far.reader.readToEnd()
            #expect(all.count == queued + 20_000)
            #expect(TestBytes.match(all, from: 0))
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B27: cancelling one task in drain leaves the others waiting`(
        _ kind: PairKind
    ) async throws {
        try await withCloggedPair(kind) { near, far, queued in
            let one = await started { try await near.writer.drain() }
            let two = await started { try await near.writer.drain() }
            let three = await started { try await near.writer.drain() }
            two.cancel()
            await #expect(throws: StreamError.cancelled) { try await two.value }
            #expect(try await far.reader.skip(queued) == queued)
            try await one.value
            try await three.value
        }
    }
}
