// Conversions between packets and values, encodings of text, base64, checksums, and packets that
// lie in memory as a whole.

import Sluice
import SluiceTestKit
import Testing

@Suite struct ConverterTests {
    struct NotANumber: Error, CustomStringConvertible {
        let description: String
    }

    /// Numbers in lines; negative ones are not sent.
    static let numbers = LineCodec.lines().map(
        sending: { (number: Int) throws -> String in
            if number < 0 { throw NotANumber(description: "\(number) is negative") }
            return String(number)
        },
        receiving: { text throws -> Int in
            guard let number = Int(text) else {
                throw NotANumber(description: "\(text) is no number")
            }
            return number
        })

    @Test func `a converted codec passes the suite`() throws {
        try checkCodec(Self.numbers, [0, 1, 7_000, .max].map { (sent: $0, received: $0) })
    }

    // ENDPOINTS 5, 8: what cannot be converted is one error, and the stream goes on.
    @Test(arguments: PairKind.allCases)
    func `what cannot be converted is an error of its direction, and the endpoint goes on`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            let endpoint = StreamEndpoint(near.reader, near.writer, Self.numbers)
            try await far.say("1\ntwo\n3\n")
            #expect(try await endpoint.receive() == 1)
            await #expect(throws: PacketError.malformed("two is no number")) {
                try await endpoint.receive()
            }
            #expect(try await endpoint.receive() == 3)
            try await endpoint.send(4)
            await #expect(throws: PacketError.unencodable("-5 is negative")) {
                try await endpoint.send(-5)
            }
            try await endpoint.send(6)
            try await endpoint.sendEOF()
            #expect(try await far.reader.readToEnd() == bytes("4\n6\n"))
        }
    }

    @Test func `each direction may have a type of its own, and an error passes as it is`() throws {
        let codec = LineCodec.lines().map(
            sending: { (number: Int) in "\(number)" },
            receiving: { text throws(PacketError) -> [Character] in
                if text.isEmpty { throw .limitExceeded(limit: 0) }
                return Array(text)
            })
        #expect(try codec.encodeWhole(12) == bytes("12\n"))
        #expect(try codec.decodeWhole(bytes("12\n")) == ["1", "2"])
        #expect(throws: PacketError.limitExceeded(limit: 0)) {
            try codec.decodeWhole(bytes("\n"))
        }
        let half = LineCodec.lines().map(receiving: { $0.count })
        #expect(try half.decodeWhole(bytes("four\n")) == 4)
        let other = LineCodec.lines().map(sending: { (_: Int) in "x" })
        #expect(try other.encodeWhole(4) == bytes("x\n"))
    }

    @Test func `long frames that are converted are received into their own storage`() throws {
        let packets = [TestBytes.make(count: 100_000), [1], TestBytes.make(count: 70_000)]
        let framed = FramedCodec(
            LengthPrefixFraming(),
            BytesSerializer().map(sending: { $0 }, receiving: { $0 as [UInt8] }))
        let header = FramedCodec(
            HeaderFraming(headerSize: 4, length: UInt32.self, at: 0), BytesSerializer())
        let outer = framed.map(sending: { $0 }, receiving: { $0 as [UInt8] })
        for pieces in [[30_000], [1_000], [65_536, 3]] {
            let bytes = try packets.flatMap { try outer.encodeWhole($0) }
            #expect(
                CodecFeed.results(outer, bytes, pieces: pieces) == packets.map { .packet($0) })
            #expect(
                CodecFeed.results(header, bytes, pieces: pieces).map { result in
                    guard case .packet(let packet) = result else { return [] }
                    return Array(packet.dropFirst(4))
                } == packets)
        }
    }

    @Test func `a converted serializer fits into every framing`() throws {
        let serializer = TextSerializer().map(
            sending: { (number: Int) in "\(number)" }, receiving: { $0.count })
        try checkCodec(
            FramedCodec(LengthPrefixFraming(UInt8.self), serializer), [(sent: 12, received: 2)])
        try checkCodec(FramedCodec(NetstringFraming(), serializer), [(sent: 123, received: 3)])
    }

    // ENDPOINTS 39.
    @Test func `a whole packet in memory is decoded, and too few or too many bytes are told`()
        throws
    {
        let codec = FramedCodec(LengthPrefixFraming(UInt8.self), TextSerializer())
        #expect(try codec.decodeWhole([2, 65, 66]) == "AB")
        #expect(throws: PacketError.truncated(received: 2)) { try codec.decodeWhole([2, 65]) }
        #expect(throws: PacketError.truncated(received: 0)) { try codec.decodeWhole([]) }
        #expect(throws: PacketError.malformed("2 bytes behind the packet")) {
            try codec.decodeWhole([1, 65, 66, 67])
        }
        #expect(throws: PacketError.malformed("not UTF-8")) { try codec.decodeWhole([1, 0xFF]) }
        // Long frames are received into storage of their own.
        let long = FramedCodec(LengthPrefixFraming(), BytesSerializer())
            .map(sending: { $0 }, receiving: { $0 as [UInt8] })
        let frame = try long.encodeWhole(TestBytes.make(count: 200_000))
        #expect(try long.decodeWhole(frame).count == 200_000)
        for cut in [199_000, 5, 4] {
            #expect(throws: PacketError.truncated(received: cut)) {
                try long.decodeWhole(Array(frame.prefix(cut)))
            }
        }
        let lines = LineCodec.lines(limit: 4)
        #expect(try lines.decodeWhole(bytes("line")) == "line")
        #expect(try lines.decodeWhole(bytes("line\r\n")) == "line")
        #expect(throws: PacketError.limitExceeded(limit: 4)) {
            try lines.decodeWhole(bytes("longer than that"))
        }
        #expect(throws: PacketError.malformed("2 bytes behind the packet")) {
            try lines.decodeWhole(bytes("a\nb\n"))
        }
        #expect(try TextSerializer().decodeWhole(bytes("any")) == "any")
        #expect(try TextSerializer().encodeWhole("any") == bytes("any"))
    }

    @Test func `text has the encoding that was chosen, and no other`() throws {
        let latin = LineCodec.lines(encoding: .latin1)
        try checkCodec(latin, ["", "caf\u{E9}", "\u{80}\u{FF}"].map { ($0, $0) })
        #expect(try latin.encodeWhole("\u{E9}") == [0xE9, 10])
        #expect(throws: PacketError.unencodable("not ISO 8859-1")) {
            try latin.encodeWhole("\u{20AC}")
        }
        let ascii = LineCodec.lines(encoding: .ascii)
        try checkCodec(ascii, ["", "plain"].map { ($0, $0) })
        #expect(throws: PacketError.unencodable("not ASCII")) { try ascii.encodeWhole("\u{E9}") }
        #expect(
            CodecFeed.results(ascii, [0xC3, 0xA9, 10] + bytes("next\n"), pieces: [1])
                == [.error(.malformed("not ASCII")), .packet("next")])
        // Decomposed: the byte would be e, then a character that there is none of.
        #expect(throws: PacketError.self) { try latin.encodeWhole("e\u{301}") }
    }

    @Test func `base64 has the characters of its alphabet, and refuses others`() throws {
        let standard = Base64Serializer(BytesSerializer(), .standard)
        let safe = Base64Serializer(BytesSerializer())
        // RFC 4648, section 10.
        for (plain, text) in [
            ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="), ("foobar", "Zm9vYmFy"),
        ] {
            #expect(try standard.encodeWhole(bytes(plain)) == bytes(text))
            #expect(try safe.decodeWhole(bytes(text)) == bytes(plain))
            #expect(safe.size(of: bytes(plain)) == text.utf8.count)
        }
        #expect(try standard.encodeWhole([0xFB, 0xFF]) == bytes("+/8="))
        #expect(try safe.encodeWhole([0xFB, 0xFF]) == bytes("-_8="))
        for text in [
            "Z", "Zg", "Zg=", "Z===", "====", "Zm9v=", "Zh==", "Zm9=", "Zg==Zg==", "Z g=", "=Zg=",
            "+/8=", "\n\n\n\n", "é==",
        ] {
            #expect(throws: PacketError.malformed("not base64")) {
                try safe.decodeWhole(bytes(text))
            }
        }
    }

    /// A checksum that needs no library.
    private static let sum = Checksum(size: 2) { bytes in
        var sum: UInt16 = 1
        bytes.withUnsafeBytes { for byte in $0 { sum = sum &* 31 &+ UInt16(byte) } }
        return [UInt8(sum >> 8), UInt8(sum & 0xFF)]
    }

    @Test func `a wrong checksum is malformed, and the next line is received`() throws {
        let codec = FramedCodec(
            LineFraming(.crlf),
            Base64Serializer(ChecksumSerializer(TextSerializer(), Self.sum)))
        try checkCodec(codec, ["", "a", "two words"].map { ($0, $0) })
        let right = try codec.encodeWhole("right")
        let plain = try TextSerializer().encodeWhole("wrong") + [0, 0]
        let wrong = Base64Alphabet.urlSafe.encode(plain.span.bytes) + [13, 10]
        #expect(
            CodecFeed.results(
                codec, wrong + bytes("AA==\r\n!\r\n\r\n") + right, pieces: [1])
                == [
                    .error(.malformed("a wrong checksum")),
                    .error(.malformed("too short for a checksum")),
                    .error(.malformed("not base64")),
                    .error(.malformed("too short for a checksum")), .packet("right"),
                ])
        let framed = FramedCodec(
            LengthPrefixFraming(UInt8.self), ChecksumSerializer(TextSerializer(), Self.sum))
        try checkCodec(framed, ["", "a", "two words"].map { ($0, $0) })
    }
}
