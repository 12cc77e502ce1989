// Signals as descriptors. A disposition is the process's: each test has a number of its own, of the
// real-time signals, which no other part of the process uses.

import CEpoll
import CFaults
import Glibc
import Synchronization
import Testing

@Suite struct SignalTests {
    @Test func `1,000 signals are counted and make the descriptor readable`() throws {
        try withSignalShim { shim in
            let number: Int32 = 40
            let watch = try check(ce_signal_open(shim.reactor, number))
            try shim.add(watch, want.in | want.edge, token: 1)
            #expect(ce_signal_read(shim.reactor, watch) == 0)
            for _ in 0..<1_000 { raise(number) }
            try #expect(shim.waitForEvents() == [Event(token: 1, ready: CE_IN.rawValue)])
            #expect(ce_signal_read(shim.reactor, watch) == 1_000)
            #expect(ce_signal_read(shim.reactor, watch) == 0)
            #expect(ce_remove(shim.reactor, watch) == 0)
            #expect(ce_signal_close(shim.reactor, number, watch) == 0)
        }
    }

    @Test func `the descriptor is close-on-exec and nonblocking`() throws {
        try withSignalShim { shim in
            let watch = try check(ce_signal_open(shim.reactor, 41))
            #expect(fcntl(watch, F_GETFD) & FD_CLOEXEC != 0)
            #expect(fcntl(watch, F_GETFL) & O_NONBLOCK != 0)
            #expect(ce_signal_close(shim.reactor, 41, watch) == 0)
        }
    }

    @Test func `two watchers see every signal and a closed one no more`() throws {
        try withSignalShim { shim in
            try withShim { other in
                let number: Int32 = 42
                let first = try check(ce_signal_open(shim.reactor, number))
                let second = try check(ce_signal_open(other.reactor, number))
                for _ in 0..<3 { raise(number) }
                #expect(ce_signal_read(shim.reactor, first) == 3)
                #expect(ce_signal_close(shim.reactor, number, first) == 0)
                raise(number)
                #expect(ce_signal_read(other.reactor, second) == 4)
                #expect(ce_signal_close(other.reactor, number, second) == 0)
            }
        }
    }

    @Test func `the ninth watcher is refused until one is closed`() throws {
        try withSignalShim { shim in
            let number: Int32 = 43
            var watches = try (0..<8).map { _ in try check(ce_signal_open(shim.reactor, number)) }
            #expect(ce_signal_open(shim.reactor, number) == -EUSERS)
            #expect(ce_signal_close(shim.reactor, number, watches.removeFirst()) == 0)
            watches.append(try check(ce_signal_open(shim.reactor, number)))
            raise(number)
            for watch in watches {
                #expect(ce_signal_read(shim.reactor, watch) == 1)
                #expect(ce_signal_close(shim.reactor, number, watch) == 0)
            }
        }
    }

    @Test func `numbers that cannot be watched and watches that are none are refused`() throws {
        try withSignalShim { shim in
            for number in [0, -1, 65, 1_000, SIGKILL, SIGSTOP, SIGSEGV, SIGBUS, SIGFPE, SIGILL] {
                #expect(ce_signal_open(shim.reactor, number) == -EINVAL)
            }
            let watch = try check(ce_signal_open(shim.reactor, 44))
            #expect(ce_signal_close(shim.reactor, 45, watch) == -ENOENT)
            #expect(ce_signal_close(shim.reactor, 44, watch + 1_000) == -ENOENT)
            for number in [-1, 0, 65] as [Int32] {
                #expect(ce_signal_close(shim.reactor, number, watch) == -ENOENT)
            }
            #expect(ce_signal_close(shim.reactor, 44, -1) == -ENOENT)
            #expect(ce_signal_close(shim.reactor, 44, watch) == 0)
        }
    }

    // MARK: Disposition

    @Test func `the disposition from before comes back with the last watcher`() throws {
        try withSignalShim { shim in
            let number: Int32 = 46
            signal(number, SIG_IGN)
            for _ in 0..<2 {
                let first = try check(ce_signal_open(shim.reactor, number))
                let second = try check(ce_signal_open(shim.reactor, number))
                #expect(ce_signal_close(shim.reactor, number, first) == 0)
                #expect(disposition(of: number) > 1, "a function, neither default nor ignored")
                #expect(ce_signal_close(shim.reactor, number, second) == 0)
                #expect(disposition(of: number) == 1, "SIG_IGN")
            }
            raise(number)
        }
    }

    @Test func `a disposition that somebody else set meanwhile stays`() throws {
        try withSignalShim { shim in
            let number: Int32 = 47
            let watch = try check(ce_signal_open(shim.reactor, number))
            signal(number, SIG_IGN)
            #expect(ce_signal_close(shim.reactor, number, watch) == 0)
            #expect(disposition(of: number) == 1, "not the SIG_DFL from before")
        }
    }

    @Test(arguments: [CF_EVENTFD, CF_SIGACTION].map(\.rawValue))
    func `a failing open leaves no descriptor and no handler`(call: UInt32) throws {
        try withSignalShim { shim in
            let number = call == CF_EVENTFD.rawValue ? 48 : 49 as Int32
            let before = cf_ledger(shim.faults).open
            cf_fail(shim.faults, cf_call(call), 1, EMFILE, 1)
            #expect(ce_signal_open(shim.reactor, number) == -EMFILE)
            #expect(cf_ledger(shim.faults).open == before)
            #expect(disposition(of: number) == 0, "SIG_DFL")
        }
    }

