// Frames that begin with their length, as an integer of fixed width. Floor 3; pure.
//
// Inlinable, for a step has errors in it, which to pass on costs more than to find a frame.

public import SluiceStreams

/// Frames that begin with their length in 1, 2, 4 or 8 bytes.
///
/// A length over the limit poisons the stream: where the next frame begins is as untrue as the
/// length. Nothing is allocated for a length that has been announced only.
public struct LengthPrefixFraming: Framing {
    /// Bytes of the prefix.
    public let width: Int
    /// Their order.
    public let endianness: Endianness
    /// Bytes of a frame's payload, 0 or more.
    public let limit: Int
    /// Whether the length counts the prefix itself.
    public let includesPrefix: Bool
    /// What the prefix of the frame in progress says, before the payload is there.
    @usableFromInline var announced = 0

    /// Frames whose length is a `T`.
    ///
    /// - Parameters:
    ///   - type: an unsigned integer of 8 to 64 bits.
    ///   - endianness: big by default, network order.
    ///   - includesPrefix: the length counts its own bytes too.
    ///   - limit: bytes of payload; 1 MiB by default, and never more than the prefix can say.
    public init<T: FixedWidthInteger & UnsignedInteger>(
        _ type: T.Type = UInt32.self, _ endianness: Endianness = .big,
        includesPrefix: Bool = false, limit: Int = PacketBounds.frameLimit
    ) {
        precondition(T.bitWidth <= 64, "a length has at most 64 bits")
        precondition(limit >= 0, "a frame's limit is 0 bytes or more")
        width = T.bitWidth / 8
        self.endianness = endianness
        self.includesPrefix = includesPrefix
        let overhead = includesPrefix ? T.bitWidth / 8 : 0
        // With the prefix added it must still be an Int.
        self.limit = min(limit, max(0, Int(clamping: T.max) - overhead), .max - width)
    }

    /// Reads the length once it is there, and waits for as much.
    @inlinable
    @inline(__always)
    public mutating func nextFrame(in bytes: RawSpan) -> FramingStep {
        let count = bytes.byteCount
        guard count >= width else { return .more(missing: width - count, used: 0) }
        var length = length(in: bytes)
        if includesPrefix {
            guard length >= UInt64(width) else {
                return .poisoned(.malformed("a frame's length is less than its prefix"))
            }
            length -= UInt64(width)
        }
        guard length <= UInt64(limit) else { return .poisoned(.limitExceeded(limit: limit)) }
        let end = width + Int(length)
        guard count >= end else { return .lacking(end - count, prefix: width, count: end - width) }
        return .frame(width..<end, used: end)
    }

    @inlinable
    func length(in bytes: RawSpan) -> UInt64 {
        switch width {
        case 1: UInt64(bytes.unsafeLoad(fromByteOffset: 0, as: UInt8.self))
        case 2: UInt64(ordered(bytes.unsafeLoadUnaligned(as: UInt16.self)))
        case 4: UInt64(ordered(bytes.unsafeLoadUnaligned(as: UInt32.self)))
        default: ordered(bytes.unsafeLoadUnaligned(as: UInt64.self))
        }
    }

    @inlinable
    func ordered<T: FixedWidthInteger>(_ integer: T) -> T {
        switch endianness {
        case .big: T(bigEndian: integer)
        case .little: T(littleEndian: integer)
        }
    }

    /// The length if it is known, else something in its place.
    @inlinable
    public mutating func open(_ output: inout PacketOutput, size: Int?) {
        announced = min(max(0, size ?? 0), limit)
        output.append(bits: prefix(announced), width: width, endianness)
    }

    /// Corrects the length if it was not known or not true.
    @inlinable
    public mutating func seal(_ output: inout PacketOutput, payload: Int) throws(PacketError) {
        let length = output.count - payload
        if length == announced { return }
        guard length <= limit else {
            throw .unencodable("a frame of \(length) bytes is over the limit of \(limit)")
        }
        output.fill(payload - width, with: prefix(length), width: width, endianness)
    }

    @inlinable
    func prefix(_ length: Int) -> UInt64 {
        UInt64(includesPrefix ? length + width : length)
    }
}
