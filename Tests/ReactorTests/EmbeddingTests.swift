// A loop inside another loop: what its descriptor announces, and whose turn it is. The host of
// SluiceTestKit takes a turn only when the descriptor is readable, so whatever is not announced
// fails its test.

import Glibc
import Sluice
import SluiceTestKit
import Testing

@Suite struct EmbeddingTests {
    @Test func `a loop with nothing to do leaves its descriptor silent`() async throws {
        try await withHost { host in
            #expect(!host.isCalledFor())
            #expect(host.loop.turn())
            #expect(!host.isCalledFor())
            try host.run { await EventLoop.yield() }
            host.rest()
            #expect(!host.isCalledFor())
        }
    }

    @Test func `tasks run in the host's turns, on its thread, and nowhere else`() async throws {
        try await withHost { host in
            let threads = Shared<[UInt]>([])
            let task = host.loop.spawn {
                threads.append(threadNumber())
                await EventLoop.yield()
                threads.append(threadNumber())
                try await sleep(for: .microseconds(200))
                async let child: Void = threads.append(threadNumber())
                await child
            }
            #expect(threads.value.isEmpty)
            #expect(host.isCalledFor())
            _ = task
            try host.serve { threads.value.count == 3 }
            #expect(Set(threads.value) == [threadNumber()])
            #expect(EventLoop.current == nil)
        }
    }

    @Test func `a timer makes the descriptor readable when it is due`() async throws {
        try await withHost { host in
            let woken = Shared<[Int]>([])
            // Not in the order of their deadlines: an earlier one replaces a later one.
            for milliseconds in [30, 10, 20, 1] {
                host.loop.spawn {
                    try await sleep(for: .milliseconds(milliseconds))
                    woken.append(milliseconds)
                }
            }
            try host.serve { woken.value.count == 4 }
            // Slow machines may begin the sleeps far apart, so their order says nothing.
            #expect(woken.value.sorted() == [1, 10, 20, 30])
        }
    }

    @Test func `a timer set after an earlier one was disarmed is not missed`() async throws {
        try await withHost { host in
            let rounds = try host.run {
                for round in 0..<50 {
                    // The first deadline is never reached, the sleep's comes after the next turns.
                    try? await withTimeout(.milliseconds(round % 3)) { await EventLoop.yield() }
                    try await sleep(for: .microseconds(round * 20))
                }
                return 50
            }
            #expect(rounds == 50)
        }
    }

    @Test func `a deadline that moves away costs no system call`() async throws {
        let faults = FaultTable()
        try await withHost(faults: faults) { host in
            try host.run {
                for _ in 0..<500 {
                    // Waits in earnest, so the deadline's timer is armed and disarmed each time.
                    try await withTimeout(.seconds(3_600)) {
                        await EventLoop.yield()
                        try await sleep(for: .microseconds(1))
                    }
                }
            }
            // Each sleep is earlier than what the timer is set to; the hour is set once at most.
            #expect(faults.calls(CF_TIMERFD_SETTIME) <= 501)
            faults.resetCounts()
            try host.run {
                for _ in 0..<500 {
                    let task = EventLoop.current?.spawn { try await sleep(for: .seconds(3_600)) }
                    await settle()
                    task?.cancel()
                }
            }
            #expect(faults.calls(CF_TIMERFD_SETTIME) <= 1)
        }
    }

    @Test func `posts from other threads wake a host that is asleep in its own poll`() async throws
    {
        try await withHost { host in
            let (loop, arrived) = (host.loop, Shared(0))
            let posters = Task {
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for _ in 0..<4 {
                        group.addTask {
                            try await offload {
                                for number in 1...500 {
                                    try loop.post { arrived.withLock { $0 += 1 } }
                                    // Now and then the host has gone to sleep in between.
                                    if number % 50 == 0 { arrived.block { $0 >= number } }
                                }
                            }
                        }
                    }
                    try await group.waitForAll()
                }
            }
            try host.serve { arrived.value == 2_000 }
            _ = posters
        }
    }

    @Test func `the host's own descriptors are served while tasks never rest`() async throws {
        try await withHost { host in
            let isOver = Shared(false)
            host.loop.spawn { while !isOver.value { await EventLoop.yield() } }
            for _ in 0..<100 { host.ringOwnBell() }
            try host.serve { host.ownBytes == 100 && host.turns > 100 }
            isOver.set(true)
            host.rest()
        }
    }

    @Test func `a turn waits as long as it may, and no longer than the next timer`() async throws {
        let faults = FaultTable()
        let second: UInt64 = 1_000_000_000
        faults.setClock(nanoseconds: second)
        try await withHost(faults: faults) { host in
            // Virtual time moves by the length of the wait and by nothing else.
            host.loop.turn(timeout: .seconds(7))
            #expect(host.loop.now() == 8 * second)
            host.loop.turn(timeout: .zero)
            host.loop.turn(timeout: .seconds(-1))
            #expect(host.loop.now() == 8 * second)
            let hasSlept = Shared(false)
            host.loop.spawn {
                try await sleep(for: .seconds(2))
                hasSlept.set(true)
            }
            host.loop.turn(timeout: nil)
            #expect(host.loop.now() == 8 * second)
            #expect(!hasSlept.value)
            host.loop.turn(timeout: .seconds(60))
            #expect(host.loop.now() == 10 * second)
            #expect(hasSlept.value)
        }
    }

    @Test func `a refused timer is set again and nothing sleeps too long`() async throws {
        let faults = FaultTable()
        try await withHost(faults: faults) { host in
            faults.fail(CF_TIMERFD_SETTIME, with: EINVAL, times: 3)
            try host.run { try await sleep(for: .milliseconds(1)) }
            // Under load the sleep may be over before the third.
            #expect(faults.counts(CF_TIMERFD_SETTIME).injected >= 1)
        }
    }
}

