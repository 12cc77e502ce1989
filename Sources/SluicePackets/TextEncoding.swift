// How text is written as bytes. Floor 3; pure.

/// An encoding of text.
public enum TextEncoding: Hashable, Sendable {
    /// UTF-8; bytes that are not are malformed.
    case utf8
    /// ASCII; a byte above 127 is malformed, a character above it is `unencodable`.
    case ascii
    /// ISO 8859-1: each byte is the character of that number; one above 255 is `unencodable`.
    case latin1

    /// The text of exactly these bytes.
    ///
    /// - Throws: ``PacketError/malformed(_:)``.
    public func text(of bytes: RawSpan) throws(PacketError) -> String {
        switch self {
        case .utf8:
            guard let text = bytes.withUnsafeBytes({ String(validating: $0, as: UTF8.self) })
            else { throw .malformed("not UTF-8") }
            return text
        case .ascii:
            guard bytes.withUnsafeBytes({ $0.allSatisfy { $0 < 0x80 } }) else {
                throw .malformed("not ASCII")
            }
            return bytes.withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
        case .latin1:
            var text = ""
            text.unicodeScalars.append(
                contentsOf: bytes.withUnsafeBytes { $0.map { Unicode.Scalar($0) } })
            return text
        }
    }

    /// Appends a text's bytes.
    ///
    /// - Throws: ``PacketError/unencodable(_:)`` for a character that the encoding does not have.
    public func append(_ text: String, to output: inout PacketOutput) throws(PacketError) {
        switch self {
        case .utf8: output.append(text)
        case .ascii:
            guard text.utf8.allSatisfy({ $0 < 0x80 }) else { throw .unencodable("not ASCII") }
            output.append(text)
        case .latin1:
            var bytes: [UInt8] = []
            bytes.reserveCapacity(text.utf8.count)
            for scalar in text.unicodeScalars {
                guard let byte = UInt8(exactly: scalar.value) else {
                    throw .unencodable("not ISO 8859-1")
                }
                bytes.append(byte)
            }
            output.append(bytes)
        }
    }

    /// How many bytes that will be, if all its characters can be written.
    public func count(of text: String) -> Int {
        self == .latin1 ? text.unicodeScalars.count : text.utf8.count
    }
}
