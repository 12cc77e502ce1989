// B31, B32, B34, B35: an orderly close. Both kinds of pair, where it can be.

import Sluice
import SluiceTestKit
import Testing

@Suite struct CloseTests {
    @Test(arguments: PairKind.allCases)
    func `B31: test_wait_closed_on_close: isClosing flips at close, waitClosed returns after it`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            try await near.writer.send("hello\n")
            #expect(try await far.reader.readLine() == bytes("hello\n"))
            #expect(!near.writer.isClosing)
            let waiting = await started { try await near.writer.waitClosed() }
            near.writer.startClosing()
            #expect(near.writer.isClosing)
            await far.writer.close()
            try await waiting.value
            try await near.writer.waitClosed()
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B31: test_wait_closed_on_close_with_unread_data: unread input does not block it`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            try await far.say("line one\nline two\nline three\n")
            #expect(try await near.reader.readLine() == bytes("line one\n"))
            async let farClosed: Void = far.writer.close()
            await near.writer.close()
            await farClosed
            try await near.writer.waitClosed()
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B31: a close with reads and writes pending ends all of them`(
        _ kind: PairKind
    ) async throws {
        try await withCloggedPair(kind) { near, far, _ in
            let loop = EventLoop.current!
            let reading = loop.spawn { _ = try await near.reader.readLine() }
            let draining = loop.spawn { try await near.writer.drain() }
            let flushing = loop.spawn { try await near.writer.flush() }
            let waiting = loop.spawn { try await near.writer.waitClosed() }
            await settle()
            // From off the loop, several times at once.
            let closing = (0..<3).map { _ in
                Task.detached { await near.writer.close(within: .milliseconds(10)) }
            }
            for task in closing { await task.value }
            await #expect(throws: StreamError.closed) { try await reading.value }
            await #expect(throws: StreamError.self) { try await draining.value }
            await #expect(throws: StreamError.self) { try await flushing.value }
            try await waiting.value
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B31: closing both ends at the same moment ends both`(_ kind: PairKind) async throws {
        for _ in 0..<10 {
            try await withPair(kind) { near, far in
                try near.writer.write("x")
                try far.writer.write("y")
                async let one: Void = near.writer.close()
                async let two: Void = far.writer.close()
                _ = await (one, two)
            }
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B32: a peer that never reads cannot hold a close beyond its limit`(
        _ kind: PairKind
    ) async throws {
        try await withCloggedPair(kind) { near, far, _ in
            await near.writer.close(within: .milliseconds(20))
            #expect(throws: StreamError.self) { try near.writer.write("x") }
            #expect(near.writer.closeReason != nil)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B32: the limit of the options holds for a close without one`(
        _ kind: PairKind
    ) async throws {
        var options = StreamOptions()
        options.closeTimeout = .milliseconds(20)
        try await withCloggedPair(kind, options: options) { near, far, _ in
            await near.writer.close()
            try await near.writer.waitClosed()
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B32: a peer that reads all but never closes cannot hold it either`(
        _ kind: PairKind
    ) async throws {
        var options = StreamOptions()
        options.closeTimeout = .milliseconds(20)
        try await withPair(kind, options: options) { near, far in
            try near.writer.write("bye")
            async let closed: Void = near.writer.close()
            #expect(try await far.reader.readToEnd() == bytes("bye"))
            await closed
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B32: a shorter limit given later cuts a running close short`(
        _ kind: PairKind
    ) async throws {
        try await withCloggedPair(kind) { near, far, _ in
            let first = await started { await near.writer.close(within: .seconds(600)) }
            await near.writer.close(within: .milliseconds(5))
            try await first.value
        }
    }

    /// On a virtual clock, which jumps to the next deadline whenever nothing is ready.
    @Test func `B32: a longer limit given later does not prolong a running close`() async throws {
        let faults = FaultTable()
        faults.setClock(nanoseconds: 1_000_000_000_000)
        try await withCloggedPair(.memory, faults: faults) { near, far, _ in
            let began = near.writer.loop.now()
            let first = await started { await near.writer.close(within: .milliseconds(10)) }
            await near.writer.close(within: .seconds(4))
            try await first.value
            #expect(near.writer.loop.now() - began < 1_000_000_000, "it took the longer limit")
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B34: a reply written before an early close reaches a client that is still sending`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            let reply = 400_000
            let serving = EventLoop.current!.spawn {
                #expect(try await near.reader.read(upTo: 1)?.count == 1)
                try await near.writer.send(TestBytes.make(count: reply))
                await near.writer.close()
            }
            let asking = EventLoop.current!.spawn {
                for _ in 0..<20 {
                    try await far.writer.send(TestBytes.make(count: 10_000))
                    await EventLoop.yield()
                }
                try far.writer.finishWriting()
            }
            #expect(try await receivePieces(far.reader, seed: 11) == reply)
            try await asking.value
            try await serving.value
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B35: many tasks wait for the close, and cancelling one leaves the others waiting`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            let loop = EventLoop.current!
            let waiting = (0..<10).map { _ in loop.spawn { try await near.writer.waitClosed() } }
            await settle()
            waiting[4].cancel()
            await #expect(throws: StreamError.cancelled) { try await waiting[4].value }
            await #expect(throws: StreamError.timedOut) {
                try await withTimeout(.milliseconds(2)) { try await near.writer.waitClosed() }
            }
            async let farClosed: Void = far.writer.close()
            await near.writer.close()
            await farClosed
            for (index, task) in waiting.enumerated() where index != 4 { try await task.value }
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B35: closing from a task that is cancelled already still closes`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            let closing = await started {
                try? await sleep(for: .seconds(20))
                await near.writer.close()
            }
            closing.cancel()
            far.writer.startClosing()
            try await closing.value
            try await near.writer.waitClosed()
            #expect(near.writer.isClosing)
        }
    }
}
