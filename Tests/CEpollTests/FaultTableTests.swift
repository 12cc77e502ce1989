// The fault table itself: a test that relies on it must be able to rely on it.

import CEpoll
import CFaults
import Glibc
import Testing

@Suite struct FaultTableTests {
    @Test func `calls and bytes are counted by kind`() throws {
        try withShim { shim in
            let (client, server) = try shim.makePair()
            cf_reset_counts(shim.faults)
            try #expect(shim.send([1, 2, 3], to: client) == 3)
            try #expect(shim.receive(from: server) == [1, 2, 3])
            #expect(shim.counts(CF_SENDMSG).calls == 1 && shim.counts(CF_SENDMSG).bytes == 3)
            #expect(shim.counts(CF_RECV).bytes == 3)
            #expect(shim.counts(CF_SOCKET).calls == 0)
            #expect(shim.counts(CF_ANY).bytes == 6)
            shim.close(client, server)
        }
    }

    @Test func `the named calls fail and no others`() throws {
        try withShim { shim in
            let (client, server) = try shim.makePair()
            cf_fail(shim.faults, CF_SENDMSG, 2, ENOBUFS, 2)
            let results = (0..<5).map { _ in (try? shim.send([1], to: client)) ?? -1 }
            #expect(results == [1, -1, -1, 1, 1])
            let counts = shim.counts(CF_SENDMSG)
            #expect(counts.injected == 2 && counts.failed == 2 && counts.calls == 5)
            shim.close(client, server)
        }
    }

    @Test func `a failing close closes`() throws {
        try withShim { shim in
            let (client, server) = try shim.makePair()
            cf_fail(shim.faults, CF_CLOSE, 1, EIO, 1)
            #expect(ce_close(shim.reactor, client) == -EIO)
            try #expect(shim.receive(from: server) == [])
            shim.close(server)
        }
    }

    @Test func `the same seed makes the same choices`() throws {
        func run(seed: UInt64) throws -> [Int] {
            var lengths: [Int] = []
            try withShim { shim in
                let (client, server) = try shim.makePair()
                shim.setQuirks {
                    $0.seed = seed
                    $0.short_write_odds = 500
                    $0.would_block_odds = 300
                }
                let bytes = [UInt8](repeating: 1, count: 9)
                for _ in 0..<50 { lengths.append((try? shim.send(bytes, to: client)) ?? 0) }
                shim.close(client, server)
            }
            return lengths
        }
        try #expect(run(seed: 7) == run(seed: 7))
        try #expect(run(seed: 7) != run(seed: 8))
    }

    // MARK: Readiness after a refusal

    @Test func `EAGAIN first is said once and the readiness is reported again`() throws {
        try withShim { shim in
            let (client, server) = try shim.makePair()
            try shim.add(server, want.all, token: 4)
            try #expect(shim.send([1], to: client) == 1)
            while try !shim.waitForEvents().contains(where: { $0.has(CE_IN) }) {}
            shim.setQuirks { $0.would_block_every = 1 }
            var byte: UInt8 = 0
            for value in [2, 3] as [UInt8] {
                #expect(ce_receive(shim.reactor, server, &byte, 1) == Int(-EAGAIN))
                try #expect(shim.waitForEvents() == [Event(token: 4, ready: CE_IN.rawValue)])
                try #expect(shim.wait(nanoseconds: 0).isEmpty)
                #expect(ce_receive(shim.reactor, server, &byte, 1) == 1)
                shim.setQuirks { _ in }
                try #expect(shim.send([value], to: client) == 1)
                try #expect(!shim.waitForEvents().isEmpty)
                shim.setQuirks { $0.would_block_every = 1 }
            }
            shim.close(client, server)
        }
    }

    @Test func `after a short write or read the readiness is reported again`() throws {
        try withShim { shim in
            let (client, server) = try shim.makePair()
            try shim.add(client, want.out | want.edge, token: 1)
            try shim.add(server, want.in | want.edge, token: 2)
            try #expect(shim.waitForEvents() == [Event(token: 1, ready: CE_OUT.rawValue)])
            shim.setQuirks {
                $0.write_bytes_max = 2
                $0.read_bytes_max = 1
            }
            try #expect(shim.send([1, 2, 3], to: client) == 2)
            try #expect(Set(shim.waitForEvents().map(\.token)) == [1, 2])
            try #expect(shim.wait(nanoseconds: 0).isEmpty)
            try #expect(shim.receive(from: server, upTo: 9) == [1])
            try #expect(shim.waitForEvents() == [Event(token: 2, ready: CE_IN.rawValue)])
            shim.close(client, server)
        }
    }

    @Test func `an owed readiness waits for room and for interest`() throws {
        try withShim { shim in
            let (client, server) = try shim.makePair()
            for (fd, token) in [(client, 1), (server, 2)] as [(Int32, UInt64)] {
                try shim.add(fd, want.out | want.edge, token: token)
            }
            while try !shim.wait(nanoseconds: 0).isEmpty {}
            cf_fail(shim.faults, CF_SENDMSG, 1, EAGAIN, 2)
            for fd in [client, server] {
                #expect(throws: Failure.self) { try shim.send([1], to: fd) }
            }
            #expect(ce_modify(shim.reactor, server, want.in | want.edge, 2) == 0)
            try #expect(shim.waitForEvents().map(\.token) == [1])
            try #expect(shim.wait(nanoseconds: 0).isEmpty)
            #expect(ce_modify(shim.reactor, server, want.out | want.edge, 2) == 0)
            try #expect(shim.waitForEvents().map(\.token) == [2])
            shim.close(client, server)
        }
    }

