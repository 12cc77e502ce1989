// Serializers that need no library: bytes and text. Floor 3; pure.

/// Packets that are their bytes.
public struct BytesSerializer: Serializer {
    /// Makes one.
    public init() {}

    /// A copy of the bytes.
    @inlinable
    public func deserialize(_ bytes: RawSpan) throws(PacketError) -> [UInt8] {
        bytes.withUnsafeBytes { Array($0) }
    }

    /// Long ones are received straight into their array.
    @inlinable
    public static var keepsBytes: Bool { true }

    /// The array itself.
    @inlinable
    public func deserialize(owning bytes: [UInt8]) throws(PacketError) -> [UInt8] { bytes }

    /// The bytes; 4 KiB or more by reference.
    @inlinable
    public func serialize(_ packet: [UInt8], into output: inout PacketOutput) throws(PacketError) {
        output.append(packet)
    }

    /// Their number.
    @inlinable
    public func size(of packet: [UInt8]) -> Int? { packet.count }
}

/// Packets that are text: UTF-8, or another ``TextEncoding``.
public struct TextSerializer: Serializer {
    /// How text is written.
    public let encoding: TextEncoding

    /// Text in UTF-8 by default.
    public init(_ encoding: TextEncoding = .utf8) {
        self.encoding = encoding
    }

    /// The text of exactly these bytes.
    public func deserialize(_ bytes: RawSpan) throws(PacketError) -> String {
        try encoding.text(of: bytes)
    }

    /// Its bytes.
    public func serialize(_ packet: String, into output: inout PacketOutput) throws(PacketError) {
        try encoding.append(packet, to: &output)
    }

    /// The number of its bytes.
    public func size(of packet: String) -> Int? { encoding.count(of: packet) }
}

/// Lines of text.
public typealias LineCodec = FramedCodec<LineFraming, TextSerializer>

extension FramedCodec where Frames == LineFraming, Values == TextSerializer {
    /// Lines of text without their terminator, in UTF-8 by default.
    public static func lines(
        _ terminator: LineFraming.Terminator = .lenient, encoding: TextEncoding = .utf8,
        limit: Int = PacketBounds.lineLimit
    ) -> LineCodec {
        LineCodec(LineFraming(terminator, limit: limit), TextSerializer(encoding))
    }
}
