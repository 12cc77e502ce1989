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
    @usableFromInline let table: PacketTable

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
    public func type(of id: UInt64) -> (any SluicePackets.Packet.Type)? { table.type(id) }

    // MARK: Reading

    /// The packet of exactly these bytes.
    ///
    /// Inlinable, so that the header's fields are visited without witnesses: half of the time.
    @inlinable
    public func deserialize(_ bytes: RawSpan) throws(PacketError) -> any SluicePackets.Packet {
        try bytes.withUnsafeBytes { bytes throws(PacketError) in
            var wire = FieldCoder(decoding: bytes, endianness, in: context)
            var header = Header()
            header.fields(&wire)
            if Header.saysSize, header.size != wire.remaining { wire.failSize(header.size) }
            if wire.hasFailed { try wire.endDecoding(Header.self, .ignored) }
            wire.beginRecord(endianness)
            var packet = try decode(header.id, &wire)
            header.apply(to: &packet)
            return packet
        }
    }

    @usableFromInline
    func decode(
        _ id: UInt64, _ wire: inout FieldCoder
    ) throws(PacketError) -> any SluicePackets.Packet {
        if let type = table.type(id) { return try decode(type, &wire) }
        if unknown == .refused { throw .malformed("no packet has the id \(id)") }
        var packet = UnknownPacket(id, [])
        packet.fields(&wire)
        try wire.endDecoding(UnknownPacket.self, .refused)
        return packet
    }

    private func decode<P: SluicePackets.Packet>(
        _ type: P.Type, _ wire: inout FieldCoder
    ) throws(PacketError) -> any SluicePackets.Packet {
        var packet = P()
        packet.fields(&wire)
        try wire.endDecoding(P.self, trailing)
        return packet
    }

    // MARK: Writing

    /// The header's bytes and the fields'.
    ///
    /// - Throws: ``PacketError/unencodable(_:)``, also for a packet that is not in the set.
    @inlinable
    public func serialize(
        _ packet: any SluicePackets.Packet, into output: inout PacketOutput
    ) throws(PacketError) {
        var header = Header()
        header.fill(from: packet)
        header.id = try id(of: packet)
        header.size = 0
        try withUnsafeTemporaryAllocation(byteCount: FieldCoder.scratchSize, alignment: 16) {
            scratch throws(PacketError) in
            try withUnsafeMutablePointer(to: &output) { output throws(PacketError) in
                var wire = FieldCoder(
                    encodingInto: output, scratch: scratch, endianness, in: context)
                header.fields(&wire)
                let length = wire.position
                if wire.hasFailed { try wire.endEncoding(Header.self) }
                wire.beginRecord(endianness)
                try encodeFields(of: packet, &wire)
                if Header.saysSize {
                    header.size = wire.position
                    try replace(header, length, &wire)
                }
                try wire.endEncoding(Header.self)
            }
        }
    }

    /// Writes the header once more, now that the size is known.
    @inlinable
    func replace(
        _ header: Header, _ length: Int, _ wire: inout FieldCoder
    ) throws(PacketError) {
        try withUnsafeTemporaryAllocation(byteCount: FieldCoder.scratchSize, alignment: 16) {
            scratch throws(PacketError) in
            var again = FieldCoder(
                encodingInto: nil, scratch: scratch, endianness, in: context)
            var header = header
            header.fields(&again)
            if !again.isAllGathered { again.failLongHeader() }
            if again.hasFailed { try again.endEncoding(Header.self) }
            wire.replaceBeginning(length, with: again.gathered)
        }
    }

    @usableFromInline
    func id(of packet: any SluicePackets.Packet) throws(PacketError) -> UInt64 {
        let type = Swift.type(of: packet)
        guard let id = packet.id(in: context) else {
            throw .unencodable("\(type) has no id in this context")
        }
        guard table.type(id) == type || type == UnknownPacket.self else {
            throw .unencodable("\(type) is not in the set")
        }
        return id
    }

    @usableFromInline
    func encodeFields<P: SluicePackets.Packet>(
        of packet: P, _ wire: inout FieldCoder
    ) throws(PacketError) {
        var packet = packet
        packet.fields(&wire)
        if wire.hasFailed { try wire.endEncoding(P.self) }
    }
}
