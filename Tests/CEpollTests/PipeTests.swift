// Reading and writing what is no socket, and the quirks of the fault table on pipes.

import CEpoll
import CFaults
import Glibc
import Testing

@Suite struct PipeTests {
    init() {
        // A pipe knows no MSG_NOSIGNAL.
        signal(SIGPIPE, SIG_IGN)
    }

    @Test func `bytes arrive, then EAGAIN, and after the last writer the end`() throws {
        try withShim { shim in
            let (read, write) = try shim.makePipe()
            #expect(shim.write([1, 2, 3], to: write) == 3)
            try #expect(shim.read(from: read, upTo: 2) == [1, 2])
            try #expect(shim.read(from: read) == [3])
            var byte: UInt8 = 0
            #expect(ce_read(shim.reactor, read, &byte, 1) == Int(-EAGAIN))
            shim.close(write)
            try #expect(shim.read(from: read) == [])
            #expect(shim.counts(CF_WRITEV).bytes == 3 && shim.counts(CF_READ).bytes == 3)
            shim.close(read)
        }
    }

    @Test func `a pipe that nobody reads says EPIPE`() throws {
        try withShim { shim in
            let (read, write) = try shim.makePipe()
            shim.close(read)
            #expect(shim.write([1], to: write) == Int(-EPIPE))
            shim.close(write)
        }
    }

    @Test func `pieces are gathered in one call, and at most as many as the kernel takes`() throws {
        try withShim { shim in
            let (read, write) = try shim.makePipe()
            var bytes = Array(0..<UInt8(200))
            let written = bytes.withUnsafeMutableBytes { buffer in
                let pieces = (0..<1_100).map { index in
                    iovec(iov_base: buffer.baseAddress! + index % 200, iov_len: 1)
                }
                return ce_write(shim.reactor, write, pieces, pieces.count)
            }
            #expect(written == 1_024)
            #expect(shim.counts(CF_WRITEV).calls == 1)
            try #expect(shim.read(from: read) == (0..<1_024).map { UInt8($0 % 200) })
            shim.close(read, write)
        }
    }

    @Test func `a full pipe takes a part, then says EAGAIN, and becomes writable again`() throws {
        try withShim { shim in
            let (read, write) = try shim.makePipe()
            try shim.add(write, want.out | want.edge, token: 1)
            try #expect(shim.waitForEvents() == [Event(token: 1, ready: CE_OUT.rawValue)])
            let much = [UInt8](repeating: 9, count: 1 << 21)
            let taken = shim.write(much, to: write)
            #expect(taken > 0 && taken < much.count)
            #expect(shim.write(much, to: write) == Int(-EAGAIN))
            try #expect(shim.read(from: read, upTo: much.count).count == taken)
            try #expect(shim.waitForEvents() == [Event(token: 1, ready: CE_OUT.rawValue)])
            shim.close(read, write)
        }
    }

    // MARK: Quirks

    @Test func `after a short write or read of a pipe the readiness is reported again`() throws {
        try withShim { shim in
            let (read, write) = try shim.makePipe()
            try shim.add(write, want.out | want.edge, token: 1)
            try shim.add(read, want.in | want.edge, token: 2)
            try #expect(shim.waitForEvents() == [Event(token: 1, ready: CE_OUT.rawValue)])
            shim.setQuirks {
                $0.write_bytes_max = 2
                $0.read_bytes_max = 1
            }
            #expect(shim.write([1, 2, 3], to: write) == 2)
            try #expect(Set(shim.waitForEvents().map(\.token)) == [1, 2])
            try #expect(shim.wait(nanoseconds: 0).isEmpty)
            try #expect(shim.read(from: read, upTo: 9) == [1])
            try #expect(shim.waitForEvents() == [Event(token: 2, ready: CE_IN.rawValue)])
            shim.close(read, write)
        }
    }

    /// Of an eventfd, whose read takes eight bytes or fails.
    @Test func `a read of what is no stream is not shortened`() throws {
        try withShim { shim in
            let counter = ce_system_kernel().pointee.eventfd(nil, 3, O_NONBLOCK)
            shim.setQuirks { $0.read_bytes_max = 1 }
            #expect(ce_signal_read(shim.reactor, counter) == 3)
            Glibc.close(counter)
        }
    }

    /// An edge-triggered copy through every quirk at once: it ends only if no readiness is lost.
    @Test(arguments: 1...8 as ClosedRange<UInt64>) func `a pipe carries all through all quirks`(
        seed: UInt64
    ) throws {
        try withShim { shim in
            let (read, write) = try shim.makePipe()
            try shim.add(write, want.out | want.edge, token: 1)
            try shim.add(read, want.in | want.edge, token: 2)
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
                    while event.token == 1 && sent < bytes.count {
                        let count = shim.write(Array(bytes[sent...].prefix(997)), to: write)
                        if count == Int(-EAGAIN) { break }
                        sent += try check(count)
                    }
                    while event.token == 2, let more = try? shim.read(from: read, upTo: 512) {
                        received += more
                    }
                }
            }
            #expect(received == bytes)
            shim.close(read, write)
        }
    }
}
