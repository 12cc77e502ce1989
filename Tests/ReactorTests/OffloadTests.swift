// offload: blocking work on a bounded pool of threads.

import Sluice
import SluiceTestKit
import Testing

private struct Refusal: Error, Equatable {}

@Suite struct OffloadTests {
    @Test func `offload runs off the loop, which goes on, and comes back to it`() async throws {
        try await withLoop { loop in
            let isReleased = Shared(false)
            let place = loop.spawn {
                try await offload {
                    isReleased.block { $0 }
                    return (EventLoop.current == nil, threadNumber())
                }
            }
            // The loop would never get here if the closure held it.
            for _ in 0..<10 { await EventLoop.yield() }
            isReleased.set(true)
            let (isElsewhere, thread) = try await place.value
            #expect(isElsewhere)
            #expect(thread != threadNumber())
            #expect(loop.isCurrent)
        }
    }

    @Test func `what the closure throws comes out`() async throws {
        try await withLoop { _ in
            await #expect(throws: Refusal()) {
                try await offload { throw Refusal() }
            }
        }
    }

    @Test func `offload works off every loop`() async throws {
        #expect(try await withDeadline { try await offload { 42 } } == 42)
    }

    @Test func `no more than sixteen closures run at a time, and all of them run`() async throws {
        try await withLoop { _ in
            let running = Shared(0)
            let most = Shared(0)
            let done = Shared(0)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<400 {
                    group.addTask {
                        try await offload {
                            let now = running.withLock { count in
                                count += 1
                                return count
                            }
                            most.withLock { $0 = max($0, now) }
                            running.withLock { $0 -= 1 }
                            done.withLock { $0 += 1 }
                        }
                    }
                }
                try await group.waitForAll()
            }
            #expect(most.value <= ReactorBounds.offloadThreads)
            #expect(done.value == 400)
        }
    }

    @Test func `a task cancelled before it offloads does not begin`() async throws {
        try await withLoop { loop in
            let hasRun = Shared(false)
            let task = loop.spawn {
                while !Task.isCancelled { await EventLoop.yield() }
                try await offload { hasRun.set(true) }
            }
            task.cancel()
            await #expect(throws: ReactorError.cancelled) { try await task.value }
            #expect(!hasRun.value)
        }
    }

    @Test func `cancellation does not interrupt a closure that runs`() async throws {
        try await withLoop { loop in
            let hasBegun = Shared(false)
            let isReleased = Shared(false)
            let task = loop.spawn {
                try await offload {
                    hasBegun.set(true)
                    isReleased.block { $0 }
                    return 42
                }
            }
            try await waitUntil { hasBegun.value }
            task.cancel()
            isReleased.set(true)
            #expect(try await task.value == 42)
        }
    }

    /// In a process of its own, since all threads of the pool are held for a while.
    @Test func `a closure cancelled while it waits for a thread never runs`() async {
        await #expect(processExitsWith: .success) {
            try await withLoop { loop in
                let isReleased = Shared(false)
                let running = Shared(0)
                let blockers = (0..<ReactorBounds.offloadThreads).map { _ in
                    loop.spawn {
                        try await offload {
                            running.withLock { $0 += 1 }
                            isReleased.block { $0 }
                        }
                    }
                }
                try await waitUntil { running.value == ReactorBounds.offloadThreads }
                let hasRun = Shared(false)
                let queued = loop.spawn { try await offload { hasRun.set(true) } }
                let next = loop.spawn { try await offload { 42 } }
                for _ in 0..<3 { await EventLoop.yield() }
                queued.cancel()
                await #expect(throws: ReactorError.cancelled) { try await queued.value }
                isReleased.set(true)
                for blocker in blockers { try await blocker.value }
                #expect(try await next.value == 42)
                #expect(!hasRun.value)
                guard !hasRun.value else { throw Refusal() }
            }
        }
    }

    /// In a process of its own, for the same reason.
    @Test func `past its bound the pool's queue refuses`() async {
        await #expect(processExitsWith: .success) {
            try await withLoop { loop in
                let isReleased = Shared(false)
                let refused = Shared(0)
                let accepted = ReactorBounds.offloadThreads + ReactorBounds.offloadQueue
                let tasks = (0..<accepted + 100).map { _ in
                    loop.spawn {
                        do {
                            try await offload { isReleased.block { $0 } }
                            return 1
                        } catch ReactorError.offloadFull {
                            refused.withLock { $0 += 1 }
                            return 0
                        }
                    }
                }
                try await waitUntil { refused.value >= 100 }
                isReleased.set(true)
                var ran = 0
                for task in tasks { ran += try await task.value }
                // Threads may take a moment to begin: until then their closures stand in the queue.
                guard ran + refused.value == tasks.count, ran >= ReactorBounds.offloadQueue,
                    ran <= accepted
                else { throw Refusal() }
            }
        }
    }
}
