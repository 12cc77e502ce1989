// The contract of framings and serializers. Floor 3; pure.

/// Where the next frame lies in the bytes that have come.
public enum FramingStep: Equatable, Sendable {
    /// Its payload, and how many bytes the whole frame takes.
    case frame(Range<Int>, used: Int)
    /// As ``DecodingStep/more(missing:used:)``.
    case more(missing: Int, used: Int)
    /// A long frame has begun: its payload of `count` bytes lies behind the first `prefix` bytes,
    /// as far as it has come, and is the last of the frame. As good as `more`, for serializers that
    /// have no use for payloads in storage of their own.
    case begun(prefix: Int, count: Int)
    /// As ``DecodingStep/malformed(_:used:)``.
    case malformed(PacketError, used: Int)
    /// As ``DecodingStep/poisoned(_:)``.
    case poisoned(PacketError)
}

extension FramingStep {
    /// A frame that lacks so many bytes of its payload, which is the last of it.
    @inlinable
    static func lacking(_ missing: Int, prefix: Int, count: Int) -> FramingStep {
        missing >= PacketBounds.gatheredBytes
            ? .begun(prefix: prefix, count: count) : .more(missing: missing, used: 0)
    }
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

    /// Whether values are made of their bytes in an array: ``deserialize(owning:)`` is then called
    /// for long packets, whose bytes were received into that array. False by default.
    static var keepsBytes: Bool { get }

    /// Makes the value of exactly these bytes, which it may keep. As ``deserialize(_:)``.
    func deserialize(owning bytes: [UInt8]) throws(PacketError) -> Packet

    /// How many bytes `serialize` will append, if that is known without trying; `nil` by default.
    func size(of packet: Packet) -> Int?
}

extension Serializer {
    /// Not known beforehand.
    @inlinable
    public func size(of packet: Packet) -> Int? { nil }

    /// They are not kept.
    @inlinable
    public static var keepsBytes: Bool { false }

    /// Looks at the bytes.
    @inlinable
    public func deserialize(owning bytes: [UInt8]) throws(PacketError) -> Packet {
        try deserialize(bytes.span.bytes)
    }
}
