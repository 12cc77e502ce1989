// Compressed packets: each a whole zlib stream, never decompressed past its limit.

import Sluice
import SluiceTestKit
import SluiceZlib
import Testing

@Suite struct ZlibTests {
    private let packets: [[UInt8]] = [
        [], [0], Array(repeating: 7, count: 5_000), TestBytes.make(count: 3_000), [],
    ]

    @Test func `compressed packets pass the codec suite at every level`() throws {
        for level in [0, 1, 6, 9] {
            let same = packets.map { (sent: $0, received: $0) }
            try checkCodec(ZlibCodec(BytesSerializer(), limit: 5_000, level: level), same)
            let serializer = ZlibSerializer(BytesSerializer(), limit: 5_000, level: level)
            try checkCodec(FramedCodec(LengthPrefixFraming(), serializer), same)
            try checkCodec(FramedCodec(LineFraming(), Base64Serializer(serializer)), same)
        }
    }

    @Test func `the bytes are those of every other zlib`() throws {
        // zlib.compress(b"") and zlib.compress(b"hello", 9) of Python.
        let codec = ZlibCodec(TextSerializer(), limit: 100, level: 9)
        let empty: [UInt8] = [0x78, 0xDA, 0x03, 0x00, 0x00, 0x00, 0x00, 0x01]
        let hello: [UInt8] = [
            0x78, 0xDA, 0xCB, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x06, 0x2C, 0x02, 0x15,
        ]
        #expect(try codec.encodeWhole("") == empty)
        #expect(try codec.encodeWhole("hello") == hello)
        #expect(
            CodecFeed.results(codec, hello + empty + hello, pieces: [1])
                == [.packet("hello"), .packet(""), .packet("hello")])
    }

    // ENDPOINTS 42; the memory that it takes is measured by Tests/Acceptance/easy_network.py.
    @Test(arguments: [1, 100, 4_096, 1_000_000])
    func `a packet that expands past the limit is an error, however it arrives`(
        _ size: Int
    ) throws {
        let bomb = try ZlibSerializer(BytesSerializer(), limit: 1 << 26)
            .encodeWhole(Array(repeating: 0, count: 20_000_000))
        #expect(bomb.count < 30_000)
        for limit in [0, 1, 1_000, 65_535, 65_536, 65_537, 1 << 20] {
            let codec = ZlibCodec(BytesSerializer(), limit: limit)
            #expect(
                CodecFeed.results(codec, bomb, pieces: [size])
                    == [.error(.limitExceeded(limit: limit))])
            #expect(throws: PacketError.limitExceeded(limit: limit)) {
                try ZlibSerializer(BytesSerializer(), limit: limit).decodeWhole(bomb)
            }
        }
    }

    @Test func `a limit counts the bytes before compression, on both sides`() throws {
        for limit in [0, 1, 65_536, 70_000] {
            let codec = ZlibCodec(BytesSerializer(), limit: limit)
            let right = [UInt8](repeating: 1, count: limit)
            try checkCodec(codec, [(right, right), ([], [])])
            #expect(throws: PacketError.self) { try codec.encodeWhole(right + [1]) }
            let over = try ZlibCodec(BytesSerializer(), limit: limit + 1).encodeWhole(right + [1])
            #expect(
                CodecFeed.results(codec, over + over, pieces: [3])
                    == [.error(.limitExceeded(limit: limit))])
        }
        let largest = ZlibCodec(BytesSerializer(), limit: .max)
        try checkCodec(largest, [([1, 2, 3], [1, 2, 3])])
    }

    @Test func `what is no zlib stream poisons a stream, and is malformed in a frame`() throws {
        let good = try ZlibSerializer(TextSerializer(), limit: 10).encodeWhole("good")
        var damaged = good
        damaged[damaged.count - 1] ^= 1
        // With the flag of a preset dictionary; as gzip has it; raw; with a wrong checksum.
        for bad in [[0x78, 0xBB, 0, 0, 0, 1, 3, 0], [0x1F, 0x8B, 8], [3, 0], damaged] as [[UInt8]] {
            let stream = ZlibCodec(TextSerializer(), limit: 10)
            #expect(
                CodecFeed.results(stream, bad + good, pieces: [1])
                    == [.error(.malformed("not a zlib stream"))])
            let framed = FramedCodec(
                LengthPrefixFraming(UInt8.self), ZlibSerializer(TextSerializer(), limit: 10))
            let frames = [UInt8(bad.count)] + bad + [UInt8(good.count)] + good
            let results = CodecFeed.results(framed, frames, pieces: [2])
            #expect(results.count == 2 && results.last == .packet("good"))
        }
        let serializer = ZlibSerializer(TextSerializer(), limit: 10)
        #expect(throws: PacketError.malformed("a zlib stream that was cut")) {
            try serializer.decodeWhole(Array(good.dropLast()))
        }
        #expect(throws: PacketError.malformed("a zlib stream that was cut")) {
            try serializer.decodeWhole([])
        }
        #expect(throws: PacketError.malformed("bytes behind a zlib stream")) {
            try serializer.decodeWhole(good + [0])
        }
    }

    @Test func `a copy of a codec in the middle of a packet reads on by itself`() throws {
        let codec = ZlibCodec(BytesSerializer(), limit: 5_000)
        let bytes = try codec.encodeWhole(TestBytes.make(count: 3_000))
        var first = codec
        guard case .more(_, let used) = first.decode(Array(bytes.prefix(900)).span.bytes) else {
            Issue.record("it has all already")
            return
        }
        let rest = Array(bytes.dropFirst(used))
        var second = first
        for decoder in [0, 1] {
            let step =
                decoder == 0 ? first.decode(rest.span.bytes) : second.decode(rest.span.bytes)
            guard case .packet(let packet, rest.count) = step else {
                Issue.record("\(step)")
                continue
            }
            #expect(packet == TestBytes.make(count: 3_000))
        }
    }

    @Test(arguments: PairKind.allCases)
    func `a compressed packet that is cut is told with all its bytes`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            let codec = ZlibCodec(BytesSerializer(), limit: 5_000)
            let endpoint = StreamEndpoint(near.reader, near.writer, codec)
            let bytes = try codec.encodeWhole(TestBytes.make(count: 3_000))
            try await far.say(bytes)
            try await far.say(Array(bytes.prefix(1_000)))
            #expect(try await endpoint.receive() == TestBytes.make(count: 3_000))
            let cut = await started { try await endpoint.receive() }
            try await far.say(Array(bytes[1_000..<1_500]))
            // Nothing compressed stays behind but a byte.
            #expect(near.reader.buffered == 1)
            try await far.finish()
            await #expect(throws: PacketError.truncated(received: 1_500)) { try await cut.value }
            #expect(try await endpoint.receive() == nil)
        }
    }
}
