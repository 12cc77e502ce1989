// PacketSerializer: the packets of a set as one serializer. Floor 3; pure.

public import SluiceStreams

/// The packets of a set, each with its header before its fields.
///
/// What it gives is told apart by its type:
///
///     switch try await endpoint.receive() {
///     case let login as Login: …
///     case let chat as Chat: …
///     case let other?: print("not expected: \(other)")
///     case nil: return
///     }
public struct PacketSerializer<Header: PacketHeader>: Serializer {
    /// The kinds.
    public let packets: PacketSet
    /// The order of the bytes of integers and floats that do not say their own.
    public let endianness: Endianness
    /// What ids and fields may depend on.
    public let context: (any Hashable & Sendable)?
    /// What becomes of bytes behind the last field.
    public let trailing: TrailingBytes
    /// What becomes of packets that are not in the set.
    public let unknown: UnknownPackets
    private let table: PacketTable

    init(
        _ packets: PacketSet, _ endianness: Endianness, in context: (any Hashable & Sendable)?,
        trailing: TrailingBytes, unknown: UnknownPackets
    ) throws(PacketError) {
        self.packets = packets
        self.endianness = endianness
        self.context = context
        self.trailing = trailing
        self.unknown = unknown
        table = try PacketTable(packets, in: context)
    }

    /// The same in another context: for the packets after a handshake.
    ///
    /// - Throws: ``PacketError/duplicateID(_:types:)`` if two kinds have the same id there.
    public func with(context: (any Hashable & Sendable)?) throws(PacketError) -> Self {
        try Self(packets, endianness, in: context, trailing: trailing, unknown: unknown)
    }

    /// The kind that has this id here; `nil` if none has.
    public func type(of id: UInt64) -> (any Packet.Type)? { table.type(id) }

    // MARK: Reading

    /// The packet of exactly these bytes.
    public func deserialize(_ bytes: RawSpan) throws(PacketError) -> any SluicePackets.Packet {
        try bytes.withUnsafeBytes { bytes throws(PacketError) in
            var wire = FieldCoder(decoding: bytes, endianness, in: context)
            var header = Header()
            header.fields(&wire)
            if Header.saysSize, header.size != wire.remaining {
                wire.fail("size", "\(header.size), but \(wire.remaining) bytes follow")
            }
            if wire.hasFailed { try wire.endDecoding(Header.self, .ignored) }
            wire.beginRecord(endianness)
            var packet: any SluicePackets.Packet
            if let type = table.type(header.id) {
                packet = try decode(type, &wire)
            } else {
                packet = try decodeUnknown(header.id, &wire)
            }
            header.apply(to: &packet)
            return packet
        }
    }

    private func decode<P: SluicePackets.Packet>(
        _ type: P.Type, _ wire: inout FieldCoder
    ) throws(PacketError) -> any SluicePackets.Packet {
        var packet = P()
        packet.fields(&wire)
        try wire.endDecoding(P.self, trailing)
        return packet
    }

    private func decodeUnknown(
        _ id: UInt64, _ wire: inout FieldCoder
    ) throws(PacketError) -> any SluicePackets.Packet {
        if unknown == .refused { throw .malformed("no packet has the id \(id)") }
        var packet = UnknownPacket(id, [])
        packet.fields(&wire)
        try wire.endDecoding(UnknownPacket.self, .refused)
        return packet
    }

    // MARK: Writing

    /// The header's bytes and the fields'.
    ///
    /// - Throws: ``PacketError/unencodable(_:)``, also for a packet that is not in the set.
    public func serialize(
        _ packet: any SluicePackets.Packet, into output: inout PacketOutput
    ) throws(PacketError) {
        try encode(packet, into: &output)
    }

    private func encode<P: SluicePackets.Packet>(
        _ packet: P, into output: inout PacketOutput
    ) throws(PacketError) {
        guard let id = packet.id(in: context) else {
            throw .unencodable("\(P.self) has no id in this context")
        }
        guard P.self == UnknownPacket.self || table.type(id) == P.self else {
            throw .unencodable("\(P.self) is not in the set")
        }
        var header = Header()
        header.fill(from: packet)
        header.id = id
        header.size = 0
        let place = output.count
        try FieldCoder.encode(header, into: &output, endianness, in: context)
        let body = output.count
        try FieldCoder.encode(packet, into: &output, endianness, in: context)
        if Header.saysSize, output.count > body {
            header.size = output.count - body
            try replace(header, at: place, body, &output)
        }
    }

    /// Writes the header once more, now that the size is known.
    private func replace(
        _ header: Header, at place: Int, _ body: Int, _ output: inout PacketOutput
    ) throws(PacketError) {
        try withUnsafeTemporaryAllocation(byteCount: FieldCoder.scratchSize, alignment: 16) {
            scratch throws(PacketError) in
            var wire = FieldCoder(
                encodingInto: nil, scratch: scratch, endianness, in: context)
            var header = header
            header.fields(&wire)
            if !wire.hasFailed, wire.isAllGathered, wire.position == body - place {
                output.overwrite(
                    place, with: UnsafeRawBufferPointer(rebasing: scratch[..<wire.position]))
                return
            }
            // A length that takes another number of bytes, which is seldom.
            let fields = output.bytes(from: body)
            output.removeAll(from: place)
            try FieldCoder.encode(header, into: &output, endianness, in: context)
            output.append(fields)
        }
    }
}

extension PacketOutput {
    /// Replaces bytes that this packet has appended.
    fileprivate mutating func overwrite(_ place: Int, with bytes: UnsafeRawBufferPointer) {
        for index in stride(from: 0, to: bytes.count, by: 8) {
            let width = min(8, bytes.count - index)
            var bits: UInt64 = 0
            for offset in 0..<width { bits |= UInt64(bytes[index + offset]) << UInt64(8 * offset) }
            fill(place + index, with: bits, width: width, .little)
        }
    }
}
