// InputBuffer: bytes received and not yet read. A pure core: no I/O, no task, no clock. Floor 2.
//
// One contiguous block from the loop's pool, none while empty and idle. Invariants:
// 0 <= start <= end <= capacity; bytes start..<end are unread; the first `scannedForLF` of them
//   hold
// no LF. It doubles only when full of unread bytes, so it never exceeds twice what has arrived or
// one receive's room.

package import SluiceReactor
internal import Glibc

package struct InputBuffer {
    private var block: UnsafeMutableRawPointer?
    private var capacity = 0
    private var start = 0
    private var end = 0
    private var scannedForLF = 0
    /// Size of recent receives: what to expect of the next.
    package private(set) var expected = 0

    package init() {}

    package var count: Int { end &- start }
    package var isEmpty: Bool { end == start }

    /// The unread bytes; valid until the next mutation.
    package var bytes: UnsafeRawBufferPointer {
        guard let block else { return UnsafeRawBufferPointer(start: nil, count: 0) }
        return UnsafeRawBufferPointer(start: block + start, count: end &- start)
    }

    /// The unread bytes, and so many behind them that lie in the room but were not appended.
    package func bytes(andBehind count: Int) -> UnsafeRawBufferPointer {
        guard let block else { return UnsafeRawBufferPointer(start: nil, count: 0) }
        assert(count >= 0 && end + count <= capacity)
        return UnsafeRawBufferPointer(start: block + start, count: end &- start &+ count)
    }

    /// A copy of the first `count` unread bytes.
    package func prefix(_ count: Int) -> [UInt8] {
        assert(count <= self.count)
        // Twice as quick as filling an uninitialised array: this initialiser is specialised in the
        // standard library.
        guard let block else { return [] }
        return Array(UnsafeRawBufferPointer(start: block + start, count: count))
    }

    /// Marks the first `count` unread bytes as read.
    package mutating func consume(_ count: Int) {
        assert(count >= 0 && count <= self.count)
        start &+= count
        scannedForLF = max(0, scannedForLF &- count)
    }

    /// Marks everything as read and gives the block back.
    package mutating func removeAll(to pool: inout BlockPool) {
        if let block { pool.give(block, capacity: capacity) }
        let expected = self.expected
        self = InputBuffer()
        self.expected = expected
    }

    /// Frees the block past the pool, which may be gone.
    package mutating func deallocate() {
        block?.deallocate()
        block = nil
    }

    /// Index of the first LF, counted from the first unread byte. Bytes once scanned are not
    /// scanned again, however often the read is repeated.
    package mutating func indexOfLF() -> Int? {
        guard let block, end > start + scannedForLF else { return nil }
        let from = block + start + scannedForLF
        guard let found = memchr(from, 0x0A, end &- start &- scannedForLF) else {
            scannedForLF = count
            return nil
        }
        let index = UnsafeRawPointer(found) - UnsafeRawPointer(block + start)
        scannedForLF = index
        return index
    }

    /// Room for a receive behind the unread bytes, at least one byte.
    package mutating func room(from pool: inout BlockPool) -> UnsafeMutableRawBufferPointer {
        if block != nil, isEmpty { (start, end, scannedForLF) = (0, 0, 0) }
        if block == nil {
            replaceBlock(capacity: StreamBounds.receiveBytes, pool: &pool)
        } else if capacity - end < max(256, min(2 * expected, StreamBounds.receiveBytes / 2)) {
            makeRoom(pool: &pool)
        }
        guard let block else { preconditionFailure("a block was just taken") }
        return UnsafeMutableRawBufferPointer(start: block + end, count: capacity - end)
    }

    /// Counts bytes received into the room.
    package mutating func append(_ count: Int) {
        assert(count >= 0 && end + count <= capacity)
        end &+= count
        expect(count)
    }

    /// Notes the size of a receive: up at once, down by and by.
    package mutating func expect(_ count: Int) {
        expected = count >= expected ? count : expected &- (expected &- count) / 4
    }

    /// Puts bytes back in front of the unread ones.
    package mutating func prepend(_ bytes: UnsafeRawBufferPointer, pool: inout BlockPool) {
        guard let source = bytes.baseAddress, !bytes.isEmpty else { return }
        if start < bytes.count {
            let (old, oldStart, oldCount, oldCapacity) = (block, start, count, capacity)
            let total = BlockPool.capacity(atLeast: bytes.count + oldCount)
            let fresh = pool.take(atLeast: total)
            start = total - oldCount
            end = total
            if let old {
                memcpy(fresh + start, old + oldStart, oldCount)
                pool.give(old, capacity: oldCapacity)
            }
            (block, capacity) = (fresh, total)
        }
        guard let block else { return }
        start -= bytes.count
        memcpy(block + start, source, bytes.count)
        scannedForLF = 0
    }

    /// The reader is about to wait: an empty buffer owns no block, a small rest no large one.
    package mutating func settle(to pool: inout BlockPool) {
        guard block != nil else { return }
        if isEmpty {
            removeAll(to: &pool)
        } else if capacity > BlockPool.sizes.small, count <= capacity / 4,
            expected <= capacity / 8
        {
            replaceBlock(capacity: count, pool: &pool)
        }
    }

    private mutating func makeRoom(pool: inout BlockPool) {
        if capacity < StreamBounds.receiveBytes {
            replaceBlock(capacity: StreamBounds.receiveBytes, pool: &pool)
        } else if count > capacity / 2 {
            replaceBlock(capacity: capacity * 2, pool: &pool)
        } else if let block {
            memmove(block, block + start, count)
            (start, end) = (0, count)
        }
    }

    private mutating func replaceBlock(capacity wish: Int, pool: inout BlockPool) {
        let fresh = pool.take(atLeast: wish)
        let count = self.count
        if let block {
            memcpy(fresh, block + start, count)
            pool.give(block, capacity: capacity)
        }
        (block, capacity) = (fresh, BlockPool.capacity(atLeast: wish))
        (start, end) = (0, count)
    }
}
