// Frames that begin with a header of fixed size in which their length stands somewhere. Floor 3;
// pure.

public import SluiceStreams

/// Frames that begin with a header of one size, which holds their length among other fields.
///
/// A packet is the whole frame: its serializer reads the header's other fields, and writes the
/// header with anything in the length's place, which the framing fills in. For a length that stands
/// alone before a payload there is ``LengthPrefixFraming``.
///
/// A length that cannot be, or is over the limit, poisons the stream.
public struct HeaderFraming: Framing {
    /// What a header's length counts.
    public enum Counting: Hashable, Sendable {
        /// The bytes behind the header.
        case body
        /// The whole frame.
        case frame
        /// The bytes behind the length itself.
        case rest
        /// The whole frame less so many bytes; below 0, more than it.
        case frameLess(Int)
    }

    /// Bytes of a header.
    public let headerSize: Int
    /// Bytes of the length in it.
    public let width: Int
    /// Bytes before the length.
    public let offset: Int
    /// The order of the length's bytes.
    public let endianness: Endianness
    /// Bytes of a frame with its header.
    public let limit: Int
    /// Bytes of a frame that its length does not count.
    private let uncounted: Int
    /// What the length's width can say.
    private let lengthMax: UInt64

    /// Frames with such a header.
    ///
    /// - Parameters:
    ///   - headerSize: bytes of a header, as many as the length with what stands before it or more.
    ///   - type: an unsigned integer of 8 to 64 bits, which is how the length is written.
    ///   - offset: bytes before the length, 0 or more.
    ///   - endianness: of the length, big by default.
    ///   - counting: what the length counts.
    ///   - limit: bytes of a whole frame, `headerSize` or more; 1 MiB by default.
    public init<T: FixedWidthInteger & UnsignedInteger>(
        headerSize: Int, length type: T.Type, at offset: Int, _ endianness: Endianness = .big,
        counting: Counting = .body, limit: Int = PacketBounds.frameLimit
    ) {
        precondition(T.bitWidth <= 64, "a length has at most 64 bits")
        width = T.bitWidth / 8
        precondition(
            offset >= 0 && headerSize >= width && offset <= headerSize - width,
            "a length lies in its header")
        precondition(limit >= headerSize, "a frame's limit is at least its header's size")
        self.headerSize = headerSize
        self.offset = offset
        self.endianness = endianness
        self.limit = limit
        lengthMax = UInt64(T.max)
        uncounted =
            switch counting {
            case .body: headerSize
            case .frame: 0
            case .rest: offset + width
            case .frameLess(let count): count
            }
    }

    /// Reads the length once the header is there, and waits for as much.
    public mutating func nextFrame(in bytes: RawSpan) -> FramingStep {
        let count = bytes.byteCount
        guard count >= headerSize else { return .more(missing: headerSize - count, used: 0) }
        let length = bytes.unsigned(at: offset, width: width, endianness)
        guard length <= UInt64(Int.max) else { return .poisoned(.limitExceeded(limit: limit)) }
        let (size, isOver) = Int(length).addingReportingOverflow(uncounted)
        // Over means above: a negative number cannot overflow with a length of 0 or more.
        guard !isOver, size <= limit else { return .poisoned(.limitExceeded(limit: limit)) }
        guard size >= headerSize else {
            return .poisoned(.malformed("a frame's length is less than its header"))
        }
        if count < size { return .lacking(size - count, prefix: 0, count: size) }
        return .frame(0..<size, used: size)
    }

    /// Fills the length in.
    public func seal(_ output: inout PacketOutput, payload: Int) throws(PacketError) {
        let size = output.count - payload
        guard size >= headerSize else {
            throw .unencodable("a frame of \(size) bytes where its header has \(headerSize)")
        }
        guard size <= limit else {
            throw .unencodable("a frame of \(size) bytes is over the limit of \(limit)")
        }
        let (length, isOver) = size.subtractingReportingOverflow(uncounted)
        guard !isOver, length >= 0, UInt64(length) <= lengthMax else {
            throw .unencodable("a frame of \(size) bytes has a length that cannot be written")
        }
        output.fill(payload + offset, with: UInt64(length), width: width, endianness)
    }
}

extension RawSpan {
    /// One byte of it; the caller has compared the index.
    @inline(__always)
    func byte(at index: Int) -> UInt8 {
        assert(index >= 0 && index < byteCount)
        return unsafeLoad(fromByteOffset: index, as: UInt8.self)
    }

    /// An integer of 1 to 8 bytes; the caller has compared its place.
    func unsigned(at offset: Int, width: Int, _ endianness: Endianness) -> UInt64 {
        var value: UInt64 = 0
        for index in 0..<width {
            let byte = UInt64(byte(at: offset + index))
            switch endianness {
            case .big: value = value << 8 | byte
            case .little: value |= byte << UInt64(8 * index)
            }
        }
        return value
    }
}
