// The timer of a reactor that another loop watches: its end shows at the epoll descriptor, and in
// ce_wait as nothing.

import CEpoll
import CFaults
import Glibc
import Testing

@Suite struct ReactorTimerTests {
    private func withTimer(_ body: (Shim) throws -> Void) throws {
        try withShim { shim in
            _ = try check(ce_timer_open(shim.reactor, nil))
            try body(shim)
        }
    }

    /// Whether the epoll descriptor becomes readable, waiting at most so long.
    private func isReadable(_ shim: Shim, milliseconds: Int32 = 0) -> Bool {
        var poller = pollfd(fd: ce_descriptor(shim.reactor), events: Int16(POLLIN), revents: 0)
        return poll(&poller, 1, milliseconds) == 1
    }

    @Test func `the descriptor is readable once the deadline has come`() throws {
        try withTimer { shim in
            #expect(!isReadable(shim))
            let deadline = ce_now(shim.reactor) + 2_000_000
            #expect(ce_timer_set(shim.reactor, deadline) == 0)
            #expect(isReadable(shim, milliseconds: 5_000))
            #expect(ce_now(shim.reactor) >= deadline)
        }
    }

    @Test func `a deadline in the past makes it readable at once, until it is fetched`() throws {
        try withTimer { shim in
            for deadline in [0, 1, ce_now(shim.reactor)] {
                #expect(ce_timer_set(shim.reactor, deadline) == 0)
                #expect(isReadable(shim, milliseconds: 5_000))
                try #expect(shim.wait(nanoseconds: 0).isEmpty)
                #expect(!isReadable(shim))
            }
        }
    }

    @Test func `the timer ends a wait that would last for ever`() throws {
        try withTimer { shim in
            #expect(ce_timer_set(shim.reactor, ce_now(shim.reactor) + 1_000_000) == 0)
            try #expect(shim.wait(nanoseconds: -1).isEmpty)
        }
    }

    @Test func `setting it to never forgets an end that nobody has fetched`() throws {
        try withTimer { shim in
            #expect(ce_timer_set(shim.reactor, 1) == 0)
            #expect(isReadable(shim, milliseconds: 5_000))
            #expect(ce_timer_set(shim.reactor, .max) == 0)
            #expect(!isReadable(shim))
        }
    }

    @Test func `after the timer's end a wake-up still comes through`() throws {
        try withTimer { shim in
            for _ in 0..<100 {
                #expect(ce_timer_set(shim.reactor, 1) == 0)
                #expect(ce_wake(shim.reactor) == 0)
                #expect(isReadable(shim, milliseconds: 5_000))
                while isReadable(shim) { try #expect(shim.wait(nanoseconds: 0).isEmpty) }
                #expect(ce_wake(shim.reactor) == 0)
                #expect(isReadable(shim, milliseconds: 5_000))
                try #expect(shim.wait(nanoseconds: 0).isEmpty)
            }
        }
    }

    @Test func `it is close-on-exec and nonblocking, and there is one`() throws {
        try withShim { shim in
            let before = cf_ledger(shim.faults).opened
            #expect(ce_timer_set(shim.reactor, 1) == -EBADF)
            #expect(ce_timer_open(shim.reactor, nil) == 0)
            #expect(ce_timer_open(shim.reactor, nil) == -EEXIST)
            #expect(cf_ledger(shim.faults).opened == before + 1)
            let isTimer = { (fd: Int32) in
                var path = [CChar](repeating: 0, count: 64)
                let count = readlink("/proc/self/fd/\(fd)", &path, 64)
                return path.prefix(max(0, count)).map(UInt8.init(bitPattern:))
                    == Array("anon_inode:[timerfd]".utf8)
            }
            let timers = (0..<1_024 as Range<Int32>).filter(isTimer)
            #expect(timers.contains { fcntl($0, F_GETFD) & FD_CLOEXEC != 0 })
            #expect(timers.contains { fcntl($0, F_GETFL) & O_NONBLOCK != 0 })
        }
    }

    @Test func `each call of ce_timer_open may fail and nothing stays open`() throws {
        try withShim { shim in
            for call in [CF_TIMERFD_CREATE, CF_EPOLL_CTL] {
                var name: UnsafePointer<CChar>?
                cf_fail(shim.faults, call, 1, ENOMEM, 1)
                #expect(ce_timer_open(shim.reactor, &name) == -ENOMEM)
                #expect(name.map { String(cString: $0) } == String(cString: cf_name(call)))
                #expect(cf_ledger(shim.faults).open == 2)
            }
            #expect(ce_timer_open(shim.reactor, nil) == 0)
        }
    }
}
