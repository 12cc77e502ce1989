// PacketSet: the packets that make up a protocol, and what finds them by their id. Floor 3; pure.

public import SluiceStreams

/// The kinds of packets that one side may send: a protocol, or one direction of it.
///
///     let packets: PacketSet = [Login.self, Chat.self, Move.self]
///     let codec = FramedCodec(
///         LengthPrefixFraming(UInt16.self), try packets.serializer(.big, in: Game(version: 2)))
///
/// Where the directions differ, a ``StapledCodec`` is made of the codecs of two sets.
public struct PacketSet: ExpressibleByArrayLiteral, Sendable {
    /// The kinds.
    public let types: [any Packet.Type]

    /// A set of these kinds.
    public init(_ types: [any Packet.Type]) { self.types = types }
    /// A set of these kinds.
    public init(arrayLiteral types: any Packet.Type...) { self.types = types }

    /// The serializer of all packets of the set, with the id as one byte before the fields.
    ///
    /// - Parameters: as those with a header.
    public func serializer(
        _ endianness: Endianness, in context: (any Hashable & Sendable)? = nil,
        trailing: TrailingBytes = .refused, unknown: UnknownPackets = .kept
    ) throws(PacketError) -> PacketSerializer<IDHeader<UInt8>> {
        try serializer(
            IDHeader<UInt8>.self, endianness, in: context, trailing: trailing, unknown: unknown)
    }

    /// The serializer of all packets of the set, over any framing.
    ///
    /// - Parameters:
    ///   - header: what stands before the fields.
    ///   - endianness: of integers and floats that do not say their own.
    ///   - context: what ids and fields may depend on.
    ///   - trailing: whether bytes behind the last field are refused.
    ///   - unknown: what becomes of packets that are not in the set.
    /// - Throws: ``PacketError/duplicateID(_:types:)`` if two kinds have the same id here.
    public func serializer<Header: PacketHeader>(
        _ header: Header.Type, _ endianness: Endianness,
        in context: (any Hashable & Sendable)? = nil, trailing: TrailingBytes = .refused,
        unknown: UnknownPackets = .kept
    ) throws(PacketError) -> PacketSerializer<Header> {
        try PacketSerializer(
            self, endianness, in: context, trailing: trailing, unknown: unknown)
    }
}

/// What becomes of packets whose id is in no set.
public enum UnknownPackets: Hashable, Sendable {
    /// They arrive as ``UnknownPacket``.
    case kept
    /// They are malformed.
    case refused
}

/// The kinds of a set by their ids in one context.
@usableFromInline
final class PacketTable: Sendable {
    /// Ids below 256, which most are.
    private let small: [(any Packet.Type)?]
    private let large: [UInt64: any Packet.Type]

    init(
        _ set: PacketSet, in context: (any Hashable & Sendable)?
    ) throws(PacketError) {
        var small = [(any Packet.Type)?](repeating: nil, count: 256)
        var large: [UInt64: any Packet.Type] = [:]
        for type in set.types {
            guard let id = type.id.number(in: context) else { continue }
            let other = id < 256 ? small[Int(id)] : large[id]
            if let other, other != type {
                throw .duplicateID(id, types: ["\(other)", "\(type)"])
            }
            if id < 256 { small[Int(id)] = type } else { large[id] = type }
        }
        // A connection with a context of its own has a table of its own: as short as can be.
        self.small = Array(small[..<((small.lastIndex { $0 != nil } ?? -1) + 1)])
        self.large = large
    }

    func type(_ id: UInt64) -> (any Packet.Type)? {
        if id < UInt64(small.count) { return small[Int(id)] }
        return id < 256 ? nil : large[id]
    }
}
