// PacketFormat: all that two sides have agreed on about their packets, as one value. Floor 3; pure.
//
// The framing's and the header's types are hidden behind closures, whose bodies are specialised
// where the format is made.

public import SluiceStreams

/// How packets look on a stream: borders, header, order of bytes, and the packets of each
/// direction.
///
///     let chat = PacketFormat(
///         LengthPrefixFraming(UInt16.self), .big, receiving: [Login.self], sending: [Text.self])
///
/// The client of a server with this format has ``reversed``.
public struct PacketFormat: Sendable {
    @usableFromInline
    typealias Prepare =
        @Sendable (
            _ context: (any Hashable & Sendable)?, _ isReversed: Bool
        ) throws(PacketError) -> PreparedFormat

    @usableFromInline let prepare: Prepare
    @usableFromInline var isReversed = false

    /// Packets in frames, with the id as one byte before the fields.
    ///
    /// - Parameters: as those with a header.
    @inlinable
    public init<F: Framing>(
        _ framing: F, _ endianness: Endianness, receiving: PacketSet, sending: PacketSet? = nil,
        trailing: TrailingBytes = .refused, unknown: UnknownPackets = .kept
    ) {
        self.init(
            framing, IDHeader<UInt8>.self, endianness, receiving: receiving, sending: sending,
            trailing: trailing, unknown: unknown)
    }

    /// Packets with a header, in frames.
    ///
    /// - Parameters:
    ///   - framing: fresh; each connection begins with a copy, and keeps it when its context
    ///     changes.
    ///   - header: what stands before the fields.
    ///   - endianness: of integers and floats that do not say their own.
    ///   - receiving: the packets that come.
    ///   - sending: those that go; the same by default.
    ///   - trailing: whether bytes behind the last field are refused.
    ///   - unknown: what becomes of packets that are not in the set.
    @inlinable
    public init<F: Framing, Header: PacketHeader>(
        _ framing: F, _ header: Header.Type, _ endianness: Endianness, receiving: PacketSet,
        sending: PacketSet? = nil, trailing: TrailingBytes = .refused,
        unknown: UnknownPackets = .kept
    ) {
        self.init(
            header, (receiving, sending ?? receiving), endianness, trailing, unknown
        ) { _, present in present ?? framing }
    }

    /// Packets whose header says how long they are, which needs no other framing.
    ///
    /// - Parameters:
    ///   - header: the type.
    ///   - limit: bytes of a packet's fields, 0 or more; 1 MiB by default.
    ///   - endianness: as with a framing, and so are the others.
    @inlinable
    public init<Header: SizedPacketHeader>(
        _ header: Header.Type, _ endianness: Endianness, limit: Int = PacketBounds.frameLimit,
        receiving: PacketSet, sending: PacketSet? = nil, trailing: TrailingBytes = .refused,
        unknown: UnknownPackets = .kept
    ) {
        self.init(
            header, (receiving, sending ?? receiving), endianness, trailing, unknown
        ) { context, _ in PacketFraming(header, endianness, in: context, limit: limit) }
    }

    /// `framing`: in this context, when there is this one already.
    @inlinable
    init<F: Framing, Header: PacketHeader>(
        _ header: Header.Type, _ sets: (receiving: PacketSet, sending: PacketSet),
        _ endianness: Endianness, _ trailing: TrailingBytes, _ unknown: UnknownPackets,
        _ framing: @escaping @Sendable ((any Hashable & Sendable)?, F?) -> F
    ) {
        prepare = { context, isReversed throws(PacketError) in
            let receiving = isReversed ? sets.sending : sets.receiving
            let sending = isReversed ? sets.receiving : sets.sending
            return PreparedFormat(
                try receiving.serializer(
                    header, endianness, in: context, trailing: trailing, unknown: unknown),
                try sending.serializer(
                    header, endianness, in: context, trailing: trailing, unknown: unknown),
                in: context, framing)
        }
    }

    /// The same as the peer sees it: what it sends is what is received here.
    public var reversed: PacketFormat {
        var format = self
        format.isReversed.toggle()
        return format
    }

    func prepared(in context: (any Hashable & Sendable)?) throws(PacketError) -> PreparedFormat {
        try prepare(context, isReversed)
    }
}

/// A format in one context: the tables of ids are made, and shared by all connections in it.
@usableFromInline
struct PreparedFormat: Sendable {
    @usableFromInline let context: (any Hashable & Sendable)?
    let makeReceiving: @Sendable () -> PacketReceiving
    let makeSending: @Sendable () -> PacketSending
    /// What the two sides of a connection in another context take over from this one.
    @usableFromInline let parts: any Sendable

