// What stands before a packet's fields: its id, perhaps its size, and what the user puts there.
// Floor 3; pure.

/// A record in front of each packet of a protocol, which says the packet's id.
///
///     struct Head: SizedPacketHeader {
///         var size = 0
///         var id: UInt64 = 0
///
///         mutating func fields(_ wire: inout FieldCoder) {
///             wire.value("size", &size, as: UInt16.self)
///             wire.value("id", &id, as: UInt8.self)
///         }
///     }
public protocol PacketHeader: Record {
    /// The packet's id: set before it is written.
    var id: UInt64 { get set }
    /// Bytes of the packet's fields, without the header: set before it is written. Without meaning
    /// unless the header is a ``SizedPacketHeader``.
    var size: Int { get set }
    /// Whether the size is among the fields.
    static var saysSize: Bool { get }

    /// Takes its own fields from the packet that is going to be written; nothing by default.
    mutating func fill(from packet: any Packet)

    /// Gives its own fields to the packet that was read; nothing by default.
    func apply(to packet: inout any Packet)
}

/// A header that also says how long the packet is, which may frame a stream by itself:
/// ``PacketFraming``. It has at most 256 bytes.
public protocol SizedPacketHeader: PacketHeader {}

extension PacketHeader {
    /// Not said.
    @inlinable
    public var size: Int {
        get { 0 }
        set {}
    }
    /// It is not.
    @inlinable
    public static var saysSize: Bool { false }
    /// Nothing to take.
    @inlinable
    public mutating func fill(from packet: any Packet) {}
    /// Nothing to give.
    @inlinable
    public func apply(to packet: inout any Packet) {}
}

extension SizedPacketHeader {
    /// It is.
    @inlinable
    public static var saysSize: Bool { true }
}

/// A header that is the id, as an integer of one size.
public struct IDHeader<Number: FieldScalar & FixedWidthInteger & UnsignedInteger>: PacketHeader {
    /// The packet's.
    public var id: UInt64 = 0

    /// The id 0.
    @inlinable
    public init() {}

    /// The id.
    @inlinable
    public mutating func fields(_ wire: inout FieldCoder) {
        wire.value("id", &id, as: Number.self)
    }
}

/// A header that is the id, as unsigned LEB128.
public struct VarintIDHeader: PacketHeader {
    /// The packet's.
    public var id: UInt64 = 0

    /// The id 0.
    @inlinable
    public init() {}

    /// The id.
    @inlinable
    public mutating func fields(_ wire: inout FieldCoder) {
        wire.varint("id", &id)
    }
}
