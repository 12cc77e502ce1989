// JSON as packets, one a line and one after the other; hostile JSON is an ordinary error.

import Sluice
import SluiceJSON
import SluiceTestKit
import Testing

/// Something of most kinds that JSON has.
struct Thing: Codable, Equatable, Sendable {
    var id: Int
    var name: String
    var values: [Double]
    var part: [Thing]?

    static let some = [
        Thing(id: 0, name: "", values: []), Thing(id: .min, name: "\"\\\n/é漢\u{0}", values: [0.1]),
        Thing(id: .max, name: "]}[{", values: [-1, 1e300, 5e-300], part: []),
        Thing(id: 1, name: "a", values: [], part: [Thing(id: 2, name: "}", values: [2])]),
    ]
}

/// Any JSON value, as deep as it is.
enum AnyJSON: Codable, Equatable, Sendable {
    case leaf
    indirect case array([AnyJSON])

    init(from decoder: any Decoder) throws {
        guard var list = try? decoder.unkeyedContainer() else {
            self = .leaf
            return
        }
        var values: [AnyJSON] = []
        while !list.isAtEnd { values.append(try list.decode(AnyJSON.self)) }
        self = .array(values)
    }

    func encode(to encoder: any Encoder) throws {
        switch self {
        case .leaf:
            var single = encoder.singleValueContainer()
            try single.encode(0)
        case .array(let values):
            var list = encoder.unkeyedContainer()
            for value in values { try list.encode(value) }
        }
    }
}

@Suite struct JSONTests {
    @Test func `JSON passes the codec suite by lines, concatenated, and in other frames`() throws {
        let things = Thing.some.map { (sent: $0, received: $0) }
        try checkCodec(JSONLineCodec<Thing>.jsonLines(), things)
        try checkCodec(FramedCodec.concatenatedJSON(Thing.self), things)
        try checkCodec(FramedCodec(LengthPrefixFraming(), JSONSerializer<Thing>()), things)
        try checkCodec(FramedCodec(NetstringFraming(), JSONSerializer<Thing>()), things)
        let bare = FramedCodec.concatenatedJSON(Double.self)
        try checkCodec(bare, [0, -1.5, 1e300].map { (sent: $0, received: $0) })
        let strings = FramedCodec.concatenatedJSON(String.self)
        try checkCodec(strings, ["", "\"", "\\", "a b\n"].map { (sent: $0, received: $0) })
    }

    @Test func `what is sent is compact and one line`() throws {
        let thing = Thing(id: 1, name: "a/b\n", values: [0.5])
        let text = String(decoding: try JSONSerializer<Thing>().encodeWhole(thing), as: UTF8.self)
        #expect(!text.contains("\n") && !text.contains(" ") && text.contains("a/b\\n"))
        #expect(try JSONLineCodec<Thing>.jsonLines().encodeWhole(thing).last == 10)
        #expect(try FramedCodec.concatenatedJSON(Thing.self).encodeWhole(thing).last != 10)
        let bare = FramedCodec.concatenatedJSON(Int.self)
        #expect(try bare.encodeWhole(12) == bytes("12\n"))
        #expect(try bare.decodeWhole(bytes(" 12\n")) == 12)
    }

    @Test(arguments: 1...9) func `texts one after the other are told apart, in every chunking`(
        _ size: Int
    ) {
        let texts = #" {"a":"}\"]"} [1,[2,"["]]"x\\" "y\"z" 12  true"# + "\r\n\t{}[]null\n-"
        let codec = FramedCodec(JSONFraming(), TextSerializer())
        #expect(
            CodecFeed.results(codec, bytes(texts), pieces: [size])
                == [
                    .packet(#"{"a":"}\"]"}"#), .packet(#"[1,[2,"["]]"#), .packet(#""x\\""#),
                    .packet(#""y\"z""#), .packet("12"), .packet("true"), .packet("{}"),
                    .packet("[]"), .packet("null"), .error(.truncated(received: 1)),
                ])
    }

    @Test func `blanks at the end are the end`() {
        let codec = FramedCodec(JSONFraming(), TextSerializer())
        #expect(CodecFeed.results(codec, bytes("{} \n\n "), pieces: [1]) == [.packet("{}")])
        #expect(
            CodecFeed.results(codec, bytes("{}]x {}"), pieces: [2])
                == [.packet("{}"), .packet("]"), .packet("x"), .packet("{}")])
    }

