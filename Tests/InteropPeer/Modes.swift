// The modes: one for each wire format of EasyNetwork 1.2.0 that there is a codec for, and those of
// cs.packetstream and pak.

import Sluice
import SluiceCrypto
import SluiceJSON
import SluiceZlib

/// What JSON says of anything, compared as such.
struct Thing: Codable, Equatable, Sendable {
    var id: Int
    var name: String
    var values: [Double]
    var part: [Thing]?
}

/// Any JSON text.
enum JSONValue: Codable, Equatable, Sendable {
    case null
    case truth(Bool)
    case integer(Int)
    case real(Double)
    case text(String)
    case array([JSONValue])
    case object([String: JSONValue])

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if container.decodeNil() {
            self = .null
        } else if let value = try? container.decode(Bool.self) {
            self = .truth(value)
        } else if let value = try? container.decode(Int.self) {
            self = .integer(value)
        } else if let value = try? container.decode(Double.self) {
            self = .real(value)
        } else if let value = try? container.decode(String.self) {
            self = .text(value)
        } else if let value = try? container.decode([JSONValue].self) {
            self = .array(value)
        } else {
            self = .object(try container.decode([String: JSONValue].self))
        }
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .null: try container.encodeNil()
        case .truth(let value): try container.encode(value)
        case .integer(let value): try container.encode(value)
        case .real(let value): try container.encode(value)
        case .text(let value): try container.encode(value)
        case .array(let value): try container.encode(value)
        case .object(let value): try container.encode(value)
        }
    }
}

/// Two integers in eight bytes, as struct.Struct("!ii") has them.
struct Pair: Equatable, Sendable {
    var first: Int32
    var second: Int32
}

struct PairSerializer: Serializer {
    func deserialize(_ bytes: RawSpan) throws(PacketError) -> Pair {
        guard bytes.byteCount == 8 else { throw .malformed("a pair has 8 bytes") }
        let first = bytes.unsafeLoadUnaligned(fromByteOffset: 0, as: Int32.self)
        let second = bytes.unsafeLoadUnaligned(fromByteOffset: 4, as: Int32.self)
        return Pair(first: first.bigEndian, second: second.bigEndian)
    }

    func serialize(_ packet: Pair, into output: inout PacketOutput) throws(PacketError) {
        output.append(integer: packet.first)
        output.append(integer: packet.second)
    }
}

extension Mode {
    /// EasyNetwork's limit of a packet, and ours here.
    private static let limit = 65_536

    /// EasyNetwork sends nothing for an empty line, so the echo of one would never come.
    private static let texts = [
        "hello", "two words", "é ü 漢", "x", String(repeating: "long ", count: 12_000),
    ]

    private static let things = [
        Thing(id: 0, name: "", values: []), Thing(id: -1, name: "\"\\\n/é漢", values: [0.5, 1e300]),
        Thing(id: 2, name: "tree", values: [], part: [Thing(id: 3, name: "leaf", values: [1])]),
        Thing(id: .max, name: "x", values: [1]),
        Thing(id: 4, name: String(repeating: "y", count: 40_000), values: [0.25, -7]),
    ]

    private static let pairs = [
        Pair(first: 0, second: 0), Pair(first: .min, second: .max), Pair(first: -1, second: 10),
    ]

    /// One of them as long as a datagram nearly can be.
    private static let values: [JSONValue] = [
        .object([:]), .array([]), .text("\"\\\n/é漢🦜"),
        .object([
            "none": .null, "é": .array([.object([:]), .array([]), .truth(true)]), "": .text(""),
        ]),
        .integer(.min), .real(-0.5), .real(1e300), .null, .truth(false), .text(""),
        .object(["y": .text(String(repeating: "y", count: 60_000))]),
    ]

    private static let json = JSONSerializer<Thing>()

    /// By name, as the script knows them.
    static let all = plain.merging(withCrypto) { first, _ in first }

    private static let plain: [String: Mode] = [
        "lines-lf": Mode(LineCodec.lines(.lf, limit: limit), texts),
        "lines-crlf": Mode(LineCodec.lines(.crlf, limit: limit), texts),
        "json-lines": Mode(JSONLineCodec<Thing>.jsonLines(), things),
        "json": Mode(FramedCodec<JSONFraming, JSONSerializer<Thing>>.concatenatedJSON(), things),
        "struct": Mode(FramedCodec(FixedSizeFraming(8), PairSerializer()), pairs),
        "base64": Mode(
            FramedCodec(LineFraming(.crlf, limit: limit), Base64Serializer(json)), things),
        "zlib": Mode(ZlibCodec(json, limit: 1 << 20), things),
        "zlib-text": Mode(ZlibCodec(TextSerializer(), limit: 1 << 20), [""] + texts),
        "zlib-base64": Mode(
            FramedCodec(
                LineFraming(.crlf, limit: limit),
                Base64Serializer(ZlibSerializer(json, limit: 1 << 20))), things),
        "udp-json": Mode(datagrams: JSONSerializer<JSONValue>(), values),
        "requests": Mode(requestsOn: 0..<1),
        "requests-channels": Mode(requestsOn: 0..<4),
        "pak": Mode(Game()),
        "unix-descriptors": Mode(descriptorsBeside: .lines(.lf, limit: limit)),
    ]
    #if Crypto
        private static let withCrypto: [String: Mode] = [
            "base64-sha256": Mode(
                FramedCodec(
                    LineFraming(.crlf, limit: limit),
                    Base64Serializer(ChecksumSerializer(json, .sha256), .standard)), things),
            "base64-hmac": Mode(
                FramedCodec(
                    LineFraming(.crlf, limit: limit),
                    Base64Serializer(
                        ChecksumSerializer(TextSerializer(), .hmacSHA256(key: Array(0..<32))))),
                [""] + texts.dropLast()),
        ]
    #else
        private static let withCrypto: [String: Mode] = [:]
    #endif
}
