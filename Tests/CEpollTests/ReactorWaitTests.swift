// What ce_wait reports, and when it returns.

import CEpoll
import CFaults
import Glibc
import Testing

@Suite struct ReactorWaitTests {
    @Test func `tokens come back as they were given`() throws {
        try withShim { shim in
            let (client, server) = try shim.makePair()
            let tokens: [UInt64] = [0, 1, 1 << 63 | 7, .max - 1]
            for token in tokens {
                try shim.add(client, want.out, token: token)
                try #expect(shim.waitForEvents() == [Event(token: token, ready: CE_OUT.rawValue)])
                #expect(ce_remove(shim.reactor, client) == 0)
            }
            shim.close(client, server)
        }
    }

    @Test func `level-triggered readiness is reported until it is used`() throws {
        try withShim { shim in
            let (client, server) = try shim.makePair()
            try shim.add(server, want.in, token: 5)
            try #expect(shim.send([1], to: client) == 1)
            try #expect(shim.waitForEvents() == [Event(token: 5, ready: CE_IN.rawValue)])
            try #expect(shim.waitForEvents() == [Event(token: 5, ready: CE_IN.rawValue)])
            try #expect(shim.receive(from: server) == [1])
            try #expect(shim.wait(nanoseconds: 0).isEmpty)
            shim.close(client, server)
        }
    }

    @Test func `edge-triggered readiness is reported once`() throws {
        try withShim { shim in
            let (client, server) = try shim.makePair()
            try shim.add(server, want.in | want.edge, token: 5)
            try #expect(shim.send([1], to: client) == 1)
            try #expect(shim.waitForEvents() == [Event(token: 5, ready: CE_IN.rawValue)])
            try #expect(shim.wait(nanoseconds: 0).isEmpty)
            try #expect(shim.send([2], to: client) == 1)
            try #expect(shim.waitForEvents() == [Event(token: 5, ready: CE_IN.rawValue)])
            shim.close(client, server)
        }
    }

    @Test func `a modified registration has its new interest and token`() throws {
        try withShim { shim in
            let (client, server) = try shim.makePair()
            try shim.add(client, want.in, token: 1)
            try #expect(shim.wait(nanoseconds: 0).isEmpty)
            #expect(ce_modify(shim.reactor, client, want.out, 2) == 0)
            try #expect(shim.waitForEvents() == [Event(token: 2, ready: CE_OUT.rawValue)])
            shim.close(client, server)
        }
    }

    @Test func `a removed descriptor is not reported`() throws {
        try withShim { shim in
            let (client, server) = try shim.makePair()
            try shim.add(client, want.out, token: 1)
            #expect(ce_remove(shim.reactor, client) == 0)
            try #expect(shim.wait(nanoseconds: 0).isEmpty)
            shim.close(client, server)
        }
    }

    @Test func `adding twice and removing what is not there are errors`() throws {
        try withShim { shim in
            let (client, server) = try shim.makePair()
            try shim.add(client, want.out, token: 1)
            #expect(ce_add(shim.reactor, client, want.out, 1) == -EEXIST)
            #expect(ce_remove(shim.reactor, server) == -ENOENT)
            #expect(ce_modify(shim.reactor, server, want.out, 1) == -ENOENT)
            shim.close(client, server)
        }
    }

    @Test func `the peer's end of stream is a hang-up`() throws {
        try withShim { shim in
            let (client, server) = try shim.makePair()
            #expect(ce_finish(shim.reactor, client) == 0)
            try shim.add(server, want.in, token: 9)
            let event = try #require(try shim.waitForEvents().first)
            #expect(event.has(CE_HANG_UP) && event.has(CE_IN) && !event.has(CE_ERROR))
            shim.close(client, server)
        }
    }

    @Test func `without interest the peer's end of stream is not reported`() throws {
        try withShim { shim in
            let (client, server) = try shim.makePair()
            try shim.add(server, 0, token: 9)
            #expect(ce_finish(shim.reactor, client) == 0)
            try #expect(shim.send([1], to: server) == 1)
            try #expect(shim.receive(from: client) == [1])
            try #expect(shim.wait(nanoseconds: 0).isEmpty)
            shim.close(client, server)
        }
    }

    @Test func `a reset is an error and a hang-up`() throws {
        try withShim { shim in
            let (client, server) = try shim.makePair()
            try shim.add(server, want.in, token: 9)
            #expect(ce_close_reset(shim.reactor, client) == 0)
            let event = try #require(try shim.waitForEvents().first)
            #expect(event.has(CE_HANG_UP) && event.has(CE_ERROR))
            #expect(ce_socket_error(shim.reactor, server) == ECONNRESET)
            shim.close(server)
        }
    }

    @Test func `no more events are stored than there is room for and none is lost`() throws {
        try withShim { shim in
            let (client, server) = try shim.makePair()
            try shim.add(client, want.out | want.edge, token: 1)
            try shim.add(server, want.out | want.edge, token: 2)
            let first = try shim.wait(nanoseconds: 5_000_000_000, capacity: 1)
            let second = try shim.wait(nanoseconds: 5_000_000_000, capacity: 1)
            #expect(first.count == 1 && second.count == 1)
            #expect(Set((first + second).map(\.token)) == [1, 2])
            shim.close(client, server)
        }
    }

