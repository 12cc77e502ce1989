// The contract of codecs: bytes to packets and back, as pure values. Floor 3; any thread, one at a
// time: no I/O, no clock, no task. An endpoint owns its codec and calls it on its loop.

/// What a decoder makes of the bytes that have come so far.
public enum DecodingStep<Packet> {
    /// The first `used` bytes were a packet.
    case packet(Packet, used: Int)
    /// More has to come: at least `missing` bytes, 1 or more. The first `used` are not needed any
    /// longer: the rest of something that is being skipped.
    case more(missing: Int, used: Int)
    /// The first `used` bytes were a unit that makes no sense; decoding goes on behind it.
    case malformed(PacketError, used: Int)
    /// From here on nothing can be decoded: where the next packet begins cannot be known.
    case poisoned(PacketError)
}

/// Turns bytes into packets.
///
/// The results must not depend on how the bytes arrived: whole, byte by byte, glued to others.
public protocol PacketDecoder<Received>: Sendable {
    /// What comes out.
    associatedtype Received: Sendable

    /// Looks at all bytes that have come and have not been used.
    ///
    /// Called again with the same bytes and more behind them after `more`, and with what is left
    /// after any other step. It may remember how far it has looked, so that nothing is scanned
    /// twice. Lengths from the peer are compared with a limit before they are added to anything.
    mutating func decode(_ bytes: RawSpan) -> DecodingStep<Received>

    /// The stream has ended behind these bytes, which `decode` wanted more of; at least one.
    ///
    /// - Returns: a last packet, for framings whose last terminator may be missing; else
    ///   `malformed(.truncated)`, which is what the default gives.
    mutating func decodeEnd(_ bytes: RawSpan) -> DecodingStep<Received>

    /// Whether the bytes that are missing may be received straight into the decoder's own storage:
    /// after a `more` that used all bytes. False by default.
    ///
    /// While it is true, `gather` may be called instead of `decode`; and both `decode` and, at the
    /// end of the stream, `decodeEnd` may be called with no bytes at all.
    var isGathering: Bool { get }

    /// Lends storage for a part of the missing bytes; only while `isGathering`.
    ///
    /// - Parameter receive: to be called once, with room for one byte or more that is part of the
    ///   packet in progress; returns how many bytes it has put there, which may be none. If it is
    ///   not called, the bytes come by `decode`.
    mutating func gather(_ receive: (UnsafeMutableRawBufferPointer) -> Int)
}

extension PacketDecoder {
    /// Never.
    @inlinable
    public var isGathering: Bool { false }

    /// Never called.
    @inlinable
    public mutating func gather(_ receive: (UnsafeMutableRawBufferPointer) -> Int) {}

    /// The stream was cut inside a packet.
    @inlinable
    public mutating func decodeEnd(_ bytes: RawSpan) -> DecodingStep<Received> {
        .malformed(.truncated(received: bytes.byteCount), used: bytes.byteCount)
    }
}

/// Turns packets into bytes.
public protocol PacketEncoder<Sent>: Sendable {
    /// What goes in.
    associatedtype Sent: Sendable

    /// Appends the packet's bytes to the output.
    ///
    /// - Throws: ``PacketError/unencodable(_:)``; what was appended by then is taken back.
    mutating func encode(_ packet: Sent, into output: inout PacketOutput) throws(PacketError)
}

/// Both directions of one wire format.
public typealias Codec = PacketDecoder & PacketEncoder

/// A codec put together from one for each direction.
public struct StapledCodec<Encoder: PacketEncoder, Decoder: PacketDecoder>: Codec {
    /// Writes.
    public var encoder: Encoder
    /// Reads.
    public var decoder: Decoder

    /// Joins the two.
    public init(sending encoder: Encoder, receiving decoder: Decoder) {
        self.encoder = encoder
        self.decoder = decoder
    }

    /// As the decoder's.
    @inlinable
    public mutating func decode(_ bytes: RawSpan) -> DecodingStep<Decoder.Received> {
        decoder.decode(bytes)
    }

    /// As the decoder's.
    @inlinable
    public mutating func decodeEnd(_ bytes: RawSpan) -> DecodingStep<Decoder.Received> {
        decoder.decodeEnd(bytes)
    }

    /// As the decoder's.
    @inlinable
    public var isGathering: Bool { decoder.isGathering }

    /// As the decoder's.
    @inlinable
    public mutating func gather(_ receive: (UnsafeMutableRawBufferPointer) -> Int) {
        decoder.gather(receive)
    }

    /// As the encoder's.
    @inlinable
    public mutating func encode(
        _ packet: Encoder.Sent, into output: inout PacketOutput
    ) throws(PacketError) {
        try encoder.encode(packet, into: &output)
    }
}
