// The two pure cores under the streams, against plain arrays: random operations, printed seed.

import Glibc
import SluiceReactor
import SluiceStreams
import SluiceTestKit
import Testing

@Suite struct BufferTests {
    @Test func `an input buffer holds what an array would, and gives every block back`() {
        for _ in 0..<(isLongRun ? 500 : 10) {
            var random = SeededGenerator()
            var pool = BlockPool()
            var buffer = InputBuffer()
            var model: [UInt8] = []
            for _ in 0..<200 {
                stepInput(&buffer, &model, &pool, &random)
                #expect(buffer.count == model.count, "seed \(random.seed)")
                #expect(same(Array(buffer.bytes), model), "seed \(random.seed)")
                let index = buffer.indexOfLF()
                #expect(index == model.firstIndex(of: 10), "seed \(random.seed)")
            }
            buffer.removeAll(to: &pool)
            #expect(pool.blocksInUse == 0, "seed \(random.seed)")
            pool.deallocate()
        }
    }

    private func stepInput(
        _ buffer: inout InputBuffer, _ model: inout [UInt8], _ pool: inout BlockPool,
        _ random: inout SeededGenerator
    ) {
        switch Int.random(in: 0..<10, using: &random) {
        case 0..<4:
            let room = buffer.room(from: &pool)
            #expect(!room.isEmpty)
            let count = min(room.count, 1 + random.size(bits: 14))
            let start = Int.random(in: 0..<100_000, using: &random)
            room.copyBytes(from: TestBytes.make(from: start, count: count))
            buffer.append(count)
            model += TestBytes.make(from: start, count: count)
        case 4..<7:
            let count = min(model.count, random.size(bits: 15))
            #expect(same(buffer.prefix(count), Array(model.prefix(count))))
            buffer.consume(count)
            model.removeFirst(count)
        case 7:
            let back = TestBytes.make(count: random.size(bits: 12))
            back.withUnsafeBytes { buffer.prepend($0, pool: &pool) }
            model = back + model
        case 8:
            buffer.settle(to: &pool)
            if model.isEmpty { #expect(pool.blocksInUse == 0, "an empty one owns no block") }
        default:
            buffer.removeAll(to: &pool)
            model = []
            #expect(pool.blocksInUse == 0)
        }
    }

    @Test func `an input buffer's block stays within twice its bytes, or one receive's room`() {
        var pool = BlockPool()
        var buffer = InputBuffer()
        for _ in 0..<500 {
            let room = buffer.room(from: &pool)
            buffer.append(min(room.count, 1_000))
            #expect(pool.bytesInUse <= max(65_536, 2 * (buffer.count + 32_768)))
        }
        buffer.removeAll(to: &pool)
        pool.deallocate()
    }

    @Test func `an output queue gives its bytes once and in order, whatever is taken`() {
        let pieces = UnsafeMutablePointer<iovec>.allocate(capacity: 1_024)
        defer { pieces.deallocate() }
        for _ in 0..<(isLongRun ? 500 : 10) {
            var random = SeededGenerator()
            var pool = BlockPool()
            var queue = OutputQueue()
            var (written, taken) = (0, 0)
            for _ in 0..<200 {
                if Bool.random(using: &random), written - taken < 1 << 20 {
                    let bytes = TestBytes.make(from: written, count: random.size(bits: 15))
                    if Bool.random(using: &random) {
                        queue.append(referencing: bytes)
                    } else {
                        bytes.withUnsafeBytes { queue.append($0, pool: &pool) }
                    }
                    written += bytes.count
                } else {
                    taken += takeOutput(&queue, from: taken, pieces, &pool, &random)
                }
                #expect(queue.count == written - taken, "seed \(random.seed)")
                #expect(queue.isEmpty == (written == taken), "seed \(random.seed)")
            }
            queue.removeAll(to: &pool)
            #expect(pool.blocksInUse == 0, "seed \(random.seed)")
            pool.deallocate()
        }
    }

    /// Gathers, compares and takes a part, as a kernel would.
    private func takeOutput(
        _ queue: inout OutputQueue, from position: Int, _ pieces: UnsafeMutablePointer<iovec>,
        _ pool: inout BlockPool, _ random: inout SeededGenerator
    ) -> Int {
        let limit = 1 + random.size(bits: 18)
        let capacity = Int.random(in: 1...8, using: &random)
        let batch = queue.gather(into: pieces, capacity: capacity, limit: limit)
        #expect(batch.pieces <= capacity)
        #expect(batch.bytes <= min(limit, queue.count))
        #expect((batch.bytes > 0) == !queue.isEmpty)
        var gathered: [UInt8] = []
        for index in 0..<batch.pieces {
            #expect(pieces[index].iov_len > 0, "no empty piece")
            gathered += UnsafeRawBufferPointer(
                start: pieces[index].iov_base, count: pieces[index].iov_len)
        }
        #expect(gathered.count == batch.bytes)
        #expect(TestBytes.match(gathered, from: position), "seed \(random.seed)")
        let taken = Int.random(in: 0...batch.bytes, using: &random)
        queue.consume(taken, pool: &pool)
        return taken
    }

    @Test func `RELIABILITY 50: a queue that is never quite empty stays short`() {
        let pieces = UnsafeMutablePointer<iovec>.allocate(capacity: 1_024)
        defer { pieces.deallocate() }
        var pool = BlockPool()
        var queue = OutputQueue()
        let piece = TestBytes.make(count: 5_000)
        queue.append(referencing: piece)
        for _ in 0..<5_000 {
            queue.append(referencing: piece)
            queue.consume(5_000, pool: &pool)
            let batch = queue.gather(into: pieces, capacity: 1_024, limit: .max)
            #expect(batch.pieces == 1)
        }
        for _ in 0..<50_000 { piece.prefix(3).withUnsafeBytes { queue.append($0, pool: &pool) } }
        #expect(queue.count == 155_000)
        #expect(queue.gather(into: pieces, capacity: 1_024, limit: .max).pieces <= 5)
        queue.removeAll(to: &pool)
        #expect(pool.blocksInUse == 0)
        pool.deallocate()
    }
}
