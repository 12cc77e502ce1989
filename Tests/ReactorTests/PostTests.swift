// The inbox: closures from other threads, their order, their bound, and the loop's wake-up.

import Glibc
import Sluice
import SluiceTestKit
import Testing

/// Posts until the loop takes it.
private func postPatiently(_ loop: EventLoop, _ body: @escaping @Sendable () -> Void) throws {
    while true {
        do throws(ReactorError) {
            return try loop.post(body)
        } catch .inboxFull {
            sched_yield()
        }
    }
}

@Suite struct PostTests {
    /// 10 million with SLUICE_LONG=1. Each producer's closures also have to come in their order.
    @Test func `of posts from two threads none is lost and each thread's order is kept`()
        async throws
    {
        let each = isLongRun ? 5_000_000 : 100_000
        try await withLoop(deadline: .seconds(500)) { loop in
            let seen = LoopBound([0, 0])
            let disorder = LoopBound(0)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for producer in 0..<2 {
                    group.addTask {
                        try await offload {
                            for number in 0..<each {
                                try postPatiently(loop) {
                                    seen.withValue { seen in
                                        if seen[producer] != number {
                                            disorder.withValue { $0 += 1 }
                                        }
                                        seen[producer] += 1
                                    }
                                }
                            }
                        }
                    }
                }
                try await group.waitForAll()
            }
            try await waitUntil("all arrived") { seen.withValue { $0 == [each, each] } }
            #expect(disorder.withValue { $0 } == 0)
            #expect(await loop.statistics().inboxItems >= UInt64(2 * each))
        }
    }

    @Test func `past its bound the inbox refuses, and takes again once it was emptied`()
        async throws
    {
        var options = EventLoop.Options()
        options.inboxCapacity = 4
        try await withLoop(options: options) { loop in
            let ran = LoopBound(0)
            for round in 1...3 {
                for _ in 0..<4 { try loop.post { ran.withValue { $0 += 1 } } }
                for _ in 0..<2 {
                    #expect(throws: ReactorError.inboxFull) {
                        try loop.post { ran.withValue { $0 += 1_000 } }
                    }
                }
                await EventLoop.yield()
                #expect(ran.withValue { $0 } == 4 * round)
            }
        }
    }

    @Test func `a full inbox does not keep tasks from starting, ending and being cancelled`()
        async throws
    {
        var options = EventLoop.Options()
        options.inboxCapacity = 1
        try await withLoop(options: options) { loop in
            let sleeping = loop.spawn { try await sleep(for: .seconds(3_600)) }
            await EventLoop.yield()
            let hold = Shared(false)
            let spawned = Task.detached {
                // The loop is held by the job below while these come in.
                hold.block { $0 }
                try? loop.post {}
                sleeping.cancel()
                let tasks = (0..<10).map { number in loop.spawn { number } }
                hold.set(false)
                return tasks
            }
            hold.set(true)
            hold.block { !$0 }
            #expect(throws: ReactorError.inboxFull) { try loop.post {} }
            for (number, task) in await spawned.value.enumerated() {
                let result = try await task.value
                #expect(result == number)
            }
            await #expect(throws: ReactorError.cancelled) { try await sleeping.value }
        }
    }

    @Test func `a refused closure is not kept`() async throws {
        try await withDeadline {
            let loop = try EventLoop.start()
            await loop.stop()
            weak var kept: Shared<Int>?
            do {
                let held = Shared(1)
                kept = held
                #expect(throws: ReactorError.stopped) { try loop.post { held.set(2) } }
            }
            #expect(kept == nil)
        }
    }

    @Test func `an inbox without room stops the program at its start`() async {
        await #expect(processExitsWith: .failure) {
            var options = EventLoop.Options()
            options.inboxCapacity = 0
            _ = try EventLoop.start(options: options)
        }
    }
}

@Suite struct WakeUpTests {
    /// Each round finds the loop asleep or about to be: a lost wake-up would hold its round for
    /// ever.
    @Test func `a sleeping loop sees each post from another thread`() async throws {
        let rounds = isLongRun ? 1_000_000 : 5_000
        try await withLoop(deadline: .seconds(300)) { loop in
            let last = try await offload {
                let seen = Shared(0)
                for round in 1...rounds {
                    try loop.post { seen.set(round) }
                    seen.block { $0 == round }
                    if seen.value != round { break }
                }
                return seen.value
            }
            #expect(last == rounds)
        }
    }

    /// The loop is held by a job while another thread posts.
    @Test func `posts to a loop that is awake cost no system call`() async throws {
        let faults = FaultTable()
        try await withLoop(faults: faults) { loop in
            let ran = LoopBound(0)
            let posted = Shared(0)
            let producer = Task.detached {
                posted.block { $0 == 1 }
                for _ in 0..<1_000 { try loop.post { ran.withValue { $0 += 1 } } }
                posted.set(2)
            }
            let writes = faults.calls(CF_WRITE)
            posted.set(1)
            posted.block { $0 == 2 }
            #expect(faults.calls(CF_WRITE) == writes)
            await EventLoop.yield()
            #expect(ran.withValue { $0 } == 1_000)
            try await producer.value
        }
    }

    @Test func `wake-ups are coalesced: at most one write for each wait`() async throws {
        let faults = FaultTable()
        let loop = try startLoop(faults: faults)
        let ran = Shared(0)
        try await withDeadline {
            try await offload {
                for _ in 0..<20_000 { try postPatiently(loop) { ran.withLock { $0 += 1 } } }
            }
            try await waitUntil { ran.value == 20_000 }
            await loop.stop()
        }
        #expect(faults.calls(CF_WRITE) <= faults.waits, "\(faults)")
        #expect(faults.calls(CF_READ) <= faults.calls(CF_WRITE), "\(faults)")
    }
}