    @Test func `spurious readiness comes every k-th wait and only as asked for`() throws {
        try withShim { shim in
            let (client, server) = try shim.makePair()
            try shim.add(server, want.in | want.edge, token: 3)
            shim.setQuirks { $0.spurious_every = 2 }
            let seen = try (0..<10).map { _ in try shim.wait(nanoseconds: 0) }
            #expect(seen.filter { $0 == [Event(token: 3, ready: CE_IN.rawValue)] }.count == 5)
            #expect(seen.filter(\.isEmpty).count == 5)
            shim.close(client, server)
        }
    }

    /// An edge-triggered copy through every quirk at once: it ends only if no readiness is lost.
    @Test(arguments: 1...8 as ClosedRange<UInt64>) func `a copy through all quirks arrives whole`(
        seed: UInt64
    ) throws {
        try withShim { shim in
            let (client, server) = try shim.makePair()
            try shim.add(client, want.all, token: 1)
            try shim.add(server, want.all, token: 2)
            shim.setQuirks {
                $0.seed = seed
                $0.would_block_odds = 200
                $0.interrupt_odds = 100
                $0.short_read_odds = 300
                $0.short_write_odds = 300
                $0.spurious_odds = 100
                $0.would_block_every = seed % 2 == 0 ? 1 : 0
            }
            let bytes = (0..<20_000).map { UInt8(truncatingIfNeeded: $0 / 7) }
            var (sent, received) = (0, [UInt8]())
            while received.count < bytes.count {
                for event in try shim.waitForEvents() {
                    if event.token == 1 && event.has(CE_OUT) {
                        // Until it is refused.
                        while sent < bytes.count {
                            let piece = Array(bytes[sent...].prefix(997))
                            guard let count = try? shim.send(piece, to: client) else { break }
                            sent += count
                        }
                    }
                    if event.token == 2 && event.has(CE_IN) {
                        try receiveUntilShort(shim, server, &received)
                    }
                }
            }
            #expect(received == bytes)
            shim.close(client, server)
        }
    }

    /// As a transport reads: a short read means drained.
    private func receiveUntilShort(
        _ shim: Shim, _ fd: Int32, _ received: inout [UInt8]
    ) throws {
        var buffer = [UInt8](repeating: 0, count: 512)
        while true {
            let count = ce_receive(shim.reactor, fd, &buffer, buffer.count)
            if count == Int(-EAGAIN) { return }
            received += buffer.prefix(try check(count))
            if count < buffer.count { return }
        }
    }

    // MARK: Clock and ledger

    @Test func `with a virtual clock a wait moves the time and does not sleep`() throws {
        try withShim { shim in
            cf_set_clock(shim.faults, 1_000)
            let hour: Int64 = 3_600_000_000_000
            try #expect(shim.wait(nanoseconds: hour).isEmpty)
            #expect(ce_now(shim.reactor) == UInt64(hour) + 1_000)
            try #expect(shim.wait(nanoseconds: 1_500).isEmpty)
            cf_advance(shim.faults, 500)
            #expect(ce_now_coarse(shim.reactor) == UInt64(hour) + 3_000)
        }
    }

    @Test func `with a virtual clock what is ready comes before the time moves`() throws {
        try withShim { shim in
            cf_set_clock(shim.faults, 0)
            let (client, server) = try shim.makePair()
            try shim.add(client, want.out, token: 1)
            try #expect(shim.wait(nanoseconds: 1_000_000).count == 1)
            #expect(ce_now(shim.reactor) == 0)
            shim.close(client, server)
        }
    }

    /// The descriptor has a high number, which nobody else in the process gets meanwhile.
    @Test func `the ledger sees a second close and a use after it`() throws {
        let shim = try Shim()
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        let fd = try check(fcntl(0, F_DUPFD_CLOEXEC, Int32(clamping: limit.rlim_cur) - 10))
        cf_adopt(shim.faults, fd)
        #expect(ce_close(shim.reactor, fd) == 0)
        #expect(cf_ledger(shim.faults).double_closes == 0)
        #expect(ce_close(shim.reactor, fd) == -EBADF)
        #expect(ce_finish(shim.reactor, fd) == -EBADF)
        #expect(cf_ledger(shim.faults).double_closes == 1)
        #expect(cf_ledger(shim.faults).bad_descriptors == 2)
        ce_reactor_close(shim.reactor)
    }

    @Test func `the ledger sees a forgotten descriptor`() throws {
        let shim = try Shim()
        let (client, server) = try shim.makePair()
        shim.close(client)
        #expect(cf_ledger(shim.faults).open == 3, "the reactor's two and the server")
        shim.close(server)
        ce_reactor_close(shim.reactor)
        let ledger = cf_ledger(shim.faults)
        #expect(ledger.open == 0 && ledger.opened == ledger.closed)
    }

    @Test func `a foreign descriptor may be adopted and an own one released`() throws {
        try withShim { shim in
            let (client, server) = try shim.makePair()
            cf_release(shim.faults, client)
            #expect(cf_ledger(shim.faults).open == 3)
            Glibc.close(client)
            cf_adopt(shim.faults, server)
            #expect(cf_ledger(shim.faults).open == 2)
            shim.close(server)
        }
    }
}
