// Sleeping: never early, in order, gone when cancelled, by the monotonic clock alone.

import Glibc
import Sluice
import SluiceTestKit
import Testing

@Suite struct SleepTests {
    @Test func `no sleep is early`() async throws {
        try await withLoop { loop in
            var generator = SeededGenerator()
            let seed = generator.seed
            let early = Shared(0)
            let durations = (0..<200).map { _ in UInt64.random(in: 1...4_000_000, using: &generator)
            }
            let tasks = durations.map { nanoseconds in
                loop.spawn {
                    let before = loop.now()
                    try await sleep(for: .nanoseconds(Int64(nanoseconds)))
                    if loop.now() < before + nanoseconds { early.withLock { $0 += 1 } }
                }
            }
            for task in tasks { try await task.value }
            #expect(early.value == 0, "seed \(seed)")
        }
    }

    /// The clock is virtual: it stands still but for waits, so nothing hides an early timer.
    @Test func `a loop wakes at each deadline exactly, to the nanosecond`() async throws {
        let faults = FaultTable()
        faults.setClock(nanoseconds: 5_000_000_000)
        try await withLoop(faults: faults) { loop in
            for nanoseconds: Int64 in [1, 999, 1_001, 999_999, 1_000_001, 123_456_789] {
                let before = loop.now()
                try await sleep(for: .nanoseconds(nanoseconds))
                #expect(loop.now() == before + UInt64(nanoseconds))
            }
        }
    }

    @Test func `without epoll_pwait2 timers are late by less than a millisecond and never early`()
        async throws
    {
        let faults = FaultTable()
        faults.fail(CF_EPOLL_PWAIT2, with: ENOSYS, times: .max)
        faults.setClock(nanoseconds: 5_000_000_000)
        try await withLoop(faults: faults) { loop in
            for nanoseconds: Int64 in [1, 999, 999_999, 1_000_000, 1_000_001] {
                let before = loop.now()
                try await sleep(for: .nanoseconds(nanoseconds))
                let slept = loop.now() - before
                #expect(slept >= UInt64(nanoseconds))
                #expect(slept < UInt64(nanoseconds) + 1_000_000)
            }
        }
    }

    @Test func `sleepers wake in the order of their deadlines, equal ones as they came`()
        async throws
    {
        let faults = FaultTable()
        faults.setClock(nanoseconds: 1_000_000_000)
        try await withLoop(faults: faults) { loop in
            let order = Shared<[Int]>([])
            let seconds = [30, 10, 20, 10, 30, 20, 10, 3_600]
            let tasks = seconds.enumerated().map { index, seconds in
                loop.spawn {
                    try await sleep(for: .seconds(seconds))
                    order.append(index)
                }
            }
            for task in tasks { try await task.value }
            #expect(order.value == [1, 3, 6, 2, 5, 0, 4, 7])
        }
    }

    /// Ten years pass in a moment: nothing but the call table's clock decides, the wall clock,
    /// which stood still for it, has no part in it.
    @Test func `with a virtual clock long sleeps end at once`() async throws {
        let faults = FaultTable()
        faults.setClock(nanoseconds: 1)
        try await withLoop(faults: faults) { loop in
            let before = loop.now()
            for _ in 0..<10 { try await sleep(for: .seconds(365 * 86_400)) }
            #expect(loop.now() - before == 10 * 365 * 86_400 * 1_000_000_000)
        }
    }

    @Test func `a sleep of zero or less returns at once`() async throws {
        try await withLoop { loop in
            let before = await loop.statistics()
            try await sleep(for: .zero)
            try await sleep(for: .seconds(-1))
            let after = await loop.statistics()
            #expect(after.enqueues == before.enqueues)
            #expect(after.turns == before.turns)
        }
    }

    @Test func `the longest duration does not overflow`() async throws {
        try await withLoop { loop in
            let task = loop.spawn { try await sleep(for: .seconds(Int64.max)) }
            for _ in 0..<3 { await EventLoop.yield() }
            #expect(await loop.statistics().timersArmed == 1)
            task.cancel()
            await #expect(throws: ReactorError.cancelled) { try await task.value }
        }
    }

    @Test func `a cancelled sleep ends as cancelled and leaves no timer`() async throws {
        try await withLoop { loop in
            let task = loop.spawn { try await sleep(for: .seconds(3_600)) }
            await EventLoop.yield()
            let during = await loop.statistics()
            #expect(during.timersArmed == 1)
            #expect(during.members == 1)
            task.cancel()
            await #expect(throws: ReactorError.cancelled) { try await task.value }
            let after = await loop.statistics()
            #expect(after.timersArmed == 0)
            #expect(after.members == 0)
        }
    }

    @Test func `a sleep in a cancelled task does not begin`() async throws {
        try await withLoop { loop in
            let task = loop.spawn {
                while !Task.isCancelled { await EventLoop.yield() }
                try await sleep(for: .seconds(3_600))
            }
            task.cancel()
            await #expect(throws: ReactorError.cancelled) { try await task.value }
        }
    }

    @Test func `sleeps are cancelled from other threads at any moment`() async throws {
        try await withLoop { loop in
            for round in 0..<200 {
                let task = loop.spawn { try await sleep(for: .seconds(3_600)) }
                let canceller = Task.detached {
                    for _ in 0..<round % 7 { await Task.yield() }
                    task.cancel()
                }
                await #expect(throws: ReactorError.cancelled) { try await task.value }
                await canceller.value
            }
        }
    }

    @Test func `a sleep off every loop works and can be cancelled`() async throws {
        try await withDeadline {
            try await sleep(for: .microseconds(100))
            let task = Task.detached { try await sleep(for: .seconds(3_600)) }
            await Task.yield()
            task.cancel()
            await #expect(throws: ReactorError.cancelled) { try await task.value }
        }
    }

    /// A million with SLUICE_LONG=1. Entries stored are what a heap of cancelled timers grows by.
    @Test func `setting and cancelling timers keeps the heap flat`() async throws {
        let rounds = isLongRun ? 1_000_000 : 20_000
        try await withLoop(deadline: .seconds(300)) { loop in
            let anchor = loop.spawn { try await sleep(for: .seconds(3_600)) }
            var most = 0
            for round in 0..<rounds {
                let task = loop.spawn { try await sleep(for: .seconds(3_600)) }
                await EventLoop.yield()
                task.cancel()
                if round % 100 == 0 { most = max(most, await loop.statistics().timerEntries) }
            }
            try await waitUntil { await loop.statistics().timersArmed == 1 }
            anchor.cancel()
            _ = await anchor.result
            #expect(most <= 256)
        }
    }
}
