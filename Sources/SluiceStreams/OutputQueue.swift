// OutputQueue: bytes written and not yet taken by the kernel. A pure core: no I/O, no task. Floor
// 2.
//
// Order: the pieces from `head` on, then the open block, to which small writes are appended. A
// large array is a piece by reference. One running count; one cursor for each piece, moved only by
// `consume`. Invariant: `count` is the sum of all pieces and the open block; no piece is empty.

package import Glibc
package import SluiceReactor

package struct OutputQueue {
    /// Either a block of the pool or a retained array.
    private struct Piece {
        var array: [UInt8]?
        var block: UnsafeMutableRawPointer?
        var capacity: Int
        var start: Int
        var end: Int

        /// Valid while the piece is held: the array's storage stays, since somebody who would
        /// change a shared array copies it first.
        var base: UnsafeMutableRawPointer? {
            block
                ?? array?.withUnsafeBufferPointer {
                    UnsafeMutableRawPointer(mutating: $0.baseAddress)
                }
        }
    }

    private var pieces: [Piece] = []
    private var head = 0
    private var block: UnsafeMutableRawPointer?
    private var capacity = 0
    private var start = 0
    private var end = 0
    /// Capacity of the block that was used last: what to take next.
    private var usualCapacity = 0
    /// Bytes queued.
    package private(set) var count = 0

    package init() {}

    package var isEmpty: Bool { count == 0 }

    /// Queues a copy of the bytes.
    package mutating func append(_ bytes: UnsafeRawBufferPointer, pool: inout BlockPool) {
        guard let source = bytes.baseAddress, !bytes.isEmpty else { return }
        if capacity &- end < bytes.count { makeRoom(bytes.count, pool: &pool) }
        guard let block else { preconditionFailure("a block was just taken") }
        memcpy(block + end, source, bytes.count)
        end &+= bytes.count
        count &+= bytes.count
    }

    /// Queues one byte.
    package mutating func append(byte: UInt8, pool: inout BlockPool) {
        if end == capacity { makeRoom(1, pool: &pool) }
        guard let block else { preconditionFailure("a block was just taken") }
        block.storeBytes(of: byte, toByteOffset: end, as: UInt8.self)
        end &+= 1
        count &+= 1
    }

    /// Queues the first `width` bytes of an integer as it lies in memory, 1 to 8.
    package mutating func append(_ bits: UInt64, width: Int, pool: inout BlockPool) {
        assert(width > 0 && width <= 8)
        if capacity &- end < 8 { makeRoom(8, pool: &pool) }
        guard let block else { preconditionFailure("a block was just taken") }
        // All eight, for what is too much is overwritten by what comes next.
        block.storeBytes(of: bits, toByteOffset: end, as: UInt64.self)
        end &+= width
        count &+= width
    }

    /// Queues an array by reference, without a copy.
    package mutating func append(referencing array: [UInt8]) {
        guard !array.isEmpty else { return }
        sealBlock()
        pieces.append(
            Piece(array: array, block: nil, capacity: 0, start: 0, end: array.count))
        count &+= array.count
    }

    /// Describes up to `limit` bytes from the front in at most `capacity` pieces. Returns how many
    /// pieces and how many bytes.
    package func gather(
        into pieces: UnsafeMutablePointer<iovec>, capacity: Int, limit: Int
    ) -> (pieces: Int, bytes: Int) {
        var used = 0
        var bytes = 0
        for index in head..<self.pieces.count {
            guard used < capacity, bytes < limit else { return (used, bytes) }
            let piece = self.pieces[index]
            let length = min(piece.end - piece.start, limit - bytes)
            pieces[used] = iovec(iov_base: piece.base.map { $0 + piece.start }, iov_len: length)
            used += 1
            bytes += length
        }
        if let block, end > start, used < capacity, bytes < limit {
            let length = min(end &- start, limit &- bytes)
            pieces[used] = iovec(iov_base: block + start, iov_len: length)
            used += 1
            bytes += length
        }
        return (used, bytes)
    }

    /// Removes bytes that the kernel took from the front.
    package mutating func consume(_ taken: Int, pool: inout BlockPool) {
        assert(taken >= 0 && taken <= count)
        count &-= taken
        var left = taken
        while left > 0, head < pieces.count {
            let length = pieces[head].end - pieces[head].start
            guard left >= length else {
                pieces[head].start += left
                left = 0
                break
            }
            left -= length
            release(pieces[head], pool: &pool)
            pieces[head].array = nil
            head += 1
        }
        if head > 0 { dropHead() }
        start &+= left
        if count == 0 { releaseBlock(pool: &pool) }
    }

    /// Drops everything.
    package mutating func removeAll(to pool: inout BlockPool) {
        for index in head..<pieces.count { release(pieces[index], pool: &pool) }
        pieces = []
        head = 0
        count = 0
        releaseBlock(pool: &pool)
    }

    // MARK: For encoders, which write a packet piece by piece and may take it back

    /// An array of at least this size is queued by reference.
    package static let referencedBytes = StreamBounds.referencedArrayBytes

    /// Removes bytes from the back, which must not have been described to the kernel.
    package mutating func removeLast(_ bytes: Int, pool: inout BlockPool) {
        assert(bytes >= 0 && bytes <= count)
        count &-= bytes
        var left = bytes
        let fromBlock = min(left, end &- start)
        end &-= fromBlock
        left &-= fromBlock
        if end == start { releaseBlock(pool: &pool) }
        while left > 0, let last = pieces.last {
            let length = last.end - last.start
            guard left >= length else {
                pieces[pieces.count - 1].end -= left
                return
            }
            left -= length
            release(last, pool: &pool)
            pieces.removeLast()
        }
    }

    /// Replaces queued bytes, which must not have been described to the kernel. An array that lies
    /// there by reference is copied first if somebody else holds it.
    ///
    /// - Parameter place: counted from the front.
    package mutating func overwrite(at place: Int, with bytes: UnsafeRawBufferPointer) {
        assert(place >= 0 && place + bytes.count <= count)
        let inBlock = place &- (count &- (end &- start))
        if inBlock >= 0, let block, let source = bytes.baseAddress {
            memcpy(block + start + inBlock, source, bytes.count)
            return
        }
        var skipped = 0
        var done = 0
        func copy(_ base: UnsafeMutableRawPointer?, _ length: Int) {
            let from = place + done - skipped
            skipped += length
            guard done < bytes.count, from >= 0, from < length, let base,
                let source = bytes.baseAddress
            else { return }
            let step = min(length - from, bytes.count - done)
            memcpy(base + from, source + done, step)
            done += step
        }
        for index in head..<pieces.count where done < bytes.count {
            let (start, length) = (pieces[index].start, pieces[index].end - pieces[index].start)
            if place + done - skipped >= length {
                skipped += length
            } else if let block = pieces[index].block {
                copy(block + start, length)
            } else {
                pieces[index].array?.withUnsafeMutableBytes { array in
                    copy(array.baseAddress.map { $0 + start }, length)
                }
            }
        }
        if done < bytes.count { copy(block.map { $0 + start }, end &- start) }
    }

    /// Shows queued bytes from `place` on, in order, until `body` returns false.
    package func forEachPiece(from place: Int, _ body: (UnsafeRawBufferPointer) -> Bool) {
        var skip = place
        func show(_ base: UnsafeMutableRawPointer?, _ length: Int) -> Bool {
            defer { skip = max(0, skip - length) }
            guard skip < length else { return true }
            return body(UnsafeRawBufferPointer(start: base.map { $0 + skip }, count: length - skip))
        }
        for piece in pieces[head...] {
            guard show(piece.base.map { $0 + piece.start }, piece.end - piece.start) else { return }
        }
        if end > start { _ = show(block.map { $0 + start }, end &- start) }
    }

    /// Whether one of the bytes from `place` on is this one. Mutating for speed alone: otherwise a
    /// call through a pointer copies the queue, pieces retained.
    package mutating func contains(_ byte: UInt8, from place: Int) -> Bool {
        // Most packets lie in the open block whole.
        let inBlock = place &- (count &- (end &- start))
        if let block, inBlock >= 0 {
            return memchr(block + start + inBlock, Int32(byte), end &- start &- inBlock) != nil
        }
        var isFound = false
        forEachPiece(from: place) { piece in
            if let base = piece.baseAddress {
                isFound = memchr(base, Int32(byte), piece.count) != nil
            }
            return !isFound
        }
        return isFound
    }

    /// Keeps the spent front short: a queue that is never quite empty must not grow for ever.
    private mutating func dropHead() {
        if head == pieces.count {
            pieces.removeAll(keepingCapacity: pieces.capacity <= 64)
            head = 0
        } else if head >= 64, head * 2 >= pieces.count {
            pieces.removeFirst(head)
            head = 0
        }
    }

    private func release(_ piece: Piece, pool: inout BlockPool) {
        if let block = piece.block { pool.give(block, capacity: piece.capacity) }
    }

    private mutating func releaseBlock(pool: inout BlockPool) {
        if let block { pool.give(block, capacity: capacity) }
        (block, capacity, start, end) = (nil, 0, 0, 0)
    }

    /// Closes the open block, so that what comes next stands behind it.
    private mutating func sealBlock() {
        guard let block, end > start else { return }
        pieces.append(
            Piece(array: nil, block: block, capacity: capacity, start: start, end: end))
        (self.block, capacity, start, end) = (nil, 0, 0, 0)
    }

    /// Makes the open block hold `bytes` more: small ones grow by copying, so that a turn's replies
    /// stay one piece; at the largest size the block is sealed and another one taken.
    private mutating func makeRoom(_ bytes: Int, pool: inout BlockPool) {
        let held = end &- start
        if block != nil, held + bytes > BlockPool.sizes.huge { sealBlock() }
        let kept = block == nil ? 0 : held
        let wish = max(
            kept + bytes, block == nil ? usualCapacity : min(4 * kept, BlockPool.sizes.huge))
        let fresh = pool.take(atLeast: wish)
        if let block {
            memcpy(fresh, block + start, kept)
            pool.give(block, capacity: capacity)
        }
        (block, capacity) = (fresh, BlockPool.capacity(atLeast: wish))
        (start, end) = (0, kept)
        usualCapacity = min(capacity, BlockPool.sizes.large)
    }
}