    @Test func `a wait without room is refused`() throws {
        try withShim { shim in
            #expect(ce_wait(shim.reactor, nil, 0, 0) == -EINVAL)
            #expect(ce_wait(shim.reactor, nil, -1, 0) == -EINVAL)
        }
    }

    @Test func `a wait asks the kernel for at most 256 events`() throws {
        let asked = try kernelWait(nanoseconds: 0, capacity: 100_000)
        #expect(CE_EVENTS_MAX == 256 && asked.capacity == 256)
    }

    @Test func `an interrupted wait returns no events`() throws {
        try withShim { shim in
            cf_fail(shim.faults, CF_EPOLL_WAIT, 1, EINTR, 1)
            try #expect(shim.wait(nanoseconds: 5_000_000_000).isEmpty)
            cf_fail(shim.faults, CF_EPOLL_PWAIT2, 1, EINTR, 1)
            try #expect(shim.wait(nanoseconds: 5_000_000_001).isEmpty)
        }
    }

    @Test func `the reactor's descriptor polls readable when something is ready`() throws {
        try withShim { shim in
            var entry = pollfd(fd: ce_descriptor(shim.reactor), events: Int16(POLLIN), revents: 0)
            #expect(poll(&entry, 1, 0) == 0)
            #expect(ce_wake(shim.reactor) == 0)
            #expect(poll(&entry, 1, 0) == 1)
            try #expect(shim.wait(nanoseconds: 0).isEmpty)
            #expect(poll(&entry, 1, 0) == 0)
        }
    }

    // MARK: Timeouts

    static let timeouts: [Int64] = [
        1, 1_000, 100_000, 300_000, 999_999, 1_000_000, 1_000_001, 1_500_000, 2_000_000, 3_700_000,
    ]

    @Test(arguments: timeouts) func `a wait never ends early`(timeout: Int64) throws {
        try withShim { shim in
            let start = ce_now(shim.reactor)
            try #expect(shim.wait(nanoseconds: timeout).isEmpty)
            #expect(ce_now(shim.reactor) - start >= UInt64(timeout))
        }
    }

    @Test(arguments: timeouts, [ENOSYS, EPERM])
    func `without epoll_pwait2 a wait never ends early either`(timeout: Int64, error: Int32) throws
    {
        try withShim { shim in
            cf_fail(shim.faults, CF_EPOLL_PWAIT2, 1, error, .max)
            let start = ce_now(shim.reactor)
            try #expect(shim.wait(nanoseconds: timeout).isEmpty)
            #expect(ce_now(shim.reactor) - start >= UInt64(timeout))
        }
    }

    @Test func `a missing epoll_pwait2 is asked for once`() throws {
        try withShim { shim in
            cf_fail(shim.faults, CF_EPOLL_PWAIT2, 1, ENOSYS, .max)
            for _ in 0..<5 { try #expect(shim.wait(nanoseconds: 1_500).isEmpty) }
            #expect(shim.counts(CF_EPOLL_PWAIT2).calls == 1)
            #expect(shim.counts(CF_EPOLL_WAIT).calls == 5)
        }
    }

    @Test func `epoll_pwait2 is called for parts of milliseconds only`() throws {
        try withShim { shim in
            #expect(ce_wake(shim.reactor) == 0)
            for timeout in [-1, 0, 2_000_000] as [Int64] {
                try #expect(shim.wait(nanoseconds: timeout).isEmpty)
            }
            #expect(shim.counts(CF_EPOLL_PWAIT2).calls == 0)
            try #expect(shim.wait(nanoseconds: 2_000_100).isEmpty)
            #expect(shim.counts(CF_EPOLL_PWAIT2).calls == 1)
            #expect(shim.counts(CF_EPOLL_WAIT).calls == 3)
        }
    }

    static let ranges: [(nanoseconds: Int64, milliseconds: Int32)] = [
        (-1, -1), (.min, -1), (0, 0), (1_000_000, 1), (2_147_483_647_000_000, .max),
        (2_147_483_648_000_000, .max), (.max / 1_000_000 * 1_000_000, .max),
    ]

    @Test(arguments: ranges) func `a timeout fits epoll_wait's range`(
        nanoseconds: Int64, milliseconds: Int32
    ) throws {
        try #expect(kernelWait(nanoseconds: nanoseconds, capacity: 1).timeout == milliseconds)
    }

    /// What ce_wait gives to epoll_wait.
    private func kernelWait(
        nanoseconds: Int64, capacity: Int
    ) throws -> (capacity: Int32, timeout: Int32) {
        var asked: (capacity: Int32, timeout: Int32) = (0, 0)
        try withUnsafeMutableBytes(of: &asked) { bytes in
            // The kernel's own functions ignore the state, so it is free for a note.
            var table = ce_system_kernel().pointee
            table.state = bytes.baseAddress
            table.epoll_wait = { state, _, _, capacity, timeout in
                state?.storeBytes(of: (capacity, timeout), as: (Int32, Int32).self)
                return 0
            }
            var reactor: OpaquePointer?
            _ = try check(ce_reactor_create(&reactor, &table, nil))
            var events = [ce_event](repeating: ce_event(), count: capacity)
            #expect(ce_wait(reactor, &events, Int32(capacity), nanoseconds) == 0)
            ce_reactor_close(reactor)
        }
        return asked
    }
}
