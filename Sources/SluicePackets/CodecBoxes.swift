// Boxes that hide a codec's type from the endpoint that owns it: one virtual call for each packet,
// made specialised where the endpoint is made. Floor 3; on the endpoint's loop.

@usableFromInline
class DecoderBox<Received: Sendable> {
    @usableFromInline init() {}

    @usableFromInline
    func decode(_ bytes: RawSpan) -> DecodingStep<Received> { .more(missing: 1, used: 0) }

    @usableFromInline
    func decodeEnd(_ bytes: RawSpan) -> DecodingStep<Received> { .more(missing: 1, used: 0) }
}

@usableFromInline
final class DecoderOf<D: PacketDecoder>: DecoderBox<D.Received> {
    @usableFromInline var decoder: D

    @inlinable
    init(_ decoder: D) {
        self.decoder = decoder
        super.init()
    }

    @inlinable
    override func decode(_ bytes: RawSpan) -> DecodingStep<D.Received> { decoder.decode(bytes) }

    @inlinable
    override func decodeEnd(_ bytes: RawSpan) -> DecodingStep<D.Received> {
        decoder.decodeEnd(bytes)
    }
}

@usableFromInline
class EncoderBox<Sent: Sendable> {
    @usableFromInline init() {}

    @usableFromInline
    func encode(_ packet: Sent, into output: inout PacketOutput) throws(PacketError) {}
}

@usableFromInline
final class EncoderOf<E: PacketEncoder>: EncoderBox<E.Sent> {
    @usableFromInline var encoder: E

    @inlinable
    init(_ encoder: E) {
        self.encoder = encoder
        super.init()
    }

    @inlinable
    override func encode(_ packet: E.Sent, into output: inout PacketOutput) throws(PacketError) {
        try encoder.encode(packet, into: &output)
    }
}