@Suite struct EmbeddingEndTests {
    @Test func `close ends the waits of tasks, and later turns and posts do nothing`() async throws
    {
        try await withHost { host in
            let endings = Shared<[ReactorError]>([])
            for _ in 0..<10 {
                host.loop.spawn {
                    do throws(ReactorError) { try await sleep(for: .seconds(3_600)) } catch {
                        endings.append(error)
                    }
                }
            }
            host.rest()
            host.loop.close()
            #expect(endings.value == Array(repeating: .stopped, count: 10))
            #expect(throws: ReactorError.stopped) { try host.loop.post {} }
            #expect(!host.loop.turn())
            #expect(!host.loop.turn(timeout: nil))
            host.loop.close()
        }
    }

    @Test func `stop from elsewhere ends the loop in the host's next turn`() async throws {
        try await withHost { host in
            let (loop, hasEnded) = (host.loop, Shared(false))
            let stopping = Task {
                await loop.stop()
                hasEnded.set(true)
            }
            while loop.turn(timeout: .seconds(20)) {}
            hasEnded.block { $0 }
            #expect(hasEnded.value)
            _ = stopping
        }
    }

    @Test func `a task of the loop may stop it`() async throws {
        try await withHost { host in
            let loop = host.loop
            loop.spawn { await loop.stop() }
            while loop.turn(timeout: .seconds(20)) {}
            #expect(throws: ReactorError.stopped) { try loop.post {} }
        }
    }

    @Test func `closed loops leave no descriptor`() async throws {
        let tables = (0..<20).map { _ in FaultTable() }
        for faults in tables {
            try await withHost(faults: faults) { host in
                #expect(faults.ledger.open == 3)
                try host.run { try await sleep(for: .microseconds(10)) }
            }
        }
        try await waitUntil("all descriptors are closed") {
            tables.allSatisfy { $0.ledger.open == 0 }
        }
        #expect(tables.allSatisfy { $0.ledger.double_closes == 0 })
    }

    @Test func `each call that makes a loop may fail, and everything is closed again`() throws {
        let calls = [CF_EPOLL_CREATE1, CF_EVENTFD, CF_EPOLL_CTL, CF_TIMERFD_CREATE, CF_EPOLL_CTL]
        for (index, call) in calls.enumerated() {
            let faults = FaultTable()
            faults.fail(call, with: EMFILE, at: index == 4 ? 2 : 1)
            let name = String(cString: cf_name(call))
            #expect(throws: SystemError(call: name, errno: EMFILE)) {
                _ = try EmbeddedHost(faults: faults)
            }
            #expect(faults.ledger.open == 0)
        }
    }
}

@Suite struct EmbeddingRuleTests {
    @Test func `a turn inside a task of the loop stops the program`() async {
        await #expect(processExitsWith: .failure) {
            let loop = try EventLoop.makeEmbedded()
            loop.spawn { loop.turn() }
            loop.turn()
        }
    }

    @Test func `a turn on a second thread stops the program`() async {
        await #expect(processExitsWith: .failure) {
            let loop = try EventLoop.makeEmbedded()
            loop.turn()
            try await offload { _ = loop.turn() }
        }
    }

    @Test func `a close inside a task of the loop stops the program`() async {
        await #expect(processExitsWith: .failure) {
            let loop = try EventLoop.makeEmbedded()
            loop.spawn { loop.close() }
            loop.turn()
        }
    }

    @Test func `turns of a loop with a thread of its own stop the program`() async {
        await #expect(processExitsWith: .failure) { EventLoop.background.turn() }
        await #expect(processExitsWith: .failure) { _ = EventLoop.background.fileDescriptor }
    }
}
