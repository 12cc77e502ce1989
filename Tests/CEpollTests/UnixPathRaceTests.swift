// Unix sockets with a path: several starters, removing the file, and failing calls.

import CEpoll
import CFaults
import Glibc
import Synchronization
import Testing

@Suite struct UnixPathRaceTests {
    // MARK: Several starters

    /// They all begin while the directory is locked by somebody else.
    @Test(arguments: [false, true]) func `of 50 concurrent starters exactly one wins`(
        stale: Bool
    ) throws {
        try withPlace { place in
            try withShim { other in
                if stale { try place.leaveStaleFile(other) }
                let lock = try place.lock()
                let begun = Mutex(0)
                let results = Mutex<[(shim: Shim, fd: Int32, call: String?)]>([])
                let threads = try (0..<50).map { _ in
                    let shim = try Shim()
                    return TestThread {
                        begun.withLock { $0 += 1 }
                        let taken = shim.takePath(place.address, backlog: 64)
                        results.withLock { $0.append((shim, taken.result, taken.call)) }
                    }
                }
                _ = try other.retrying { begun.withLock { $0 } == 50 ? 0 : Int(-EAGAIN) }
                Glibc.close(lock)
                for thread in threads { thread.join() }

                let all = results.withLock { $0 }
                let winners = all.filter { $0.fd >= 0 }
                #expect(winners.count == 1)
                for loser in all where loser.fd < 0 {
                    #expect(loser.fd == -EADDRINUSE && loser.call == "bind")
                }
                let client = try other.connect(to: place.address)
                try #expect(other.send([3], to: client) == 1)
                #expect(try acceptsSender(of: 3, winners[0].shim, winners[0].fd))
                other.close(client)
                winners[0].shim.close(winners[0].fd)
                for (shim, _, _) in all {
                    ce_reactor_close(shim.reactor)
                    #expect(cf_ledger(shim.faults).open == 0)
                }
            }
        }
    }

    /// Behind the connections of those who looked whether it lives.
    private func acceptsSender(of byte: UInt8, _ shim: Shim, _ listener: Int32) throws -> Bool {
        for _ in 0..<64 {
            let server = try shim.accept(from: listener)
            defer { shim.close(server) }
            if try shim.receive(from: server) == [byte] { return true }
        }
        return false
    }

    /// By a virtual clock, which the waiting moves.
    @Test func `a directory that stays locked ends in a timeout`() throws {
        try withPlace { place in
            try withShim { shim in
                cf_set_clock(shim.faults, 0)
                let lock = try place.lock()
                let refused = shim.takePath(place.address)
                #expect(refused.result == -ETIMEDOUT && refused.call == "flock")
                #expect(ce_now(shim.reactor) == 5_000_000_000)
                Glibc.close(lock)
                shim.close(try check(shim.takePath(place.address).result))
            }
        }
    }

    // MARK: Removing the file

    @Test func `the own file is removed, and a second time there is none`() throws {
        try withPlace { place in
            try withShim { shim in
                let taken = shim.takePath(place.address)
                #expect(shim.unlinkFile(place.address, taken.file) == 0)
                #expect(place.inode == nil)
                #expect(shim.unlinkFile(place.address, taken.file) == 0)
                rmdir(place.directory)
                #expect(shim.unlinkFile(place.address, taken.file) == 0)
                shim.close(try check(taken.result))
            }
        }
    }

    @Test func `the file of a successor is kept`() throws {
        try withPlace { place in
            try withShim { shim in
                let first = shim.takePath(place.address)
                unlink(place.path)
                let second = shim.takePath(place.address)
                #expect(shim.unlinkFile(place.address, first.file) == 0)
                #expect(place.inode == second.file.inode)
                shim.close(try shim.connect(to: place.address))
                shim.close(try check(first.result), try check(second.result))
            }
        }
    }

    // MARK: Failures

    /// Lets each call of taking a path fail. What was there before may stay or be gone, nothing of
    /// ours may stay, and nobody finds the directory locked.
    @Test(arguments: [false, true]) func `each call of ce_listen_unix may fail and nothing stays`(
        stale: Bool
    ) throws {
        for n in 1...40 as ClosedRange<UInt64> {
            var untouched = false
            try withPlace { place in
                try withShim { shim in
                    if stale { try place.leaveStaleFile(shim) }
                    untouched = try takeWithFailure(at: n, place, shim)
                }
            }
            if untouched {
                #expect(n > (stale ? 11 : 8))
                return
            }
        }
        Issue.record("the sweep found no end")
    }

    private func takeWithFailure(at n: UInt64, _ place: Place, _ shim: Shim) throws -> Bool {
        let (before, stale) = (cf_ledger(shim.faults).open, place.inode)
        cf_reset_counts(shim.faults)
        cf_fail(shim.faults, CF_ANY, n, ENOBUFS, 1)
        let taken = shim.takePath(place.address)
        cf_fail_none(shim.faults)
        let failed = (0..<CF_CALLS.rawValue).first { shim.counts(cf_call($0)).injected == 1 }
        Glibc.close(try place.lock())
        if taken.result >= 0 {
            // The unlocking may fail: the closing does it too.
            #expect(failed == nil || failed == CF_FLOCK.rawValue, "call \(n)")
            shim.close(taken.result)
            return failed == nil
        }
        #expect(taken.result == -ENOBUFS, "call \(n)")
        #expect(taken.call == failed.map { String(cString: cf_name(cf_call($0))) })
        #expect(cf_ledger(shim.faults).open == before, "call \(n)")
        #expect(place.inode == nil || place.inode == stale, "call \(n)")
        return false
    }

    @Test func `each call of ce_unlink_file may fail and nothing stays open`() throws {
        try withPlace { place in
            try withShim { shim in
                let taken = shim.takePath(place.address)
                let before = cf_ledger(shim.faults).open
                for n in 1...4 as ClosedRange<UInt64> {
                    cf_fail(shim.faults, CF_ANY, n, ENOBUFS, 1)
                    #expect(shim.unlinkFile(place.address, taken.file) == -ENOBUFS)
                    #expect(cf_ledger(shim.faults).open == before)
                    #expect(place.inode == taken.file.inode)
                }
                cf_fail_none(shim.faults)
                #expect(shim.unlinkFile(place.address, taken.file) == 0)
                shim.close(try check(taken.result))
            }
        }
    }
}
