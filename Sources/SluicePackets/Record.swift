// Record: a value that is its fields, one behind the other. The contract of users' types. Floor 3;
// pure.

public import SluiceStreams

/// A struct whose bytes are its fields, named once and in order for both directions.
///
///     struct Position: Record {
///         var x: Int32 = 0
///         var y: Int32 = 0
///
///         mutating func fields(_ wire: inout FieldCoder) {
///             wire.value("x", &x)
///             wire.value("y", &y)
///         }
///     }
///
/// The same method reads, writes and prints, so the directions cannot differ. Plain Swift makes
/// fields conditional, on fields before them too. Nothing in it can fail half-way: after the first
/// mistake of the peer's bytes, or the first value that cannot be written, the coder reads and
/// writes nothing more, and what was being decoded is thrown away.
public protocol Record: Equatable, Sendable, CustomStringConvertible {
    /// Every field with its default.
    init()

    /// Visits the fields in their order on the wire.
    ///
    /// It must depend on nothing but the fields visited before and on the coder. It is called on
    /// any thread, for writing on a copy.
    mutating func fields(_ wire: inout FieldCoder)

    /// One line: the type and each field with its label, long ones cut short, of a record whose
    /// fields depend on a context.
    func description(in context: (any Hashable & Sendable)?) -> String
}

extension Record {
    /// One line: the type and each field with its label, long ones cut short.
    public var description: String { description(in: nil) }

    /// What ``fields(_:)`` visits.
    public func description(in context: (any Hashable & Sendable)?) -> String {
        var wire = FieldCoder(describingIn: context)
        var copy = self
        copy.fields(&wire)
        return "\(Self.self)(\(wire.printed))"
    }

    /// Reads a record from exactly these bytes.
    ///
    /// - Parameters:
    ///   - bytes: all of it, and nothing else.
    ///   - endianness: of integers and floats that do not say their own.
    ///   - context: what fields may ask for.
    /// - Throws: ``PacketError/malformed(_:)``.
    @inlinable
    public init(
        decoding bytes: [UInt8], _ endianness: Endianness,
        in context: (any Hashable & Sendable)? = nil
    ) throws(PacketError) {
        self = try RecordSerializer(Self.self, endianness, context: context)
            .deserialize(bytes.span.bytes)
    }

    /// The record's bytes.
    ///
    /// - Parameters: as for reading.
    /// - Throws: ``PacketError/unencodable(_:)``.
    @inlinable
    public func encoded(
        _ endianness: Endianness, in context: (any Hashable & Sendable)? = nil
    ) throws(PacketError) -> [UInt8] {
        try PacketOutput.bytes { output throws(PacketError) in
            try FieldCoder.encode(self, into: &output, endianness, in: context)
        }
    }

    /// Bytes of the record's defaults if all its fields are of fixed size, else `nil`.
    ///
    /// It cannot see a condition in ``fields(_:)``, nor that a count is another field's value.
    public static var fixedSize: Int? {
        var wire = FieldCoder(sizingIn: nil)
        var record = Self()
        record.fields(&wire)
        return wire.hasFailed || wire.varies ? nil : wire.position
    }
}

/// What becomes of bytes behind the last field.
public enum TrailingBytes: Hashable, Sendable {
    /// The packet is malformed.
    case refused
    /// They are dropped, unseen. To keep them, end the record with `bytes(_:_:.toEnd)`.
    case ignored
}

/// Records of one type as packets, over any framing.
public struct RecordSerializer<R: Record>: Serializer {
    /// The order of integers' bytes, unless a field says its own.
    public let endianness: Endianness
    /// What becomes of bytes behind the last field.
    public let trailing: TrailingBytes
    /// What fields may ask for by ``FieldCoder/context(or:)``.
    public let context: (any Hashable & Sendable)?

    /// Records of `type`.
    ///
    /// - Parameters:
    ///   - type: the record's.
    ///   - endianness: of integers and floats: big is the network's order.
    ///   - trailing: refused by default.
    ///   - context: none by default.
    public init(
        _ type: R.Type = R.self, _ endianness: Endianness, trailing: TrailingBytes = .refused,
        context: (any Hashable & Sendable)? = nil
    ) {
        self.endianness = endianness
        self.trailing = trailing
        self.context = context
    }

    /// The record of exactly these bytes.
    @inlinable
    public func deserialize(_ bytes: RawSpan) throws(PacketError) -> R {
        try bytes.withUnsafeBytes { bytes throws(PacketError) in
            var wire = FieldCoder(decoding: bytes, endianness, in: context)
            var record = R()
            record.fields(&wire)
            try wire.endDecoding(R.self, trailing)
            return record
        }
    }

    /// The fields' bytes.
    @inlinable
    public func serialize(_ packet: R, into output: inout PacketOutput) throws(PacketError) {
        try FieldCoder.encode(packet, into: &output, endianness, in: context)
    }
}

/// Records of fixed size, one behind the other: the structs of a C program or of a file.
public typealias RecordCodec<R: Record> = FramedCodec<FixedSizeFraming, RecordSerializer<R>>

extension FramedCodec where Frames == FixedSizeFraming {
    /// Records of one fixed size, without anything in between.
    ///
    /// - Parameters:
    ///   - type: a record whose fields are all of fixed size, 1 byte or more together.
    ///   - endianness: of integers and floats.
    public static func records<R: Record>(
        _ type: R.Type, _ endianness: Endianness
    ) -> RecordCodec<R> where Values == RecordSerializer<R> {
        guard let size = R.fixedSize, size > 0 else {
            preconditionFailure("the fields of \(R.self) have no fixed size: use another framing")
        }
        return RecordCodec(FixedSizeFraming(size), RecordSerializer(R.self, endianness))
    }
}
