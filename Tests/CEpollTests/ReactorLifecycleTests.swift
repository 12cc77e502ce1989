// Creating and closing a reactor, and what its descriptors are like.

import CEpoll
import CFaults
import Glibc
import Testing

@Suite struct ReactorLifecycleTests {
    @Test func `creating and closing a reactor leaves no descriptor open`() throws {
        for _ in 0..<100 {
            try withShim { shim in
                #expect(cf_ledger(shim.faults).open == 2)
            }
        }
    }

    @Test func `a reactor on the kernel's own table works`() throws {
        var reactor: OpaquePointer?
        #expect(ce_reactor_create(&reactor, nil, nil) == 0)
        defer { ce_reactor_close(reactor) }
        var event = ce_event()
        #expect(ce_wake(reactor) == 0)
        #expect(ce_wait(reactor, &event, 1, 5_000_000_000) == 0)
    }

    @Test func `closing no reactor does nothing`() {
        ce_reactor_close(nil)
    }

    @Test func `each call of ce_reactor_create may fail and everything is closed again`() {
        for n in 1...10 as ClosedRange<UInt64> {
            let faults = cf_create()
            defer { cf_free(faults) }
            var table = cf_table(faults)
            var reactor: OpaquePointer?
            cf_fail(faults, CF_ANY, n, EMFILE, 1)
            let result = ce_reactor_create(&reactor, &table, nil)
            if cf_counts(faults, CF_ANY).injected == 0 {
                #expect(result == 0)
                #expect(n == 4, "epoll_create1, eventfd and epoll_ctl are the calls")
                ce_reactor_close(reactor)
                return
            }
            #expect(result == -EMFILE)
            #expect(reactor == nil)
            #expect(cf_ledger(faults).open == 0)
        }
        Issue.record("the sweep found no end")
    }

    @Test func `the call table is copied`() throws {
        let faults = cf_create()
        defer { cf_free(faults) }
        var table = cf_table(faults)
        var reactor: OpaquePointer?
        #expect(ce_reactor_create(&reactor, &table, nil) == 0)
        table = ce_system()
        #expect(ce_now(reactor) > 0)
        ce_reactor_close(reactor)
        #expect(cf_ledger(faults).open == 0)
    }

    @Test func `every descriptor is close-on-exec and nonblocking from birth`() throws {
        try withShim { shim in
            let listener = try shim.listen()
            let client = try shim.connect(to: shim.localAddress(of: listener))
            let server = try shim.accept(from: listener)
            let epoll = ce_descriptor(shim.reactor)
            let wake = try wakeDescriptor(of: epoll)
            for fd in [epoll, wake, listener, client, server] {
                #expect(fcntl(fd, F_GETFD) & FD_CLOEXEC != 0)
            }
            for fd in [wake, listener, client, server] {
                #expect(fcntl(fd, F_GETFL) & O_NONBLOCK != 0)
            }
            shim.close(client, server, listener)
        }
    }

    @Test func `the reserved token is refused`() throws {
        try withShim { shim in
            let (client, server) = try shim.makePair()
            #expect(ce_add(shim.reactor, client, want.in, .max) == -EINVAL)
            try shim.add(client, want.in, token: .max - 1)
            #expect(ce_modify(shim.reactor, client, want.in, .max) == -EINVAL)
            shim.close(client, server)
        }
    }

    @Test func `the coarse clock follows the exact one and is not ahead of it`() throws {
        try withShim { shim in
            let coarse = ce_now_coarse(shim.reactor)
            let exact = ce_now(shim.reactor)
            #expect(coarse <= exact)
            // A tick is 10 ms at most; the rest is for a machine that stops in between.
            #expect(exact - coarse < 5_000_000_000)
        }
    }

    /// The one descriptor registered in a fresh reactor, from `/proc/self/fdinfo`, proc(5).
    private func wakeDescriptor(of epoll: Int32) throws -> Int32 {
        let file = try #require(fopen("/proc/self/fdinfo/\(epoll)", "re"))
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 256)
        while fgets(&line, Int32(line.count), file) != nil {
            let words = line.prefix { $0 != 0 }.map { Character(Unicode.Scalar(UInt8($0))) }
                .split { $0 == " " || $0 == "\n" }.map { String($0) }
            if words.first == "tfd:" { return try #require(Int32(words[1])) }
        }
        throw Failure(errno: ENOENT, call: "no tfd line")
    }
}
