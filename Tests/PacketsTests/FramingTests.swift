// Framings: every chunking gives the same frames; limits count one frame; errors go on at a known
// border, or poison.

import Sluice
import SluiceTestKit
import Testing

@Suite struct FramingTests {
    @Test func `lines pass the codec suite, lenient, strict and plain`() throws {
        let texts = ["a", "", "two words", String(repeating: "x", count: 40), "é"]
        for terminator in [LineFraming.Terminator.lenient, .lf, .crlf] {
            try checkCodec(
                LineCodec.lines(terminator, limit: 64), texts.map { (sent: $0, received: $0) })
        }
    }

    @Test func `frames of every prefix pass the codec suite`() throws {
        let packets = same([[], [1], [0, 255, 10], TestBytes.make(count: 200)])
        for endianness in [Endianness.big, .little] {
            for includes in [false, true] {
                let bytes = BytesSerializer()
                let one = LengthPrefixFraming(
                    UInt8.self, endianness, includesPrefix: includes, limit: 220)
                let two = LengthPrefixFraming(UInt16.self, endianness, includesPrefix: includes)
                let four = LengthPrefixFraming(UInt32.self, endianness, includesPrefix: includes)
                let eight = LengthPrefixFraming(UInt64.self, endianness, includesPrefix: includes)
                for framing in [one, two, four, eight] {
                    try checkCodec(FramedCodec(framing, bytes), packets)
                }
            }
        }
        for varint in [Varint.leb128, .base128] {
            try checkCodec(FramedCodec(VarintPrefixFraming(varint), BytesSerializer()), packets)
            try checkCodec(FramedCodec(VarintPrefixFraming(varint), Unsized()), packets)
        }
    }

    @Test func `separated and fixed frames pass the codec suite`() throws {
        let packets = same([[1], [], [2, 3, 4], TestBytes.make(count: 99).map { $0 | 1 }])
        let bytes = BytesSerializer()
        for separator in [[0], [13, 10, 13, 10], [10, 10], [2, 2, 4]] as [[UInt8]] {
            try checkCodec(FramedCodec(SeparatorFraming(separator, limit: 100), bytes), packets)
        }
        try checkCodec(
            FramedCodec(FixedSizeFraming(3), bytes), same([[1, 2, 3], [0, 0, 0], [10, 13, 0]]))
    }

    @Test func `38: a fixed frame leaves what comes behind it`() {
        var feed = CodecFeed(FramedCodec(FixedSizeFraming(8), BytesSerializer()))
        feed.feed([1, 2, 3, 4, 5, 6])
        #expect(feed.results.isEmpty)
        feed.feed([7, 8, 9])
        #expect(feed.results == [.packet([1, 2, 3, 4, 5, 6, 7, 8])])
        feed.end()
        #expect(feed.results.last == .error(.truncated(received: 1)))
    }

