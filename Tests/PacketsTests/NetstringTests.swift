// Netstrings, and frames with a header; limits of all framings.

import Sluice
import SluiceTestKit
import Testing

@Suite struct NetstringTests {
    @Test func `netstrings pass the codec suite, of known and unknown size`() throws {
        let packets = [[], [44], bytes("hello world!"), TestBytes.make(count: 1_000)] as [[UInt8]]
        let same = packets.map { (sent: $0, received: $0) }
        try checkCodec(FramedCodec(NetstringFraming(), BytesSerializer()), same)
        let unsized = BytesSerializer().map(sending: { $0 }, receiving: { $0 as [UInt8] })
        #expect(unsized.size(of: [1]) == nil)
        try checkCodec(FramedCodec(NetstringFraming(), unsized), same)
    }

    @Test func `a netstring looks as its specification has it`() throws {
        let codec = FramedCodec(NetstringFraming(), TextSerializer())
        #expect(try codec.encodeWhole("hello world!") == bytes("12:hello world!,"))
        #expect(try codec.encodeWhole("") == bytes("0:,"))
        #expect(try codec.decodeWhole(bytes("3:a,b,")) == "a,b")
    }

    @Test(
        arguments: [
            ("01:a,", "a netstring's length begins with 0"),
            ("00:,", "a netstring's length begins with 0"),
            (":,", "a netstring's length is not a number"),
            ("-1:,", "a netstring's length is not a number"),
            ("+1:a,", "a netstring's length is not a number"),
            (" 1:a,", "a netstring's length is not a number"),
            ("1a:b,", "a netstring's length is not a number"),
            ("1:ab", "a netstring without its comma"),
        ])
    func `what is no netstring poisons, in every chunking`(_ text: String, _ reason: String) {
        let codec = FramedCodec(NetstringFraming(limit: 100), BytesSerializer())
        for size in 1...4 {
            #expect(
                CodecFeed.results(codec, bytes(text + "1:a,1:a,"), pieces: [size])
                    == [.error(.malformed(reason))])
        }
    }

    @Test func `digits without an end are refused at the first that is too many`() {
        var feed = CodecFeed(FramedCodec(NetstringFraming(limit: 999), BytesSerializer()))
        feed.feed(bytes("999"))
        #expect(feed.results.isEmpty)
        feed.feed(bytes("9"))
        #expect(feed.results == [.error(.limitExceeded(limit: 999))])
    }

    // ENDPOINTS 36, 40, 41.
    @Test func `every framing keeps its limit on both sides, from the smallest to the largest`()
        throws
    {
        try checkLimits(goesOn: false) { NetstringFraming(limit: $0) }
        try checkLimits(goesOn: false) { LengthPrefixFraming(UInt16.self, limit: $0) }
        try checkLimits(goesOn: false) { LengthPrefixFraming(UInt64.self, .little, limit: $0) }
        try checkLimits(goesOn: false) {
            LengthPrefixFraming(UInt64.self, includesPrefix: true, limit: $0)
        }
        try checkLimits(goesOn: false) { VarintPrefixFraming(.leb128, limit: $0) }
        try checkLimits(goesOn: false) { VarintPrefixFraming(.base128, limit: $0) }
        for separator in [[0], [13, 10], [13, 10, 13, 10]] as [[UInt8]] {
            try checkLimits(smallest: 1, goesOn: true) { SeparatorFraming(separator, limit: $0) }
        }
        for terminator in [LineFraming.Terminator.lf, .lenient, .crlf] {
            try checkLimits(smallest: 1, goesOn: true) { LineFraming(terminator, limit: $0) }
        }
        for counting in [HeaderFraming.Counting.body, .frame, .rest, .frameLess(-5)] {
            func framing(_ limit: Int) -> HeaderFraming {
                HeaderFraming(
                    headerSize: 12, length: UInt64.self, at: 2, counting: counting, limit: limit)
            }
            try checkLimits(
                smallest: 12, goesOn: false,
                payload: { filled(Array(repeating: 7, count: $0), by: framing(.max)) }, framing)
        }
    }

    @Test func `frames with a header pass the codec suite, whatever their length counts`() throws {
        for counting in [HeaderFraming.Counting.body, .frame, .rest, .frameLess(3)] {
            for endianness in [Endianness.big, .little] {
                let framing = HeaderFraming(
                    headerSize: 6, length: UInt16.self, at: 1, endianness, counting: counting)
                let packets = [0, 1, 300].map { count in
                    filled([1, 0, 0, 2, 3, 4] + TestBytes.make(count: count), by: framing)
                }
                try checkCodec(
                    FramedCodec(framing, BytesSerializer()), packets.map { ($0, $0) })
            }
        }
    }

    /// With the length that the framing will write.
    private func filled(_ packet: [UInt8], by framing: HeaderFraming) -> [UInt8] {
        let codec = FramedCodec(framing, BytesSerializer())
        return (try? codec.encodeWhole(packet)) ?? []
    }

    @Test func `a header's length counts what it is said to count`() throws {
        func prefix(_ counting: HeaderFraming.Counting) throws -> [UInt8] {
            let framing = HeaderFraming(
                headerSize: 4, length: UInt16.self, at: 1, counting: counting)
            return try FramedCodec(framing, BytesSerializer())
                .encodeWhole([9, 0xFF, 0xFF, 8, 65, 66])
        }
        #expect(try prefix(.body) == [9, 0, 2, 8, 65, 66])
        #expect(try prefix(.frame) == [9, 0, 6, 8, 65, 66])
        #expect(try prefix(.rest) == [9, 0, 3, 8, 65, 66])
        #expect(try prefix(.frameLess(1)) == [9, 0, 5, 8, 65, 66])
        #expect(try prefix(.frameLess(-1)) == [9, 0, 7, 8, 65, 66])
        #expect(throws: PacketError.self) { try prefix(.frameLess(7)) }
    }

    @Test func `a header's length that cannot be poisons, and nothing overflows`() {
        func results(
            _ counting: HeaderFraming.Counting, _ length: [UInt8]
        ) -> [Decoded<[UInt8]>] {
            let framing = HeaderFraming(
                headerSize: 8, length: UInt64.self, at: 0, counting: counting, limit: .max)
            return CodecFeed.results(
                FramedCodec(framing, BytesSerializer()), length + [1, 2, 3], pieces: [1])
        }
        let seven: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 7]
        let most = [0x7F] + [UInt8](repeating: 0xFF, count: 7)
        let all = [UInt8](repeating: 0xFF, count: 8)
        let tooSmall = Decoded<[UInt8]>.error(
            .malformed("a frame's length is less than its header"))
        #expect(results(.frame, seven) == [tooSmall])
        #expect(results(.frameLess(.min), seven) == [tooSmall])
        #expect(results(.frameLess(.max), seven) == [.error(.limitExceeded(limit: .max))])
        #expect(results(.body, most) == [.error(.limitExceeded(limit: .max))])
        #expect(results(.frame, all) == [.error(.limitExceeded(limit: .max))])
        #expect(results(.frame, most) == [.error(.truncated(received: 11))])
    }

    @Test func `a length that the header's field cannot hold is refused`() {
        let framing = HeaderFraming(headerSize: 2, length: UInt8.self, at: 1, counting: .frame)
        let codec = FramedCodec(framing, BytesSerializer())
        #expect(throws: Never.self) { try codec.encodeWhole(TestBytes.make(count: 255)) }
        #expect(throws: PacketError.self) { try codec.encodeWhole(TestBytes.make(count: 256)) }
        #expect(throws: PacketError.self) { try codec.encodeWhole([1]) }
    }
}
