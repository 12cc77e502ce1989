// Frames that begin with their length, as an integer of fixed width. Floor 3; pure.

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

    private func length(in bytes: RawSpan) -> UInt64 {
        var length: UInt64 = 0
        for index in 0..<width {
            let byte = UInt64(bytes.unsafeLoad(fromByteOffset: index, as: UInt8.self))
            switch endianness {
            case .big: length = length << 8 | byte
            case .little: length |= byte << UInt64(8 * index)
            }
        }
        return length
    }

    /// A gap for the length.
    public func open(_ output: inout PacketOutput, size: Int?) {
        _ = output.appendGap(width)
    }

    /// Fills the length in.
    public func seal(_ output: inout PacketOutput, payload: Int) throws(PacketError) {
        let length = output.count - payload
        guard length <= limit else {
            throw .unencodable("a frame of \(length) bytes is over the limit of \(limit)")
        }
        let value = UInt64(includesPrefix ? length + width : length)
        output.fill(payload - width, with: value, width: width, endianness)
    }
}
