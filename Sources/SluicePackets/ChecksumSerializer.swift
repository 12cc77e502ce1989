// A checksum behind another serializer's bytes. Floor 3; pure. The functions come from elsewhere:
// SHA-256 and HMAC from SluiceCrypto, which needs a library.

/// A function that makes a few bytes of many.
public struct Checksum: Sendable {
    /// Bytes of a checksum, 1 or more.
    public let size: Int
    private let compute: @Sendable (RawSpan) -> [UInt8]

    /// A checksum of one's own.
    ///
    /// - Parameters:
    ///   - size: bytes of it, 1 or more.
    ///   - compute: gives exactly so many.
    public init(size: Int, _ compute: @escaping @Sendable (RawSpan) -> [UInt8]) {
        precondition(size > 0, "a checksum has 1 byte or more")
        self.size = size
        self.compute = compute
    }

    /// The checksum of some bytes.
    public func callAsFunction(_ bytes: RawSpan) -> [UInt8] {
        let sum = compute(bytes)
        precondition(sum.count == size, "a checksum has as many bytes as it was said to have")
        return sum
    }

    /// Whether these bytes are the checksum of those. Takes as long wherever the first difference
    /// lies, so that nobody can find the right one byte by byte.
    public func matches(_ given: RawSpan, of bytes: RawSpan) -> Bool {
        guard given.byteCount == size else { return false }
        var difference: UInt8 = 0
        for (index, byte) in self(bytes).enumerated() { difference |= byte ^ given.byte(at: index) }
        return difference == 0
    }
}

/// Appends a checksum to another serializer's bytes, and compares it; one that is wrong is
/// malformed, and its packet is never looked at.
public struct ChecksumSerializer<Inner: Serializer>: Serializer {
    /// Makes and takes the bytes.
    public let inner: Inner
    /// Stands behind them.
    public let checksum: Checksum

    /// Puts a checksum behind the bytes of `inner`.
    public init(_ inner: Inner, _ checksum: Checksum) {
        self.inner = inner
        self.checksum = checksum
    }

    /// The value of the bytes before the checksum.
    public func deserialize(_ bytes: RawSpan) throws(PacketError) -> Inner.Packet {
        let count = bytes.byteCount - checksum.size
        guard count >= 0 else { throw .malformed("too short for a checksum") }
        let payload = bytes.extracting(0..<count)
        guard checksum.matches(bytes.extracting(count..<bytes.byteCount), of: payload) else {
            throw .malformed("a wrong checksum")
        }
        return try inner.deserialize(payload)
    }

    /// The value's bytes and their checksum.
    public func serialize(
        _ packet: Inner.Packet, into output: inout PacketOutput
    ) throws(PacketError) {
        let place = output.count
        try inner.serialize(packet, into: &output)
        output.append(checksum(output.bytes(from: place).span.bytes))
    }

    /// Known if the inner one is.
    public func size(of packet: Inner.Packet) -> Int? {
        guard let count = inner.size(of: packet), count >= 0, count < .max - checksum.size else {
            return nil
        }
        return count + checksum.size
    }
}
