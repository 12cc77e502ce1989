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

/// Packets that are UTF-8 text; bytes that are not are malformed.
public struct TextSerializer: Serializer {
    /// Makes one.
    public init() {}

    /// The text of exactly these bytes.
    public func deserialize(_ bytes: RawSpan) throws(PacketError) -> String {
        let text = bytes.withUnsafeBytes { String(validating: $0, as: UTF8.self) }
        guard let text else { throw .malformed("not UTF-8") }
        return text
    }

    /// Its UTF-8 bytes.
    public func serialize(_ packet: String, into output: inout PacketOutput) throws(PacketError) {
        output.append(packet)
    }

    /// The number of its UTF-8 bytes.
    public func size(of packet: String) -> Int? { packet.utf8.count }
}

/// Lines of text.
public typealias LineCodec = FramedCodec<LineFraming, TextSerializer>

extension FramedCodec where Frames == LineFraming, Values == TextSerializer {
    /// Lines of UTF-8 text without their terminator.
    public static func lines(
        _ terminator: LineFraming.Terminator = .lenient, limit: Int = PacketBounds.lineLimit
    ) -> LineCodec {
        LineCodec(LineFraming(terminator, limit: limit), TextSerializer())
    }
}
