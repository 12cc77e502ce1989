// The allocation counter, and with it what floor 0 itself allocates.

import CEpoll
import CFaults
import Glibc
import Testing

@Suite struct AllocationCountTests {
    @Test func `allocations of this thread are counted`() throws {
        try #require(cf_malloc_counting() || cf_malloc_count() == 0)
        guard cf_malloc_counting() else { return }
        let before = (cf_malloc_count_this_thread(), cf_malloc_count())
        let memory = malloc(10_000)
        let grown = realloc(memory, 20_000)
        let zeroed = calloc(3, 3)
        var aligned: UnsafeMutableRawPointer?
        #expect(posix_memalign(&aligned, 64, 128) == 0)
        let after = (cf_malloc_count_this_thread(), cf_malloc_count())
        #expect(UInt(bitPattern: aligned) % 64 == 0)
        for pointer in [grown, zeroed, aligned] { free(pointer) }
        #expect(after.0 - before.0 >= 4)
        #expect(after.1 - before.1 >= 4)
    }

    @Test func `Swift's own allocations are counted`() throws {
        guard cf_malloc_counting() else { return }
        let before = cf_malloc_count_this_thread()
        let arrays = (0..<10).map { [UInt8](repeating: UInt8($0), count: 100) }
        let after = cf_malloc_count_this_thread()
        #expect(arrays.count == 10)
        #expect(after - before >= 10)
    }

    @Test func `a steady send and receive allocates nothing`() throws {
        guard cf_malloc_counting() else { return }
        try withShim { shim in
            let (client, server) = try shim.makePair()
            try shim.add(server, want.all, token: 1)
            var buffer = [UInt8](repeating: 1, count: 64)
            var events = [ce_event](repeating: ce_event(), count: 4)
            var counts: [UInt64] = []
            for _ in 0..<100 {
                let before = cf_malloc_count_this_thread()
                buffer.withUnsafeMutableBytes { bytes in
                    var piece = iovec(iov_base: bytes.baseAddress, iov_len: bytes.count)
                    ce_send(shim.reactor, client, &piece, 1)
                    ce_wait(shim.reactor, &events, 4, 5_000_000_000)
                    ce_receive(shim.reactor, server, bytes.baseAddress, bytes.count)
                }
                let after = cf_malloc_count_this_thread()
                counts.append(after - before)
            }
            #expect(counts.suffix(90).allSatisfy { $0 == 0 }, "\(counts)")
            shim.close(client, server)
        }
    }
}
