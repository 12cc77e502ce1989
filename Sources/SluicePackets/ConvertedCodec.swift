// Codecs whose packets are converted from and to values of another type. Floor 3; pure.

/// Makes values of another type from the packets that a decoder gives.
///
/// A packet that cannot be converted is malformed; decoding goes on behind it.
public struct ConvertedDecoder<Wire: PacketDecoder, Received: Sendable>: PacketDecoder {
    /// Gives the packets.
    public var wire: Wire
    private let convert: @Sendable (Wire.Received) throws -> Received

    /// Joins a decoder and a conversion, which throws for packets that make no value.
    public init(_ wire: Wire, _ convert: @escaping @Sendable (Wire.Received) throws -> Received) {
        self.wire = wire
        self.convert = convert
    }

    /// The next packet's value.
    public mutating func decode(_ bytes: RawSpan) -> DecodingStep<Received> {
        converted(wire.decode(bytes))
    }

    /// The last packet's value, if there is one.
    public mutating func decodeEnd(_ bytes: RawSpan) -> DecodingStep<Received> {
        converted(wire.decodeEnd(bytes))
    }

    /// As the wire decoder's.
    public var isGathering: Bool { wire.isGathering }

    /// As the wire decoder's.
    public mutating func gather(_ receive: (UnsafeMutableRawBufferPointer) -> Int) {
        wire.gather(receive)
    }

    private func converted(_ step: DecodingStep<Wire.Received>) -> DecodingStep<Received> {
        switch step {
        case .packet(let packet, let used):
            do throws(PacketError) {
                return .packet(try receiving(packet, convert), used: used)
            } catch {
                return .malformed(error, used: used)
            }
        case .more(let missing, let used): return .more(missing: missing, used: used)
        case .malformed(let error, let used): return .malformed(error, used: used)
        case .poisoned(let error): return .poisoned(error)
        }
    }
}

/// Makes the packets that an encoder takes from values of another type.
///
/// A value that cannot be converted is `unencodable`, and nothing is sent.
public struct ConvertedEncoder<Wire: PacketEncoder, Sent: Sendable>: PacketEncoder {
    /// Takes the packets.
    public var wire: Wire
    private let convert: @Sendable (Sent) throws -> Wire.Sent

    /// Joins an encoder and a conversion, which throws for values that make no packet.
    public init(_ wire: Wire, _ convert: @escaping @Sendable (Sent) throws -> Wire.Sent) {
        self.wire = wire
        self.convert = convert
    }

    /// The value's packet.
    public mutating func encode(
        _ packet: Sent, into output: inout PacketOutput
    ) throws(PacketError) {
        try wire.encode(try sending(packet, convert), into: &output)
    }
}

/// A serializer whose packets are converted, for framings and datagrams.
public struct ConvertedSerializer<Wire: Serializer, Packet: Sendable>: Serializer {
    /// Makes and takes the packets.
    public let wire: Wire
    private let toWire: @Sendable (Packet) throws -> Wire.Packet
    private let fromWire: @Sendable (Wire.Packet) throws -> Packet

    /// Joins a serializer and a conversion for each direction.
    public init(
        _ wire: Wire, sending toWire: @escaping @Sendable (Packet) throws -> Wire.Packet,
        receiving fromWire: @escaping @Sendable (Wire.Packet) throws -> Packet
    ) {
        self.wire = wire
        self.toWire = toWire
        self.fromWire = fromWire
    }

    /// The packet's value.
    public func deserialize(_ bytes: RawSpan) throws(PacketError) -> Packet {
        try receiving(try wire.deserialize(bytes), fromWire)
    }

    /// As the wire serializer's.
    public static var keepsBytes: Bool { Wire.keepsBytes }

    /// The packet's value.
    public func deserialize(owning bytes: [UInt8]) throws(PacketError) -> Packet {
        try receiving(try wire.deserialize(owning: bytes), fromWire)
    }

    /// The value's packet.
    public func serialize(_ packet: Packet, into output: inout PacketOutput) throws(PacketError) {
        try wire.serialize(try sending(packet, toWire), into: &output)
    }
}

/// A codec with a conversion for each direction.
public typealias ConvertedCodec<Wire: Codec, Sent: Sendable, Received: Sendable> =
    StapledCodec<ConvertedEncoder<Wire, Sent>, ConvertedDecoder<Wire, Received>>

extension PacketDecoder {
    /// The same packets as other values; one that `receiving` throws for is malformed.
    public func map<Value: Sendable>(
        receiving: @escaping @Sendable (Received) throws -> Value
    ) -> ConvertedDecoder<Self, Value> {
        ConvertedDecoder(self, receiving)
    }
}

extension PacketEncoder {
    /// The same packets from other values; one that `sending` throws for is `unencodable`.
    public func map<Value: Sendable>(
        sending: @escaping @Sendable (Value) throws -> Sent
    ) -> ConvertedEncoder<Self, Value> {
        ConvertedEncoder(self, sending)
    }
}

extension PacketDecoder where Self: PacketEncoder {
    /// The same packets as other values, in both directions; of one type or of two.
    public func map<Out: Sendable, In: Sendable>(
        sending: @escaping @Sendable (Out) throws -> Sent,
        receiving: @escaping @Sendable (Received) throws -> In
    ) -> ConvertedCodec<Self, Out, In> {
        StapledCodec(sending: map(sending: sending), receiving: map(receiving: receiving))
    }
}

extension Serializer {
    /// The same packets as other values.
    public func map<Value: Sendable>(
        sending: @escaping @Sendable (Value) throws -> Packet,
        receiving: @escaping @Sendable (Packet) throws -> Value
    ) -> ConvertedSerializer<Self, Value> {
        ConvertedSerializer(self, sending: sending, receiving: receiving)
    }
}

private func receiving<From, To>(
    _ packet: From, _ convert: (From) throws -> To
) throws(PacketError) -> To {
    do { return try convert(packet) } catch let error as PacketError { throw error } catch {
        throw .malformed("\(error)")
    }
}

private func sending<From, To>(
    _ packet: From, _ convert: (From) throws -> To
) throws(PacketError) -> To {
    do { return try convert(packet) } catch let error as PacketError { throw error } catch {
        throw .unencodable("\(error)")
    }
}