    @Test(arguments: [1, 2] as [UInt64])
    func `a failing close ends the watch and the next one puts things right`(n: UInt64) throws {
        try withSignalShim { shim in
            let number = 49 + Int32(n)
            let watch = try check(ce_signal_open(shim.reactor, number))
            cf_fail(shim.faults, CF_SIGACTION, n, EAGAIN, 1)
            #expect(ce_signal_close(shim.reactor, number, watch) == -EAGAIN)
            #expect(ce_signal_close(shim.reactor, number, watch) == -ENOENT)
            raise(number)
            let next = try check(ce_signal_open(shim.reactor, number))
            raise(number)
            #expect(ce_signal_read(shim.reactor, next) == 1)
            #expect(ce_signal_close(shim.reactor, number, next) == 0)
            #expect(disposition(of: number) == 0, "SIG_DFL")
        }
    }

    // MARK: The handler

    /// The counter is as full as it gets, so that the handler's write fails.
    @Test func `the handler leaves errno as it was`() throws {
        try withSignalShim { shim in
            let number: Int32 = 52
            let watch = try check(ce_signal_open(shim.reactor, number))
            var full = UInt64.max - 1
            #expect(Glibc.write(watch, &full, 8) == 8)
            errno = ENOTDIR
            raise(number)
            let after = errno
            #expect(after == ENOTDIR)
            #expect(ce_signal_read(shim.reactor, watch) == .max, "all that fits")
            #expect(ce_signal_close(shim.reactor, number, watch) == 0)
        }
    }

    @Test func `a blocked read of another thread goes on after a signal`() throws {
        try withSignalShim { shim in
            let number: Int32 = 53
            let watch = try check(ce_signal_open(shim.reactor, number))
            var made: [Int32] = [-1, -1]
            try #require(pipe(&made) == 0)
            let ends = made
            let result = Mutex(0)
            let reader = TestThread {
                var byte: UInt8 = 0
                let count = Glibc.read(ends[0], &byte, 1)
                result.withLock { $0 = count }
            }
            for _ in 0..<20 {
                reader.send(number)
                _ = try shim.retrying {
                    ce_signal_read(shim.reactor, watch) == 0 ? Int(-EAGAIN) : 0
                }
            }
            #expect(Glibc.write(ends[1], "x", 1) == 1)
            reader.join()
            #expect(result.withLock { $0 } == 1)
            for end in ends { Glibc.close(end) }
            #expect(ce_signal_close(shim.reactor, number, watch) == 0)
        }
    }

    /// Watches come and go while four threads raise; the one that stays must miss nothing, and a
    /// number that was a watch must get no byte in its next life.
    @Test func `watches may end while signals arrive on other threads`() throws {
        try withSignalShim { shim in
            let number: Int32 = 54
            let lasting = try check(ce_signal_open(shim.reactor, number))
            let threads = (0..<4).map { _ in
                TestThread { for _ in 0..<2_500 { raise(number) } }
            }
            for _ in 0..<300 {
                let watch = try check(ce_signal_open(shim.reactor, number))
                #expect(ce_signal_close(shim.reactor, number, watch) == 0)
                let next = try shim.makePair(on: uniqueUnix(abstract: true))
                var byte: UInt8 = 0
                for end in [next.client, next.server] {
                    #expect(ce_receive(shim.reactor, end, &byte, 1) == Int(-EAGAIN))
                }
                shim.close(next.client, next.server)
            }
            for thread in threads { thread.join() }
            #expect(ce_signal_read(shim.reactor, lasting) == 10_000)
            #expect(ce_signal_close(shim.reactor, number, lasting) == 0)
        }
    }

    @Test func `reactors of several threads may watch the same signal`() throws {
        try withSignalShim { shim in
            let number: Int32 = 55
            let watch = try check(ce_signal_open(shim.reactor, number))
            let missed = Mutex(0)
            let others = try (0..<7).map { _ in try Shim() }
            let threads = others.map { other in
                TestThread {
                    for _ in 0..<100 {
                        let watch = ce_signal_open(other.reactor, number)
                        raise(number)
                        let seen = ce_signal_read(other.reactor, watch) > 0
                        let closed = ce_signal_close(other.reactor, number, watch) == 0
                        if !seen || !closed { missed.withLock { $0 += 1 } }
                    }
                    ce_reactor_close(other.reactor)
                }
            }
            for thread in threads { thread.join() }
            #expect(missed.withLock { $0 } == 0)
            for other in others { #expect(cf_ledger(other.faults).open == 0) }
            #expect(ce_signal_read(shim.reactor, watch) == 700)
            #expect(ce_signal_close(shim.reactor, number, watch) == 0)
            #expect(disposition(of: number) == 0, "SIG_DFL")
        }
    }

    /// `withShim` on a thread that signals reach.
    private func withSignalShim(_ body: (Shim) throws -> Void) throws {
        try withSignals { try withShim(body) }
    }
}

/// The handler's address; 0 is SIG_DFL, 1 is SIG_IGN.
private func disposition(of number: Int32) -> Int {
    var action = sigaction()
    sigaction(number, nil, &action)
    return withUnsafeBytes(of: &action.__sigaction_handler) { $0.load(as: Int.self) }
}
