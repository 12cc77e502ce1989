// ce_wake: from anywhere, coalesced, never lost. And which thread runs a reactor.

import CEpoll
import CFaults
import Glibc
import Synchronization
import Testing

@Suite struct ReactorWakeTests {
    @Test func `a wake-up before the wait ends it and is not stored`() throws {
        try withShim { shim in
            #expect(ce_wake(shim.reactor) == 0)
            try shim.waitForWake()
            try #expect(shim.wait(nanoseconds: 0).isEmpty)
        }
    }

    @Test func `a wake-up from another thread ends an endless wait`() throws {
        try withShim { shim in
            let thread = TestThread { ce_wake(shim.reactor) }
            try #expect(shim.wait(nanoseconds: -1).isEmpty)
            thread.join()
        }
    }

    @Test func `a thousand wake-ups before one wait cost one write`() throws {
        try withShim { shim in
            for _ in 0..<1_000 { #expect(ce_wake(shim.reactor) == 0) }
            #expect(shim.counts(CF_WRITE).calls == 1)
            try shim.waitForWake()
            #expect(ce_wake(shim.reactor) == 0)
            #expect(shim.counts(CF_WRITE).calls == 2)
            try shim.waitForWake()
            #expect(shim.counts(CF_READ).calls == 0)
        }
    }

    @Test func `wake-ups of two threads cost no more writes than there were waits`() throws {
        try withShim { shim in
            let threads = (0..<2).map { _ in
                TestThread { for _ in 0..<500 { ce_wake(shim.reactor) } }
            }
            for thread in threads { thread.join() }
            #expect(shim.counts(CF_WRITE).calls == 1)
            try shim.waitForWake()
        }
    }

    /// Ping-pong: the other thread posts a number and wakes only after the last one was seen, so a
    /// single lost wake-up leaves the wait to its deadline.
    @Test func `no wake-up is lost`() throws {
        final class Numbers: Sendable {
            let posted = Atomic<Int>(0)
            let seen = Atomic<Int>(0)
        }
        let rounds = 2_000
        try withShim { shim in
            let numbers = Numbers()
            let thread = TestThread {
                for round in 1...rounds {
                    numbers.posted.store(round, ordering: .relaxed)
                    ce_wake(shim.reactor)
                    if round % 3 == 0 { ce_wake(shim.reactor) }
                    while numbers.seen.load(ordering: .acquiring) < round { sched_yield() }
                }
            }
            defer {
                numbers.seen.store(.max, ordering: .releasing)
                thread.join()
            }
            var late = 0
            for round in 1...rounds {
                while numbers.posted.load(ordering: .relaxed) < round {
                    let start = ce_now(shim.reactor)
                    _ = try shim.wait(nanoseconds: 5_000_000_000)
                    if ce_now(shim.reactor) - start >= 5_000_000_000 { late += 1 }
                }
                numbers.seen.store(round, ordering: .releasing)
            }
            #expect(late == 0)
        }
    }

    @Test func `a full counter is emptied once and written again`() throws {
        try withShim { shim in
            #expect(ce_wake(shim.reactor) == 0)
            try shim.waitForWake()
            cf_fail(shim.faults, CF_WRITE, 1, EAGAIN, 1)
            #expect(ce_wake(shim.reactor) == 0)
            #expect(shim.counts(CF_READ).calls == 1)
            #expect(shim.counts(CF_WRITE).calls == 3)
            try shim.waitForWake()
        }
    }

    @Test func `after a failed wake-up the next one tries again`() throws {
        try withShim { shim in
            cf_fail(shim.faults, CF_WRITE, 1, ENOMEM, 1)
            #expect(ce_wake(shim.reactor) == -ENOMEM)
            #expect(ce_wake(shim.reactor) == 0)
            try shim.waitForWake()
        }
    }

    @Test func `a wake-up keeps errno`() throws {
        try withShim { shim in
            // A real failure, so that the C library sets errno: the kernel refuses the descriptor.
            var table = ce_system_kernel().pointee
            table.write = { _, _, _, _ in
                errno = EPIPE
                return Int(-EPIPE)
            }
            var reactor: OpaquePointer?
            #expect(ce_reactor_create(&reactor, &table, nil) == 0)
            errno = ERANGE
            let result = ce_wake(reactor)
            let after = errno
            #expect(result == -EPIPE)
            #expect(after == ERANGE)
            ce_reactor_close(reactor)
        }
    }

    @Test func `an event that a wake-up displaced comes in the next wait`() throws {
        try withShim { shim in
            let (client, server) = try shim.makePair()
            try shim.add(client, want.out, token: 1)
            #expect(ce_wake(shim.reactor) == 0)
            var seen: [Event] = []
            for _ in 0..<3 where seen.isEmpty {
                seen = try shim.wait(nanoseconds: 0, capacity: 1)
            }
            #expect(seen == [Event(token: 1, ready: CE_OUT.rawValue)])
            shim.close(client, server)
        }
    }
}

@Suite struct ReactorThreadTests {
    @Test func `a reactor is current between enter and leave on that thread alone`() throws {
        try withShim { shim in
            #expect(!ce_is_current(shim.reactor))
            let before = ce_enter(shim.reactor, nil)
            #expect(ce_is_current(shim.reactor))
            let elsewhere = Mutex(true)
            let thread = TestThread {
                elsewhere.withLock { $0 = ce_is_current(shim.reactor) }
            }
            thread.join()
            #expect(elsewhere.withLock { $0 } == false)
            ce_leave(before)
            #expect(!ce_is_current(shim.reactor))
        }
    }

    @Test func `two threads run two reactors`() throws {
        try withShim { one in
            try withShim { other in
                let before = ce_enter(one.reactor, nil)
                let answers = Mutex<[Bool]>([])
                let thread = TestThread {
                    let before = ce_enter(other.reactor, nil)
                    answers.withLock {
                        $0 = [ce_is_current(one.reactor), ce_is_current(other.reactor)]
                    }
                    ce_leave(before)
                }
                thread.join()
                #expect(answers.withLock { $0 } == [false, true])
                #expect(ce_is_current(one.reactor) && !ce_is_current(other.reactor))
                ce_leave(before)
            }
        }
    }

    @Test func `nested reactors come back in order with their owners`() throws {
        try withShim { outer in
            try withShim { inner in
                let owners = (
                    UnsafeMutableRawPointer(bitPattern: 8), UnsafeMutableRawPointer(bitPattern: 16)
                )
                #expect(ce_current_owner() == nil)
                let first = ce_enter(outer.reactor, owners.0)
                let second = ce_enter(inner.reactor, owners.1)
                #expect(ce_current_owner() == owners.1 && ce_is_current(inner.reactor))
                ce_leave(second)
                #expect(ce_current_owner() == owners.0 && ce_is_current(outer.reactor))
                ce_leave(first)
                #expect(ce_current_owner() == nil)
            }
        }
    }
}
