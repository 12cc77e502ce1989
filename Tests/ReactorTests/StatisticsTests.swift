// A loop's statistics count exactly what happened. Signals and other things of the process.

import Glibc
import Sluice
import SluiceTestKit
import Testing

@Suite struct StatisticsTests {
    @Test func `a yield is one enqueue, one job and one turn`() async throws {
        try await withLoop { loop in
            await EventLoop.yield()
            let before = await loop.statistics()
            for _ in 0..<100 { await EventLoop.yield() }
            let after = await loop.statistics()
            #expect(after.enqueues - before.enqueues == 100)
            #expect(after.jobs - before.jobs == 100)
            #expect(after.turns - before.turns == 100)
            #expect(after.inboxItems == before.inboxItems)
        }
    }

    @Test func `a sleep is one enqueue and one job`() async throws {
        let faults = FaultTable()
        faults.setClock(nanoseconds: 1_000_000_000)
        try await withLoop(faults: faults) { loop in
            await EventLoop.yield()
            let before = await loop.statistics()
            for _ in 0..<100 { try await sleep(for: .seconds(1)) }
            let after = await loop.statistics()
            #expect(after.enqueues - before.enqueues == 100)
            #expect(after.jobs - before.jobs == 100)
        }
    }

    @Test func `spawned tasks that end at once are one enqueue each`() async throws {
        try await withLoop { loop in
            let done = LoopBound(0)
            await EventLoop.yield()
            let before = await loop.statistics()
            for _ in 0..<100 { loop.spawn { done.withValue { $0 += 1 } } }
            await EventLoop.yield()
            await EventLoop.yield()
            let after = await loop.statistics()
            #expect(done.withValue { $0 } == 100)
            #expect(after.enqueues - before.enqueues == 102)
        }
    }

    @Test func `posts are counted as inbox items, sleepers as members with a timer`() async throws {
        try await withLoop { loop in
            let before = await loop.statistics()
            for _ in 0..<10 { try loop.post {} }
            let task = loop.spawn { try await sleep(for: .seconds(3_600)) }
            await EventLoop.yield()
            let after = await loop.statistics()
            #expect(after.inboxItems - before.inboxItems == 10)
            #expect(after.members - before.members == 1)
            #expect(after.timersArmed - before.timersArmed == 1)
            #expect("\(after)".contains("timers 1 (1 stored), members 1, blocks 0"))
            task.cancel()
            _ = await task.result
        }
    }

    @Test func `statistics can be asked for from anywhere`() async throws {
        try await withDeadline {
            let loop = try EventLoop.start()
            let first = await loop.statistics()
            let second = await loop.statistics()
            #expect(second.turns > first.turns)
            await loop.stop()
        }
    }
}

@Suite struct SignalTests {
    /// In a process of its own, whose SIGPIPE is as the system has it.
    @Test func `writing to a closed pipe does not kill a program that has a loop`() async {
        await #expect(processExitsWith: .success) {
            signal(SIGPIPE, SIG_DFL)
            let result = try EventLoop.run {
                var ends: [Int32] = [0, 0]
                guard pipe(&ends) == 0 else { return Int32(0) }
                close(ends[0])
                return write(ends[1], "x", 1) == -1 ? errno : 0
            }
            guard result == EPIPE else { exit(1) }
        }
    }

    @Test func `a program's own handler of SIGPIPE is left alone`() async {
        await #expect(processExitsWith: .success) {
            signal(SIGPIPE) { _ in }
            try EventLoop.run { await EventLoop.yield() }
            var present = sigaction()
            sigaction(SIGPIPE, nil, &present)
            guard present.__sigaction_handler.sa_handler != nil else { exit(1) }
            raise(SIGPIPE)
        }
    }

    @Test func `signals sent to the process do not interrupt a started loop`() async {
        await #expect(processExitsWith: .success) {
            signal(SIGUSR1) { _ in }
            try await withLoop { loop in
                let isOver = Shared(false)
                let thread = threadNumber()
                let killer = Task.detached {
                    while !isOver.value {
                        kill(getpid(), SIGUSR1)
                        // Also to the loop's thread by name, which has it blocked.
                        pthread_kill(thread, SIGUSR1)
                        await Task.yield()
                    }
                }
                for _ in 0..<200 { try await sleep(for: .microseconds(50)) }
                isOver.set(true)
                await killer.value
            }
        }
    }
}
