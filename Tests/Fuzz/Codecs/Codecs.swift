// The codecs that are fuzzed, by name: every framing, and every serializer in a framing.

import Sluice
import SluiceJSON
import SluiceZlib

/// Any JSON value.
enum AnyJSON: Codable, Equatable, Sendable {
    case null
    case flag(Bool)
    case number(Double)
    case text(String)
    case array([AnyJSON])
    case object([String: AnyJSON])

    init(from decoder: any Decoder) throws {
        let single = try decoder.singleValueContainer()
        if single.decodeNil() {
            self = .null
        } else if let flag = try? single.decode(Bool.self) {
            self = .flag(flag)
        } else if let number = try? single.decode(Double.self) {
            self = .number(number)
        } else if let text = try? single.decode(String.self) {
            self = .text(text)
        } else if let array = try? single.decode([AnyJSON].self) {
            self = .array(array)
        } else {
            self = .object(try single.decode([String: AnyJSON].self))
        }
    }

    func encode(to encoder: any Encoder) throws {
        var single = encoder.singleValueContainer()
        switch self {
        case .null: try single.encodeNil()
        case .flag(let flag): try single.encode(flag)
        case .number(let number): try single.encode(number)
        case .text(let text): try single.encode(text)
        case .array(let array): try single.encode(array)
        case .object(let object): try single.encode(object)
        }
    }

    /// Something with a little of everything in it.
    init(_ bytes: [UInt8]) {
        let text = String(decoding: bytes, as: UTF8.self)
        let numbers = bytes.prefix(3).map { AnyJSON.number(Double($0) / 7) }
        switch bytes.count % 4 {
        case 0: self = .array(numbers + [.null, .flag(true), .text(text)])
        case 1: self = .object([text: .array(numbers), "": .object([:])])
        case 2: self = .text(text)
        default: self = numbers[0]
        }
    }
}

/// A checksum that needs no library.
private let sum = Checksum(size: 2) { bytes in
    var sum: UInt16 = 1
    bytes.withUnsafeBytes { for byte in $0 { sum = sum &* 31 &+ UInt16(byte) } }
    return [UInt8(sum >> 8), UInt8(sum & 0xFF)]
}

private func framed<F: Framing>(
    _ make: @escaping @Sendable (Int) -> F,
    isKept: @escaping @Sendable ([UInt8]) -> Bool = { _ in true }
) -> Run {
    fuzzing({ FramedCodec(make($0), BytesSerializer()) }, { $0 }, isKept: isKept)
}

private func inLines<S: Serializer>(
    _ serializer: S, _ packet: @escaping @Sendable ([UInt8]) -> S.Packet
) -> Run where S.Packet: Equatable {
    fuzzing({ FramedCodec(LineFraming(.crlf, limit: $0), serializer) }, packet)
}

@Sendable private func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

let codecs: [String: Run] = framings.merging(serializers) { first, _ in first }

private let framings: [String: Run] = [
    // A line that ends with a carriage return loses it: the peer cannot know whose it is.
    "lines-lenient": framed({ LineFraming(limit: $0) }, isKept: { $0.last != 13 }),
    "lines-lf": framed({ LineFraming(.lf, limit: $0) }),
    "lines-crlf": framed({ LineFraming(.crlf, limit: $0) }),
    "separator": framed({ SeparatorFraming([97, 97, 98], limit: $0) }),
    "nul": framed({ SeparatorFraming.nulTerminated(limit: $0) }),
    "fixed": framed({ FixedSizeFraming(min($0, 100)) }),
    "prefix-1": framed({ LengthPrefixFraming(UInt8.self, limit: $0) }),
    "prefix-2": framed({ LengthPrefixFraming(UInt16.self, .little, limit: $0) }),
    "prefix-4": framed({ LengthPrefixFraming(UInt32.self, includesPrefix: true, limit: $0) }),
    "prefix-8": framed({ LengthPrefixFraming(UInt64.self, limit: $0) }),
    "varint-leb128": framed({ VarintPrefixFraming(.leb128, limit: $0) }),
    "varint-base128": framed({ VarintPrefixFraming(.base128, limit: $0) }),
    "netstring": framed({ NetstringFraming(limit: $0) }),
    // The framing fills the length in, so what is sent has it already or is not the same.
    "header": framed(
        { HeaderFraming(headerSize: 4, length: UInt16.self, at: 1, limit: max(4, $0)) },
        isKept: { $0.count > 3 && Int($0[1]) << 8 + Int($0[2]) == $0.count - 4 }),
    "header-less": framed(
        {
            HeaderFraming(
                headerSize: 8, length: UInt64.self, at: 0, .little, counting: .frameLess(-3),
                limit: max(8, $0))
        }, isKept: { $0.count > 7 && $0[0] == $0.count + 3 && !$0[1..<8].contains { $0 != 0 } }),
]

private let serializers: [String: Run] = [
    "text-utf8": inLines(TextSerializer(), text),
    "text-ascii": inLines(TextSerializer(.ascii), text),
    "text-latin1": inLines(TextSerializer(.latin1), text),
    "base64": inLines(Base64Serializer(BytesSerializer()), { $0 }),
    "checksum": inLines(
        Base64Serializer(ChecksumSerializer(BytesSerializer(), sum), .standard), { $0 }),
    "json-lines": fuzzing({ JSONLineCodec<AnyJSON>.jsonLines(limit: $0) }, { AnyJSON($0) }),
    "json": fuzzing({ FramedCodec.concatenatedJSON(AnyJSON.self, limit: $0) }, { AnyJSON($0) }),
    "zlib": fuzzing({ ZlibCodec(BytesSerializer(), limit: $0) }, { $0 }),
    "zlib-frames": fuzzing(
        {
            FramedCodec(
                LengthPrefixFraming(UInt16.self, limit: 1_000),
                ZlibSerializer(BytesSerializer(), limit: $0))
        }, { $0 }, frameLimit: 1_000),
    "converted": fuzzing(
        {
            LineCodec.lines(.lf, limit: $0).map(
                sending: { (number: Int) in "\(number)" },
                receiving: { text throws(PacketError) -> Int in
                    guard let number = Int(text) else { throw .malformed("no number") }
                    return number
                })
        }, { $0.reduce(0) { $0 &* 256 &+ Int($1) } }),
]