    // ENDPOINTS 36, 40, 41.
    @Test func `a limit is kept on both sides, and over it the next text is received`() throws {
        try checkLimits(
            smallest: 2, goesOn: true,
            payload: {
                [0x22] + Array(repeating: 0x78, count: $0 - 2) + [0x22]
            }
        ) { JSONFraming(limit: $0) }
        try checkLimits(
            smallest: 2, goesOn: true,
            payload: {
                Array(repeating: 0x5B, count: $0 / 2) + Array(repeating: 0x20, count: $0 % 2)
                    + Array(repeating: 0x5D, count: $0 / 2)
            }
        ) { JSONFraming(limit: $0) }
        try checkLimits(
            smallest: 1, goesOn: true,
            payload: {
                Array(repeating: 0x37, count: $0)
            }
        ) { JSONFraming(limit: $0) }
    }

    @Test func `a text over the limit that is cut is told, though its bytes are gone`() {
        let codec = FramedCodec(JSONFraming(limit: 10), TextSerializer())
        for size in 1...40 {
            let open = bytes("[" + String(repeating: "1", count: 30))
            #expect(
                CodecFeed.results(codec, open, pieces: [size])
                    == [.error(.limitExceeded(limit: 10))])
        }
    }

    @Test func `what is not one text is not sent between others`() {
        let codec = FramedCodec(JSONFraming(), TextSerializer())
        for text in ["", " 1", "1 2", "{}{}", "[", "\"", "{}]", "{} ", "1\n"] {
            #expect(throws: PacketError.self) { try codec.encodeWhole(text) }
        }
    }

    // ENDPOINTS 5 and the defect 18 that is not to be repeated.
    @Test(arguments: [
        "", "{", "nul", "[1", "{\"id\":1}", "[[[[", "\"",
        "{\"id\":\"x\",\"name\":\"\",\"values\":[]}",
        "{\"id\":99999999999999999999999,\"name\":\"\",\"values\":[]}",
        "{\"id\":1.5,\"name\":\"\",\"values\":[]}", "{\"id\":1,\"name\":\"\",\"values\":[1e999]}",
        "{\"id\":1,\"name\":\"\\ud800\",\"values\":[]}", "NaN", "Infinity", "\u{FEFF}{}", "1 2",
    ])
    func `a line that makes no value is malformed, and the next one is received`(
        _ text: String
    ) throws {
        let codec = JSONLineCodec<Thing>.jsonLines()
        let next = try codec.encodeWhole(Thing.some[0])
        let results = CodecFeed.results(codec, bytes(text + "\n") + next, pieces: [5])
        #expect(results.count == 2)
        guard case .error(.malformed) = results.first else {
            Issue.record("\(results)")
            return
        }
        #expect(results.last == .packet(Thing.some[0]))
    }

    @Test(arguments: [5_000, 60_000])
    func `huge numbers and deep nesting are malformed, not fatal`(_ count: Int) throws {
        func results<P: Codable & Sendable & Equatable>(_: P.Type, _ text: String) -> [Decoded<P>] {
            CodecFeed.results(JSONLineCodec<P>.jsonLines(), bytes(text + "\n"), pieces: [997])
        }
        let digits = String(repeating: "9", count: count)
        for number in [digits, "-" + digits, "1e" + digits] {
            guard case .error(.malformed) = results(Int.self, number).first else {
                Issue.record("\(results(Int.self, number))")
                continue
            }
        }
        for number in [digits, "1e" + digits, "1e-" + digits, "0." + digits, digits + ".5"] {
            #expect(results(Double.self, number).count == 1)
            #expect(results(Int.self, number).count == 1)
        }
        let deep = "JSON nested deeper than 128"
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let halves = String(repeating: open, count: count / 6)
            let text = halves + "1" + String(repeating: close, count: count / 6)
            #expect(results(AnyJSON.self, text) == [.error(.malformed(deep))])
            #expect(results(AnyJSON.self, halves) == [.error(.malformed(deep))])
        }
        // Brackets in strings are no nesting.
        let string = "\"" + String(repeating: "[\\\"", count: count / 6) + "\""
        #expect(results(String.self, string).first != .error(.malformed(deep)))
    }

    @Test func `as deep as the limit allows is decoded on a loop's thread`() async throws {
        try await withLoop { _ in
            for (limit, depth) in [(0, 0), (1, 1), (128, 128), (JSONBounds.depthMax, 400)] {
                let serializer = JSONSerializer<AnyJSON>(depthLimit: limit)
                var value = AnyJSON.leaf
                for _ in 0..<depth { value = .array([value]) }
                let text = try serializer.encodeWhole(value)
                #expect(text.count == 2 * depth + 1)
                #expect(try serializer.decodeWhole(text) == value)
                guard depth == limit else { continue }
                let over = bytes("[") + text + bytes("]")
                #expect(throws: PacketError.malformed("JSON nested deeper than \(limit)")) {
                    try serializer.decodeWhole(over)
                }
                #expect(throws: PacketError.unencodable("JSON nested deeper than \(limit)")) {
                    try serializer.encodeWhole(.array([value]))
                }
            }
        }
    }

    // In UTF-16 a character may have the quotation mark's byte, which would hide brackets.
    @Test func `JSON in another encoding is refused`() {
        let serializer = JSONSerializer<AnyJSON>()
        let wide = "[[]]".utf16.flatMap { [UInt8($0 >> 8), UInt8($0 & 0xFF)] }
        for text in [wide, [0xFE, 0xFF] + wide, [0xFF, 0xFE] + wide.reversed(), [0, 0, 0, 0x5B]] {
            #expect(throws: PacketError.malformed("JSON that is not UTF-8")) {
                try serializer.decodeWhole(text)
            }
        }
    }

    @Test func `names that the peer chose are cut short in an error, and stay in its line`() {
        let serializer = JSONSerializer<[String: Int]>()
        let name = "a\\nb" + String(repeating: "x", count: 10_000)
        do {
            _ = try serializer.decodeWhole(bytes("{\"\(name)\":true}"))
            Issue.record("true is no number")
        } catch {
            #expect(error.description.hasPrefix("malformed packet: JSON: not "))
            #expect(error.description.utf8.count < 300)
            #expect(!error.description.contains("\n"))
        }
    }

    @Test func `a value that JSON has no words for is unencodable`() {
        #expect(throws: PacketError.self) { try JSONSerializer<Double>().encodeWhole(.nan) }
        #expect(throws: PacketError.self) {
            try JSONSerializer<[Double]>().encodeWhole([.infinity])
        }
    }

    // ENDPOINTS 43: nothing is not the same as no packet.
    @Test(arguments: PairKind.allCases)
    func `errors of a line come in their place over a connection`(_ kind: PairKind) async throws {
        try await withPair(kind) { near, far in
            let endpoint = StreamEndpoint(
                near.reader, near.writer, JSONLineCodec<[String: Int]>.jsonLines(limit: 30))
            try await far.say("{\"a\":1}\n\n{\"b\":\"x\"}\n" + String(repeating: "[", count: 40))
            #expect(try await endpoint.receive() == ["a": 1])
            for _ in 0..<2 {
                await #expect(throws: PacketError.self) { try await endpoint.receive() }
            }
            let over = await started { try await endpoint.receive() }
            try await far.say("]\n{}\n")
            await #expect(throws: PacketError.limitExceeded(limit: 30)) { try await over.value }
            #expect(try await endpoint.receive() == [:])
            try await endpoint.send([:])
            #expect(try await far.reader.readLine() == bytes("{}\n"))
        }
    }
}
