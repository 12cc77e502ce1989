// Packets that are compressed, each a whole zlib stream. Beside the floors; pure.

public import Sluice

/// Compressed packets one after the other: each is one whole zlib stream (RFC 1950), whose own end
/// is the border.
///
/// A packet is decompressed while it arrives, and never to more than the limit. One that would be
/// longer poisons the stream, and so do bytes that are no zlib stream: where the next one begins
/// could only be known by decompressing on. Where that is not wanted, put a ``ZlibSerializer`` into
/// a framing.
public struct ZlibCodec<Values: Serializer>: Codec {
    /// Makes and takes what is compressed.
    public let serializer: Values
    /// Bytes of a packet before it is compressed, 0 or more.
    public let limit: Int
    /// How hard zlib tries, 0 (not at all) to 9.
    public let level: Int
    /// The packet in progress.
    private var inflater: Inflater?
    /// Bytes of it that were decompressed and are still there.
    private var taken = 0

    /// Compresses what `serializer` makes.
    ///
    /// - Parameters:
    ///   - limit: bytes of a packet before it is compressed, 0 or more. There is no default: it is
    ///     what stands between a few bytes of a peer and all memory.
    ///   - level: 0 to 9; ``ZlibBounds/level`` by default.
    public init(_ serializer: Values, limit: Int, level: Int = ZlibBounds.level) {
        precondition(limit >= 0, "a packet's limit is 0 bytes or more")
        precondition(level >= 0 && level <= 9, "a level is 0 to 9")
        self.serializer = serializer
        self.limit = min(limit, .max - 1)
        self.level = level
    }

    /// Decompresses what has come, all but once.
    public mutating func decode(_ bytes: RawSpan) -> DecodingStep<Values.Packet> {
        let count = bytes.byteCount
        if count <= taken { return .more(missing: 1, used: 0) }
        guard let inflater = ownInflater() else {
            return .poisoned(.malformed("zlib: no memory"))
        }
        switch inflater.take(bytes.extracting(taken..<count)) {
        case .more:
            // The last byte is kept: an end of the stream here is not one between two packets.
            taken = 1
            return .more(missing: 1, used: count - 1)
        case .end(let used):
            let end = taken + used
            (self.inflater, taken) = (nil, 0)
            do throws(PacketError) {
                let packet = try serializer.deserialize(inflater.output.span.bytes)
                return .packet(packet, used: end)
            } catch {
                return .malformed(error, used: end)
            }
        case .failed(let error):
            (self.inflater, taken) = (nil, 0)
            return .poisoned(error)
        }
    }

    /// The stream was cut inside a packet.
    public mutating func decodeEnd(_ bytes: RawSpan) -> DecodingStep<Values.Packet> {
        let received = max(bytes.byteCount, inflater?.bytesTaken ?? 0)
        (inflater, taken) = (nil, 0)
        return .malformed(.truncated(received: received), used: bytes.byteCount)
    }

    /// The one in progress, which no other copy of this codec may have.
    private mutating func ownInflater() -> Inflater? {
        if inflater == nil {
            inflater = Inflater(limit: limit)
        } else if !isKnownUniquelyReferenced(&inflater) {
            inflater = inflater.flatMap { Inflater(copying: $0) }
        }
        return inflater
    }

    /// The value, compressed.
    public mutating func encode(
        _ packet: Values.Packet, into output: inout PacketOutput
    ) throws(PacketError) {
        try compress(packet, by: serializer, limit: limit, level: level, into: &output)
    }
}

/// Compresses what another serializer makes, for any framing.
///
/// What is longer than the limit once decompressed is `limitExceeded`, what is no zlib stream
/// malformed; the framing goes on at the next frame.
public struct ZlibSerializer<Inner: Serializer>: Serializer {
    /// Makes and takes what is compressed.
    public let inner: Inner
    /// Bytes of a packet before it is compressed, 0 or more.
    public let limit: Int
    /// How hard zlib tries, 0 (not at all) to 9.
    public let level: Int

    /// Compresses what `inner` makes; as ``ZlibCodec/init(_:limit:level:)``.
    public init(_ inner: Inner, limit: Int, level: Int = ZlibBounds.level) {
        precondition(limit >= 0, "a packet's limit is 0 bytes or more")
        precondition(level >= 0 && level <= 9, "a level is 0 to 9")
        self.inner = inner
        self.limit = min(limit, .max - 1)
        self.level = level
    }

    /// The value of one whole zlib stream.
    public func deserialize(_ bytes: RawSpan) throws(PacketError) -> Inner.Packet {
        guard let inflater = Inflater(limit: limit) else { throw .malformed("zlib: no memory") }
        switch inflater.take(bytes) {
        case .more: throw .malformed("a zlib stream that was cut")
        case .failed(let error): throw error
        case .end(let used):
            guard used == bytes.byteCount else { throw .malformed("bytes behind a zlib stream") }
            return try inner.deserialize(inflater.output.span.bytes)
        }
    }

    /// The value, compressed.
    public func serialize(
        _ packet: Inner.Packet, into output: inout PacketOutput
    ) throws(PacketError) {
        try compress(packet, by: inner, limit: limit, level: level, into: &output)
    }
}

private func compress<Values: Serializer>(
    _ packet: Values.Packet, by serializer: Values, limit: Int, level: Int,
    into output: inout PacketOutput
) throws(PacketError) {
    let place = output.count
    try serializer.serialize(packet, into: &output)
    let plain = output.bytes(from: place)
    guard plain.count <= limit else {
        throw .unencodable("a packet of \(plain.count) bytes is over the limit of \(limit)")
    }
    output.removeAll(from: place)
    output.append(try deflated(plain, level: level))
}
