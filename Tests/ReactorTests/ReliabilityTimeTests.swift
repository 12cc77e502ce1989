// Clocks, long pauses and slow name servers, by their rows in docs/RELIABILITY-TESTS.md.

import Glibc
import Sluice
import SluiceTestKit
import Testing

@Suite struct ReliabilityTimeTests {
    /// clock_gettime(2): the wall clock may jump, this one may not.
    @Test func `RELIABILITY 24: a loop's clock is the monotonic one`() async throws {
        try await withLoop { loop in
            for _ in 0..<100 {
                let before = monotonicNanoseconds()
                let now = loop.now()
                #expect(before <= now && now <= monotonicNanoseconds())
            }
        }
    }

    /// As after a suspended machine wakes up: 10,000 timers are overdue at once. A bounded number
    /// of them fire before the loop looks at its sockets again.
    @Test func `RELIABILITY 27: after a long pause overdue timers fire in portions`() async throws {
        let faults = FaultTable()
        faults.setClock(nanoseconds: 1_000_000_000)
        try await withLoop(faults: faults) { loop in
            let count = 10_000
            let woken = LoopBound(0)
            for _ in 0..<count {
                loop.spawn {
                    try await sleep(for: .seconds(60))
                    woken.withValue { $0 += 1 }
                }
            }
            try await waitUntil { await loop.statistics().timersArmed == count }
            faults.advance(nanoseconds: 3_600_000_000_000)
            faults.resetCounts()
            var most = 0
            while woken.withValue({ $0 }) < count {
                let before = (woken: woken.withValue { $0 }, waits: faults.waits)
                await EventLoop.yield()
                let waits = faults.waits - before.waits
                #expect(waits <= 2)
                most = max(most, woken.withValue { $0 } - before.woken)
            }
            #expect(most <= 2 * ReactorBounds.timersPerTurn)
            #expect(faults.waits >= count / ReactorBounds.timersPerTurn)
        }
    }

    /// All threads for names are stuck, as with a name server that does not answer.
    @Test func `RELIABILITY 95: names that take for ever hold up no loop and no deadline`()
        async throws
    {
        let mayGoOn = Shared(false)
        let stuck = Shared(0)
        try await withLoop { loop in
            let holders = (0..<ReactorBounds.offloadThreads).map { _ in
                loop.spawn {
                    try await offload {
                        stuck.withLock { $0 += 1 }
                        mayGoOn.block { $0 }
                    }
                }
            }
            try await waitUntil { stuck.value == ReactorBounds.offloadThreads }
            let turns = await loop.statistics().turns
            do {
                _ = try await withTimeout(.milliseconds(50)) {
                    try await resolve(host: "localhost", port: 80)
                }
                Issue.record("resolved by nobody")
            } catch ReactorError.timedOut {}
            // Meanwhile the loop serves others.
            for _ in 0..<100 { await EventLoop.yield() }
            #expect(await loop.statistics().turns - turns >= 100)
            // Numeric addresses need no thread.
            #expect(try await resolve(host: "127.0.0.1", port: 80).count == 1)
            mayGoOn.set(true)
            for holder in holders { try await holder.value }
            #expect(try await !resolve(host: "localhost", port: 80).isEmpty)
        }
    }
}

private func monotonicNanoseconds() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}
