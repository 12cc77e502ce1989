// The contract of framings and serializers, and the codec made of one of each. Floor 3; pure.

/// Where the next frame lies in the bytes that have come.
public enum FramingStep: Equatable, Sendable {
    /// Its payload, and how many bytes the whole frame takes.
    case frame(Range<Int>, used: Int)
    /// As ``DecodingStep/more(missing:used:)``.
    case more(missing: Int, used: Int)
    /// As ``DecodingStep/malformed(_:used:)``.
    case malformed(PacketError, used: Int)
    /// As ``DecodingStep/poisoned(_:)``.
    case poisoned(PacketError)
}

/// Finds the borders of packets in a stream, and draws them.
public protocol Framing: Sendable {
    /// Looks for the next frame; otherwise as ``PacketDecoder/decode(_:)``.
    mutating func nextFrame(in bytes: RawSpan) -> FramingStep

    /// The stream has ended behind these bytes; otherwise as ``PacketDecoder/decodeEnd(_:)``.
    mutating func lastFrame(in bytes: RawSpan) -> FramingStep

    /// Begins a frame: what stands before the payload, perhaps with a gap for its length.
    ///
    /// - Parameter size: bytes of the payload, if the serializer knows that beforehand.
    mutating func open(_ output: inout PacketOutput, size: Int?)

    /// Ends it: what stands behind the payload, and what has to be filled in.
    ///
    /// - Parameter payload: the place where the payload begins, as `output.count` was after `open`.
    /// - Throws: ``PacketError/unencodable(_:)`` for a payload that cannot be framed.
    mutating func seal(_ output: inout PacketOutput, payload: Int) throws(PacketError)
}

extension Framing {
    /// The stream was cut inside a frame.
    @inlinable
    public mutating func lastFrame(in bytes: RawSpan) -> FramingStep {
        .malformed(.truncated(received: bytes.byteCount), used: bytes.byteCount)
    }

    /// Nothing stands before the payload.
    @inlinable
    public func open(_ output: inout PacketOutput, size: Int?) {}
}

/// Turns a whole packet's bytes into a value and back.
public protocol Serializer<Packet>: Sendable {
    /// The value.
    associatedtype Packet: Sendable

    /// Makes the value of exactly these bytes.
    ///
    /// - Throws: ``PacketError/malformed(_:)``, also for bytes that are left over.
    func deserialize(_ bytes: RawSpan) throws(PacketError) -> Packet

    /// Appends the value's bytes.
    ///
    /// - Throws: ``PacketError/unencodable(_:)``.
    func serialize(_ packet: Packet, into output: inout PacketOutput) throws(PacketError)

    /// How many bytes `serialize` will append, if that is known without trying; `nil` by default.
    func size(of packet: Packet) -> Int?
}

extension Serializer {
    /// Not known beforehand.
    @inlinable
    public func size(of packet: Packet) -> Int? { nil }
}

/// A framing and a serializer: the usual way to make a codec.
public struct FramedCodec<Frames: Framing, Values: Serializer>: Codec {
    /// Finds the borders.
    public var framing: Frames
    /// Makes the values.
    public let serializer: Values

    /// Joins the two.
    public init(_ framing: Frames, _ serializer: Values) {
        self.framing = framing
        self.serializer = serializer
    }

    /// The next frame's value. A frame whose bytes make no value is passed over as malformed.
    @inlinable
    public mutating func decode(_ bytes: RawSpan) -> DecodingStep<Values.Packet> {
        step(framing.nextFrame(in: bytes), bytes)
    }

    /// What the framing makes of the rest.
    @inlinable
    public mutating func decodeEnd(_ bytes: RawSpan) -> DecodingStep<Values.Packet> {
        step(framing.lastFrame(in: bytes), bytes)
    }

    @inlinable
    func step(_ step: FramingStep, _ bytes: RawSpan) -> DecodingStep<Values.Packet> {
        switch step {
        case .frame(let payload, let used):
            do throws(PacketError) {
                let packet = try serializer.deserialize(bytes.extracting(payload))
                return .packet(packet, used: used)
            } catch {
                return .malformed(error, used: used)
            }
        case .more(let missing, let used): return .more(missing: missing, used: used)
        case .malformed(let error, let used): return .malformed(error, used: used)
        case .poisoned(let error): return .poisoned(error)
        }
    }

    /// The value in a frame of its own.
    @inlinable
    public mutating func encode(
        _ packet: Values.Packet, into output: inout PacketOutput
    ) throws(PacketError) {
        framing.open(&output, size: serializer.size(of: packet))
        let payload = output.count
        try serializer.serialize(packet, into: &output)
        try framing.seal(&output, payload: payload)
    }
}