    @inlinable
    init<F: Framing, Header: PacketHeader>(
        _ receiving: PacketSerializer<Header>, _ sending: PacketSerializer<Header>,
        in context: (any Hashable & Sendable)?,
        _ framing: @escaping @Sendable ((any Hashable & Sendable)?, F?) -> F
    ) {
        self.init(
            context,
            { PacketReceiving(FramedCodec(framing(context, nil), receiving), framing) },
            { PacketSending(FramedCodec(framing(context, nil), sending), framing) },
            parts: FormatParts(receiving: receiving, sending: sending))
    }

    @usableFromInline
    init(
        _ context: (any Hashable & Sendable)?,
        _ makeReceiving: @escaping @Sendable () -> PacketReceiving,
        _ makeSending: @escaping @Sendable () -> PacketSending, parts: any Sendable
    ) {
        self.context = context
        self.makeReceiving = makeReceiving
        self.makeSending = makeSending
        self.parts = parts
    }
}

@usableFromInline
struct FormatParts<Header: PacketHeader>: Sendable {
    @usableFromInline let receiving: PacketSerializer<Header>
    @usableFromInline let sending: PacketSerializer<Header>

    @inlinable
    init(receiving: PacketSerializer<Header>, sending: PacketSerializer<Header>) {
        self.receiving = receiving
        self.sending = sending
    }
}

/// One connection's way in.
@usableFromInline
struct PacketReceiving {
    /// As `DecoderBox.attempt`.
    let attempt: (StreamReader, (any Error)?) -> StreamReader.Filling
    let takeOutcome: () throws(PacketError) -> (any Packet)?
    /// The packet of exactly these bytes: header and fields, without a frame.
    let decode: (RawSpan) throws(PacketError) -> any Packet
    /// Whether the beginning of a packet was looked at, and its end has not come.
    let isInPacket: () -> Bool
    /// Goes over to another context of the same format; the framing goes on.
    let adopt: (PreparedFormat) -> Void

    @inlinable
    init<F: Framing, Header: PacketHeader>(
        _ codec: FramedCodec<F, PacketSerializer<Header>>,
        _ framing: @escaping @Sendable ((any Hashable & Sendable)?, F?) -> F
    ) {
        let box = DecoderBox(codec)
        self.init(
            attempt: { reader, failure in box.attempt(reader, after: failure) },
            takeOutcome: { () throws(PacketError) in try box.takeOutcome() },
            isInPacket: { box.state.pointee.wanted != 1 },
            decode: { bytes throws(PacketError) in
                try box.state.pointee.decoder.serializer.deserialize(bytes)
            },
            adopt: { prepared in
                guard let parts = prepared.parts as? FormatParts<Header> else { return }
                let present = box.state.pointee.decoder.framing
                box.state.pointee.decoder = FramedCodec(
                    framing(prepared.context, present), parts.receiving)
                // What has come is looked at again; inside of a packet it still is one.
                if box.state.pointee.wanted != 1 { box.state.pointee.wanted = 0 }
            })
    }

    @usableFromInline
    init(
        attempt: @escaping (StreamReader, (any Error)?) -> StreamReader.Filling,
        takeOutcome: @escaping () throws(PacketError) -> (any Packet)?,
        isInPacket: @escaping () -> Bool,
        decode: @escaping (RawSpan) throws(PacketError) -> any Packet,
        adopt: @escaping (PreparedFormat) -> Void
    ) {
        self.attempt = attempt
        self.takeOutcome = takeOutcome
        self.isInPacket = isInPacket
        self.decode = decode
        self.adopt = adopt
    }
}

/// One connection's way out.
@usableFromInline
struct PacketSending {
    /// Queues a packet whole, or throws and queues nothing.
    let write: (any Packet, StreamWriter) throws(PacketError) -> Void
    /// Appends header and fields, without a frame.
    let encode: (any Packet, inout PacketOutput) throws(PacketError) -> Void
    /// As `PacketReceiving.adopt`.
    let adopt: (PreparedFormat) -> Void

    @inlinable
    init<F: Framing, Header: PacketHeader>(
        _ codec: FramedCodec<F, PacketSerializer<Header>>,
        _ framing: @escaping @Sendable ((any Hashable & Sendable)?, F?) -> F
    ) {
        let box = EncoderBox(codec)
        self.init(
            write: { packet, writer throws(PacketError) in try box.write(packet, to: writer) },
            encode: { packet, output throws(PacketError) in
                try box.encoder.pointee.serializer.serialize(packet, into: &output)
            },
            adopt: { prepared in
                guard let parts = prepared.parts as? FormatParts<Header> else { return }
                let present = box.encoder.pointee.framing
                box.encoder.pointee = FramedCodec(
                    framing(prepared.context, present), parts.sending)
            })
    }

    @usableFromInline
    init(
        write: @escaping (any Packet, StreamWriter) throws(PacketError) -> Void,
        encode: @escaping (any Packet, inout PacketOutput) throws(PacketError) -> Void,
        adopt: @escaping (PreparedFormat) -> Void
    ) {
        self.write = write
        self.encode = encode
        self.adopt = adopt
    }
}
