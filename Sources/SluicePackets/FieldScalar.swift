// What fits in one integer on the wire: integers, Bool, Float and Double. Floor 3; pure.

/// A type that is the bits of an unsigned integer on the wire.
///
/// Integers of 8 to 128 bits, `Bool`, `Float` and `Double` are; not `Int` and `UInt`, whose size is
/// the machine's: say which one the wire has by `value(_:_:as:)`.
public protocol FieldScalar: Equatable, Sendable {
    /// The integer; its size is that on the wire.
    associatedtype WireBits: FixedWidthInteger & UnsignedInteger & Sendable
    /// The value of these bits: every pattern has one.
    init(wireBits: WireBits)
    /// The bits of the value.
    var wireBits: WireBits { get }
}

extension FieldScalar where Self: FixedWidthInteger, Magnitude == WireBits {
    /// The same bits.
    @inlinable
    public init(wireBits: Magnitude) { self.init(truncatingIfNeeded: wireBits) }
    /// The same bits.
    @inlinable
    public var wireBits: Magnitude { Magnitude(truncatingIfNeeded: self) }
}

extension UInt8: FieldScalar {}
extension UInt16: FieldScalar {}
extension UInt32: FieldScalar {}
extension UInt64: FieldScalar {}
extension UInt128: FieldScalar {}
extension Int8: FieldScalar {}
extension Int16: FieldScalar {}
extension Int32: FieldScalar {}
extension Int64: FieldScalar {}
extension Int128: FieldScalar {}

extension Bool: FieldScalar {
    /// Everything but 0 is true.
    @inlinable
    public init(wireBits: UInt8) { self = wireBits != 0 }
    /// 1 for true.
    @inlinable
    public var wireBits: UInt8 { self ? 1 : 0 }
}

extension Float: FieldScalar {
    /// As IEEE 754 has them.
    @inlinable
    public init(wireBits: UInt32) { self.init(bitPattern: wireBits) }
    /// As IEEE 754 has them.
    @inlinable
    public var wireBits: UInt32 { bitPattern }
}

extension Double: FieldScalar {
    /// As IEEE 754 has them.
    @inlinable
    public init(wireBits: UInt64) { self.init(bitPattern: wireBits) }
    /// As IEEE 754 has them.
    @inlinable
    public var wireBits: UInt64 { bitPattern }
}

/// A choice that may be one this program does not know, and is kept then.
///
///     var kind = Open(Kind.text)      // kind.known: Kind?
public struct Open<Choice: RawRepresentable & Sendable>: RawRepresentable, Hashable, Sendable
where Choice.RawValue: Hashable & Sendable {
    /// What is on the wire.
    public var rawValue: Choice.RawValue

    /// Any value.
    @inlinable
    public init(rawValue: Choice.RawValue) { self.rawValue = rawValue }
    /// A known one.
    @inlinable
    public init(_ choice: Choice) { rawValue = choice.rawValue }
    /// The choice, if this program knows it.
    @inlinable
    public var known: Choice? { Choice(rawValue: rawValue) }
}