    @Test(arguments: 1...12) func `36, 40: an overlong unit is one error, in every chunking`(
        _ size: Int
    ) {
        let lines = FramedCodec(LineFraming(limit: 10), BytesSerializer())
        let text = bytes(
            "AAAAAAAAAAAAAAAAAAAAAAAAAA\nGOOD\n0123456789\n0123456789\r\n01234567890\nEND\n")
        #expect(
            CodecFeed.results(lines, text, pieces: [size])
                == [
                    .error(.limitExceeded(limit: 10)), .packet(bytes("GOOD")),
                    .packet(bytes("0123456789")), .packet(bytes("0123456789")),
                    .error(.limitExceeded(limit: 10)), .packet(bytes("END")),
                ])
        let words = FramedCodec(SeparatorFraming(bytes("--"), limit: 10), BytesSerializer())
        #expect(
            CodecFeed.results(words, bytes("0123456789--01234567890-1--a-b----"), pieces: [size])
                == [
                    .packet(bytes("0123456789")), .error(.limitExceeded(limit: 10)),
                    .packet(bytes("a-b")), .packet([]),
                ])
    }

    @Test func `41: a limit counts one packet, however many are buffered`() {
        let lines = FramedCodec(LineFraming(limit: 10), BytesSerializer())
        let many = Array(repeating: bytes("0123456789\n"), count: 100).flatMap(\.self)
        #expect(CodecFeed.results(lines, many, pieces: [many.count]).count == 100)
    }

    @Test func `a strict line needs its carriage return, and its end`() {
        let strict = FramedCodec(LineFraming(.crlf), BytesSerializer())
        #expect(
            CodecFeed.results(strict, bytes("a\nb\r\nc"), pieces: [1])
                == [
                    .error(.malformed("a line feed without a carriage return")),
                    .packet(bytes("b")), .error(.truncated(received: 1)),
                ])
        let plain = FramedCodec(LineFraming(.lf), BytesSerializer())
        #expect(
            CodecFeed.results(plain, bytes("a\r\nb"), pieces: [1])
                == [.packet(bytes("a\r")), .packet(bytes("b"))])
    }

    @Test(arguments: [[0xFF, 0xFF], [0, 101]] as [[UInt8]])
    func `a length over the limit poisons, and nothing behind it is a packet`(_ prefix: [UInt8]) {
        let codec = FramedCodec(LengthPrefixFraming(UInt16.self, limit: 100), BytesSerializer())
        #expect(
            CodecFeed.results(codec, prefix + Array(repeating: 0, count: 300), pieces: [7])
                == [.error(.limitExceeded(limit: 100))])
    }

    @Test func `a length that counts itself cannot be less than itself`() {
        let codec = FramedCodec(
            LengthPrefixFraming(UInt32.self, includesPrefix: true), BytesSerializer())
        #expect(
            CodecFeed.results(codec, [0, 0, 0, 3, 1, 2, 3], pieces: [1])
                == [.error(.malformed("a frame's length is less than its prefix"))])
    }

    @Test func `the largest lengths do not overflow`() {
        let widest = FramedCodec(LengthPrefixFraming(UInt64.self, limit: .max), BytesSerializer())
        for prefix in [Array(repeating: 0xFF, count: 8), [0x7F] + Array(repeating: 0xFF, count: 7)]
            as [[UInt8]]
        {
            var feed = CodecFeed(widest)
            feed.feed(prefix + [1, 2, 3])
            feed.end()
            #expect(feed.results.count == 1)
        }
        let varint = FramedCodec(VarintPrefixFraming(limit: .max), BytesSerializer())
        var feed = CodecFeed(varint)
        feed.feed([0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F, 1])
        feed.end()
        #expect(feed.results.count == 1)
    }

    @Test func `37, 39: what cannot be framed is refused and leaves nothing`() {
        func encoded<F: Framing>(_ framing: F, _ packet: [UInt8]) throws(PacketError) -> [UInt8] {
            var codec = FramedCodec(framing, BytesSerializer())
            return try PacketOutput.bytes { output throws(PacketError) in
                try codec.encode(packet, into: &output)
            }
        }
        #expect(throws: PacketError.self) { try encoded(LineFraming(), bytes("a\nb")) }
        #expect(throws: PacketError.self) { try encoded(LineFraming(limit: 2), bytes("abc")) }
        #expect(throws: PacketError.self) { try encoded(SeparatorFraming([1, 2]), [0, 1, 2]) }
        // Together with the separator behind it the peer would see one frame less a byte.
        #expect(throws: PacketError.self) { try encoded(SeparatorFraming([1, 1]), [0, 1]) }
        #expect(throws: PacketError.self) { try encoded(FixedSizeFraming(2), [1]) }
        #expect(throws: PacketError.self) {
            try encoded(LengthPrefixFraming(UInt8.self), TestBytes.make(count: 256))
        }
        #expect(throws: PacketError.self) { try encoded(VarintPrefixFraming(limit: 1), [1, 2]) }
    }

    private func same(_ packets: [[UInt8]]) -> [(sent: [UInt8], received: [UInt8])] {
        packets.map { (sent: $0, received: $0) }
    }
}

/// Bytes whose number is not known beforehand.
private struct Unsized: Serializer {
    func deserialize(_ bytes: RawSpan) throws(PacketError) -> [UInt8] {
        bytes.withUnsafeBytes { Array($0) }
    }

    func serialize(_ packet: [UInt8], into output: inout PacketOutput) throws(PacketError) {
        for byte in packet { output.append(byte: byte) }
    }
}
