// B8: searching costs linear time. Nothing is timed: bytes that were searched are changed behind
// the buffer's back, and a search that looked at them again would find what it must not.

import Sluice
import SluiceReactor
import SluiceStreams
import SluiceTestKit
import Testing

@Suite struct ReadCostTests {
    @Test func `B8: a line's bytes are searched for LF once, however many arrivals and attempts`() {
        var pool = BlockPool()
        defer { pool.deallocate() }
        var buffer = InputBuffer()
        for arrival in 0..<2_000 {
            let room = buffer.room(from: &pool)
            room[0] = UInt8(ascii: "x")
            buffer.append(1)
            #expect(buffer.indexOfLF() == nil)
            // Searched, so it must not be looked at again: not in the next arrivals, not when
            // moved.
            UnsafeMutableRawBufferPointer(mutating: buffer.bytes)[arrival] = 0x0A
            #expect(buffer.indexOfLF() == nil)
            buffer.settle(to: &pool)
        }
        let room = buffer.room(from: &pool)
        room[0] = 0x0A
        buffer.append(1)
        #expect(buffer.indexOfLF() == 2_000)
        buffer.removeAll(to: &pool)
        #expect(pool.blocksInUse == 0)
    }

    @Test func `B8: after consuming a part, what was searched stays searched`() {
        var pool = BlockPool()
        defer { pool.deallocate() }
        var buffer = InputBuffer()
        let room = buffer.room(from: &pool)
        for index in 0..<100 { room[index] = UInt8(ascii: "x") }
        buffer.append(100)
        #expect(buffer.indexOfLF() == nil)
        buffer.consume(40)
        let bytes = UnsafeMutableRawBufferPointer(mutating: buffer.bytes)
        bytes[10] = 0x0A
        #expect(buffer.indexOfLF() == nil)
        // Bytes put back were not searched, and then all of it is again.
        [UInt8](repeating: 0x0A, count: 1).withUnsafeBytes { buffer.prepend($0, pool: &pool) }
        #expect(buffer.indexOfLF() == 0)
        buffer.removeAll(to: &pool)
    }

    @Test(arguments: PairKind.allCases)
    func `B8: a long line arriving byte by byte is read, with a bounded number of jobs a byte`(
        _ kind: PairKind
    ) async throws {
        let count = isLongRun ? 1 << 20 : 4_000
        var options = StreamOptions()
        options.limit = count
        try await withLoop { [options] loop in
            let near: StreamEnd
            let far: StreamEnd
            switch kind {
            case .memory:
                let pair = try await makeMemoryPair(capacity: 4_096, chunk: 1, options: options)
                (near, far) = (StreamEnd(pair.0), StreamEnd(pair.1))
            case .tcp:
                (near, far) = try await makeTCPPair(options: options)
            }
            try await releasing(near, far) {
                let before = await loop.statistics().jobs
                let sending = loop.spawn {
                    for index in 0..<count {
                        try far.writer.write([UInt8(ascii: "a") + UInt8(index % 26)])
                        try await far.writer.flush()
                    }
                    try await far.writer.send("\n")
                }
                let line = try await near.reader.readLine()
                #expect(line?.count == count + 1)
                try await sending.value
                let jobs = await loop.statistics().jobs - before
                #expect(jobs < 4 * UInt64(count) + 100)
            }
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B8: a separator of two bytes behind a long row of its first byte is found`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            let count = isLongRun ? 1 << 20 : 1 << 16
            let dashes = Array(repeating: UInt8(ascii: "-"), count: count)
            let sending = EventLoop.current!.spawn {
                try await far.writer.send(dashes)
                try await far.writer.send("-!rest")
            }
            let all = try await near.reader.readUntil(bytes("-!"), limit: count)
            #expect(same(all, dashes + bytes("-!")))
            try await sending.value
        }
    }
}
