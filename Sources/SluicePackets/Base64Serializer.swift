// Base64 around another serializer, so that any packet fits into a line. Floor 3; pure.

/// Writes another serializer's bytes in base64, RFC 4648, with padding.
///
/// Reading is strict: a character of another alphabet, missing padding, or bits that no encoder
/// sets are malformed. Line feeds cannot occur, so it fits into a ``LineFraming``.
public struct Base64Serializer<Inner: Serializer>: Serializer {
    /// Makes and takes the bytes.
    public let inner: Inner
    /// Which characters are used.
    public let alphabet: Base64Alphabet

    /// Puts base64 around `inner`, with the URL-safe alphabet by default.
    public init(_ inner: Inner, _ alphabet: Base64Alphabet = .urlSafe) {
        self.inner = inner
        self.alphabet = alphabet
    }

    /// The value of the bytes that the characters stand for.
    public func deserialize(_ bytes: RawSpan) throws(PacketError) -> Inner.Packet {
        guard let plain = alphabet.decode(bytes) else { throw .malformed("not base64") }
        return try inner.deserialize(plain.span.bytes)
    }

    /// The characters of the value's bytes.
    public func serialize(
        _ packet: Inner.Packet, into output: inout PacketOutput
    ) throws(PacketError) {
        let place = output.count
        try inner.serialize(packet, into: &output)
        let plain = output.bytes(from: place)
        output.removeAll(from: place)
        output.append(alphabet.encode(plain.span.bytes))
    }

    /// Known if the inner one is.
    public func size(of packet: Inner.Packet) -> Int? {
        guard let count = inner.size(of: packet), count >= 0, count < .max / 2 else { return nil }
        return (count + 2) / 3 * 4
    }
}

/// The characters of base64.
public enum Base64Alphabet: Hashable, Sendable {
    /// With `+` and `/`: RFC 4648, section 4.
    case standard
    /// With `-` and `_`: section 5.
    case urlSafe

    /// The characters of some bytes, with padding.
    public func encode(_ bytes: RawSpan) -> [UInt8] {
        let characters = encoding
        let count = bytes.byteCount
        var text: [UInt8] = []
        text.reserveCapacity(count / 3 * 4 + 4)
        for start in stride(from: 0, to: count, by: 3) {
            let length = min(3, count - start)
            var group: UInt32 = 0
            for index in 0..<3 {
                group = group << 8 | (index < length ? UInt32(bytes.byte(at: start + index)) : 0)
            }
            for index in 0..<4 {
                let six = Int(group >> UInt32(18 - 6 * index) & 63)
                text.append(index <= length ? characters[six] : padding)
            }
        }
        return text
    }

    /// The bytes that some characters stand for; `nil` if they are not base64.
    public func decode(_ text: RawSpan) -> [UInt8]? {
        let count = text.byteCount
        guard count % 4 == 0 else { return nil }
        var pads = 0
        while pads < 2, pads < count, text.byte(at: count - 1 - pads) == padding { pads += 1 }
        let values = decoding
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count / 4 * 3)
        for start in stride(from: 0, to: count, by: 4) {
            let length = start + 4 == count ? 4 - pads : 4
            var group: UInt32 = 0
            for index in 0..<length {
                let six = values[Int(text.byte(at: start + index))]
                if six > 63 { return nil }
                group |= UInt32(six) << UInt32(18 - 6 * index)
            }
            // Bits behind the last byte: two spellings of the same bytes are one too many.
            if group & (0xFFFF_FFFF >> UInt32(8 * length)) != 0 { return nil }
            for index in 0..<(length - 1) {
                bytes.append(UInt8(truncatingIfNeeded: group >> UInt32(16 - 8 * index)))
            }
        }
        return bytes
    }

    private var encoding: [UInt8] { self == .standard ? standardEncoding : urlSafeEncoding }
    private var decoding: [UInt8] { self == .standard ? standardDecoding : urlSafeDecoding }
}

private let padding = UInt8(ascii: "=")
private let standardEncoding = characters("+/")
private let urlSafeEncoding = characters("-_")
private let standardDecoding = values(of: standardEncoding)
private let urlSafeDecoding = values(of: urlSafeEncoding)

private func characters(_ last: String) -> [UInt8] {
    Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789\(last)".utf8)
}

/// For each byte its six bits, or 255.
private func values(of characters: [UInt8]) -> [UInt8] {
    var values = [UInt8](repeating: 255, count: 256)
    for (value, character) in characters.enumerated() { values[Int(character)] = UInt8(value) }
    return values
}
