// PacketOutput: where encoders write, which is the connection's own output: no copy in between.
// Floor 3; on the loop of that connection, during the call it is given to.

package import SluiceReactor
public import SluiceStreams

/// Where an encoder appends a packet's bytes.
///
/// What is appended becomes part of the output once the encoder has returned; if it throws, all of
/// it is taken back. It cannot be kept: it is lent for the call.
public struct PacketOutput: ~Copyable {
    package let queue: UnsafeMutablePointer<OutputQueue>
    package let pool: UnsafeMutablePointer<BlockPool>
    /// Bytes in the queue before this packet's.
    let start: Int

    package init(
        queue: UnsafeMutablePointer<OutputQueue>, pool: UnsafeMutablePointer<BlockPool>
    ) {
        self.queue = queue
        self.pool = pool
        start = queue.pointee.count
    }

    /// The writer's own output, if it takes a packet now.
    @usableFromInline
    init(of writer: StreamWriter) throws(PacketError) {
        do throws(StreamError) { try writer.checkWritable() } catch { throw .stream(error) }
        self.init(queue: writer.outputQueue, pool: writer.blockPool)
    }

    /// The packet is whole: it leaves at the end of the turn.
    @usableFromInline
    consuming func leave(by writer: StreamWriter) {
        if start == 0 { writer.outputBegan() }
    }

    /// Bytes appended for this packet so far: places are counted in these.
    public var count: Int { queue.pointee.count - start }

    // MARK: Appending

    /// Appends bytes; an array of 4 KiB or more by reference.
    public mutating func append(_ bytes: [UInt8]) {
        if bytes.count >= OutputQueue.referencedBytes {
            queue.pointee.append(referencing: bytes)
        } else {
            bytes.withUnsafeBytes { queue.pointee.append($0, pool: &pool.pointee) }
        }
    }

    /// Appends a copy of what the span shows.
    public mutating func append(_ bytes: RawSpan) {
        bytes.withUnsafeBytes { queue.pointee.append($0, pool: &pool.pointee) }
    }

    /// Appends a text's UTF-8 bytes.
    public mutating func append(_ text: String) {
        var text = text
        text.withUTF8 {
            queue.pointee.append(UnsafeRawBufferPointer($0), pool: &pool.pointee)
        }
    }

    /// Appends one byte.
    public mutating func append(byte: UInt8) {
        queue.pointee.append(byte: byte, pool: &pool.pointee)
    }

    /// Appends an integer's bytes.
    ///
    /// - Parameters:
    ///   - integer: of a fixed-width type of at most 64 bits.
    ///   - endianness: the order of the bytes.
    @inlinable
    public mutating func append<T: FixedWidthInteger>(integer: T, _ endianness: Endianness = .big) {
        append(bits: UInt64(truncatingIfNeeded: integer), width: T.bitWidth / 8, endianness)
    }

    /// Appends the lowest `width` bytes of an integer, 1 to 8.
    public mutating func append(bits: UInt64, width: Int, _ endianness: Endianness) {
        precondition(width > 0 && width <= 8, "an integer has 1 to 8 bytes")
        queue.pointee.append(
            bits.ordered(width: width, endianness), width: width, pool: &pool.pointee)
    }

    // MARK: Going back

    /// Leaves a gap of 1 to 8 bytes, to be filled in once its value is known.
    ///
    /// - Returns: its place.
    public mutating func appendGap(_ width: Int) -> Int {
        let place = count
        append(bits: 0, width: width, .big)
        return place
    }

    /// Fills a gap in.
    ///
    /// - Parameter place: where it is; the bytes must have been appended by this packet.
    public mutating func fill(
        _ place: Int, with bits: UInt64, width: Int, _ endianness: Endianness
    ) {
        precondition(
            place >= 0 && width > 0 && width <= 8 && width <= count - place,
            "a gap lies in what was appended")
        withUnsafeBytes(of: bits.ordered(width: width, endianness)) {
            queue.pointee.overwrite(
                at: start + place, with: UnsafeRawBufferPointer(rebasing: $0.prefix(width)))
        }
    }

    /// Calls `body` with what was appended from `place` on, in pieces of any size, in order, until
    /// it returns false.
    public func forEachPiece(from place: Int, _ body: (RawSpan) -> Bool) {
        precondition(place >= 0 && place <= count, "a place lies in what was appended")
        queue.pointee.forEachPiece(from: start + place) { body($0.bytes) }
    }

    /// Whether a byte was appended from `place` on.
    public func contains(_ byte: UInt8, from place: Int) -> Bool {
        precondition(place >= 0 && place <= count, "a place lies in what was appended")
        return queue.pointee.contains(byte, from: start + place)
    }

    /// A copy of what was appended from `place` on.
    public func bytes(from place: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count - place)
        forEachPiece(from: place) { piece in
            piece.withUnsafeBytes { bytes.append(contentsOf: $0) }
            return true
        }
        return bytes
    }

    /// Takes back everything appended from `place` on.
    public mutating func removeAll(from place: Int = 0) {
        precondition(place >= 0, "a place is 0 or more")
        queue.pointee.removeLast(max(0, count - place), pool: &pool.pointee)
    }

    // MARK: Without a connection

    /// The bytes that `body` appends, as an array: for datagrams, tests and codecs inside codecs.
    public static func bytes<E: Error>(
        of body: (inout PacketOutput) throws(E) -> Void
    ) throws(E) -> [UInt8] {
        var queue = OutputQueue()
        var pool = BlockPool()
        defer {
            queue.removeAll(to: &pool)
            pool.deallocate()
        }
        return try withUnsafeMutablePointer(to: &queue) { queue throws(E) in
            try withUnsafeMutablePointer(to: &pool) { pool throws(E) in
                var output = PacketOutput(queue: queue, pool: pool)
                try body(&output)
                return output.bytes(from: 0)
            }
        }
    }
}

extension UInt64 {
    /// So that the first `width` bytes in memory are the integer's in this order.
    fileprivate func ordered(width: Int, _ endianness: Endianness) -> UInt64 {
        switch endianness {
        case .big: (self &<< UInt64(64 &- 8 &* width)).bigEndian
        case .little: littleEndian
        }
    }
}
