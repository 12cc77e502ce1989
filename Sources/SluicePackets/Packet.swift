// Packet: a record that is told from others by its id. The contract of users' types. Floor 3; pure.

/// A record with an id: one kind of packet of a protocol.
///
///     struct Login: Packet {
///         static let id: PacketID = 0x2A
///         var name = ""
///
///         mutating func fields(_ wire: inout FieldCoder) {
///             wire.text("name", &name, .prefixed(.uint8))
///         }
///     }
///
/// A ``PacketSet`` of such types is a protocol.
public protocol Packet: Record {
    /// What its kind is called on the wire.
    static var id: PacketID { get }

    /// The id of this packet; its kind's, unless the type says otherwise. `nil` if it has none in
    /// this context.
    func id(in context: (any Hashable & Sendable)?) -> UInt64?
}

extension Packet {
    /// The id of its kind.
    public func id(in context: (any Hashable & Sendable)?) -> UInt64? {
        Self.id.number(in: context)
    }

    /// Whether the other packet is of the same type and equal.
    public func isEqual(to other: any Packet) -> Bool { (other as? Self) == self }
}

/// The number of a kind of packet: the same always, or depending on what the two sides have agreed
/// on.
///
///     static let id: PacketID = 0x2A
///     static let id = PacketID { (game: Game) in game.version < 3 ? 0x2A : 0x2B }
public struct PacketID: ExpressibleByIntegerLiteral, Sendable {
    enum Kind: Sendable {
        case none, fixed(UInt64), dependent(@Sendable ((any Hashable & Sendable)?) -> UInt64?)
    }

    let kind: Kind

    /// Always this number.
    public init(_ number: UInt64) { kind = .fixed(number) }
    /// Always this number.
    public init(integerLiteral number: UInt64) { kind = .fixed(number) }

    /// A number for each context, or none: then the packet does not exist there. It does not
    /// exist either where there is no context, or one of another type.
    ///
    /// - Parameter number: must give the same for equal contexts. Any thread.
    public init<C: Hashable & Sendable>(_ number: @escaping @Sendable (C) -> UInt64?) {
        kind = .dependent { context in (context as? C).flatMap(number) }
    }

    /// No number: the packet is never looked for.
    public static var none: PacketID { PacketID(kind: .none) }

    private init(kind: Kind) { self.kind = kind }

    /// The number where this is the context.
    public func number(in context: (any Hashable & Sendable)?) -> UInt64? {
        switch kind {
        case .none: nil
        case .fixed(let number): number
        case .dependent(let number): number(context)
        }
    }
}

/// A packet whose id this program does not know: it keeps its bytes, and is sent on as it came.
public struct UnknownPacket: Packet {
    /// None of its own.
    public static let id = PacketID.none
    /// The id it came with.
    public var number: UInt64
    /// What came behind the header.
    public var bytes: [UInt8]

    /// A packet of this id and these bytes.
    public init(_ number: UInt64, _ bytes: [UInt8]) {
        self.number = number
        self.bytes = bytes
    }

    /// Nothing, with the id 0.
    public init() { self.init(0, []) }

    /// The bytes.
    public mutating func fields(_ wire: inout FieldCoder) {
        wire.bytes("bytes", &bytes, .toEnd)
    }

    /// The id it came with.
    public func id(in context: (any Hashable & Sendable)?) -> UInt64? { number }

    /// Its id, and its bytes cut short.
    public func description(in context: (any Hashable & Sendable)?) -> String {
        var wire = FieldCoder(describingIn: context)
        wire.note("id", number)
        wire.note("bytes", bytes: bytes)
        return "UnknownPacket(\(wire.printed))"
    }
}
