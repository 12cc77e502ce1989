// What lies at the borders of frames: units that are cut, headers in pieces, lengths in payloads
// that are queued by reference, storage that grows.

import Sluice
import SluiceTestKit
import Testing

@Suite struct FrameBorderTests {
    @Test(arguments: [1, 2, 3, 5, 100])
    func `a unit over the limit that the end cuts is told once, in every chunking`(_ piece: Int) {
        func results<F: Framing>(_ framing: F, _ text: String) -> [Decoded<[UInt8]>] {
            CodecFeed.results(
                FramedCodec(framing, BytesSerializer()), bytes(text), pieces: [piece])
        }
        let over = Decoded<[UInt8]>.error(.limitExceeded(limit: 4))
        for terminator in [LineFraming.Terminator.lf, .lenient, .crlf] {
            let framing = LineFraming(terminator, limit: 4)
            #expect(results(framing, "abcdefghi") == [over])
            #expect(results(framing, "abcdefghi\r\nab\r\n").count == 2)
        }
        for terminator in [LineFraming.Terminator.lf, .lenient] {
            // One byte over: with a terminator behind it, or without.
            #expect(results(LineFraming(terminator, limit: 4), "abcde") == [over])
            #expect(results(LineFraming(terminator, limit: 4), "abcd") == [.packet(bytes("abcd"))])
        }
        for separator in [[0], [1, 2], [1, 2, 3]] as [[UInt8]] {
            #expect(results(SeparatorFraming(separator, limit: 4), "abcdefghi") == [over])
        }
    }

    @Test func `an overlong line that the end cuts is told over a connection`() async throws {
        try await withPair(.tcp) { near, far in
            let lines = LineCodec.lines(limit: 10)
            let endpoint = StreamEndpoint(near.reader, near.writer, lines)
            try await far.say("hello\n" + String(repeating: "x", count: 1_000))
            try await far.finish()
            #expect(try await endpoint.receive() == "hello")
            await #expect(throws: PacketError.limitExceeded(limit: 10)) {
                try await endpoint.receive()
            }
            #expect(try await endpoint.receive() == nil)
        }
    }

    // The peer would take the two for one terminator, and the text would arrive without its last
    // byte.
    @Test func `37: a line that would lose its carriage return is refused`() throws {
        let lenient = FramedCodec(LineFraming(), BytesSerializer())
        #expect(throws: PacketError.self) { try lenient.encodeWhole(bytes("a\r")) }
        #expect(throws: PacketError.self) { try lenient.encodeWhole(bytes("\r")) }
        #expect(try lenient.encodeWhole(bytes("\ra")) == bytes("\ra\n"))
        for terminator in [LineFraming.Terminator.lf, .crlf] {
            let codec = FramedCodec(LineFraming(terminator), BytesSerializer())
            let line = try codec.encodeWhole(bytes("a\r"))
            #expect(try codec.decodeWhole(line) == bytes("a\r"))
        }
    }

    @Test(arguments: [8, 4_095, 4_096, 70_000])
    func `a header's length is filled in wherever its frame is queued`(_ count: Int) throws {
        let framing = HeaderFraming(headerSize: 6, length: UInt32.self, at: 1, counting: .frame)
        let codec = FramedCodec(framing, BytesSerializer())
        let frame = TestBytes.make(count: count)
        let length = (0..<4).map { UInt8(truncatingIfNeeded: count >> (24 - 8 * $0)) }
        let expected = [frame[0]] + length + frame[5...]
        #expect(try codec.encodeWhole(frame) == expected)
        // The caller's array is as it was.
        #expect(frame == TestBytes.make(count: count))
    }

    // MARK: Headers of records

    private func headed<H: SizedPacketHeader>(
        _ header: H.Type, limit: Int = 1_000
    ) throws -> FramedCodec<PacketFraming<H>, SameSerializer<H>> {
        let serializer = try ([Blob.self] as PacketSet).serializer(header, .big)
        return FramedCodec(PacketFraming(header, .big, limit: limit), SameSerializer(serializer))
    }

    @Test func `a header with a field of many bytes passes the codec suite`() throws {
        let packets = [0, 1, 200].map { Same(Blob(bytes: TestBytes.make(count: $0))) }
        try checkCodec(try headed(TaggedHead.self), packets.map { ($0, $0) })
    }

    @Test(arguments: [1, 7, 100, 256, 10_000])
    func `a header over 256 bytes poisons, in every chunking and whatever the limit`(
        _ piece: Int
    ) throws {
        for limit in [10, 1_000_000] {
            for length in [252, 253, 300, 9_000] {
                let codec = try headed(NamedHead.self, limit: limit)
                let name = [UInt8](repeating: 0x61, count: length)
                let bytes = name + [0, 0, 1, 9, 5] + name + [0, 0, 0, 9]
                let results = CodecFeed.results(codec, bytes, pieces: [piece])
                if length > 252 {
                    #expect(results == [.error(.malformed("a header of more than 256 bytes"))])
                } else {
                    let packet = Decoded.packet(Same(Blob(bytes: [5])))
                    #expect(results == [packet, .packet(Same(Blob()))])
                }
            }
        }
    }

    // MARK: Gathering

    @Test func `storage for a long frame grows in few steps`() throws {
        let count = 64 << 20
        var codec = FramedCodec(
            LengthPrefixFraming(UInt32.self, limit: count), BytesSerializer())
        let prefix: [UInt8] = [0x04, 0, 0, 0]
        guard case .more(_, 4) = codec.decode(prefix.span.bytes) else {
            Issue.record("a frame begins")
            return
        }
        var (places, gathered): (Set<UInt>, Int) = ([], 0)
        while gathered < count {
            codec.gather { room in
                places.insert(UInt(bitPattern: room.baseAddress) &- UInt(gathered))
                gathered += room.count
                return room.count
            }
        }
        // 1 MiB doubled six times; each step by the same number of bytes would be hundreds.
        #expect(places.count <= 16)
    }

    @Test func `a decoder that says it gathers and does not gets its bytes all the same`()
        async throws
    {
        try await withPair(.tcp) { near, far in
            let receiver = StreamReceiver(near.reader, Reluctant())
            try await far.say([1, 2])
            let waiting = await started { try await receiver.receive() }
            try await far.say([3, 4, 5])
            #expect(try await waiting.value == [1, 2, 3, 4])
        }
    }
}

/// Four bytes, which it asks for in storage of its own that it never lends.
private struct Reluctant: PacketDecoder {
    var begun: [UInt8] = []
    var isGathering: Bool { !begun.isEmpty }

    mutating func decode(_ bytes: RawSpan) -> DecodingStep<[UInt8]> {
        let taken = min(bytes.byteCount, 4 - begun.count)
        begun += bytes.withUnsafeBytes { Array($0.prefix(taken)) }
        guard begun.count == 4 else { return .more(missing: 4 - begun.count, used: taken) }
        defer { begun = [] }
        return .packet(begun, used: taken)
    }
}

private struct TaggedHead: SizedPacketHeader {
    var size = 0
    var id: UInt64 = 0
    var tag: [UInt8] = [1, 2, 3, 4]

    mutating func fields(_ wire: inout FieldCoder) {
        wire.value("size", &size, as: UInt16.self)
        wire.bytes("tag", &tag, .count(4))
        wire.value("id", &id, as: UInt8.self)
    }
}

private struct NamedHead: SizedPacketHeader {
    var name = ""
    var size = 0
    var id: UInt64 = 0

    mutating func fields(_ wire: inout FieldCoder) {
        wire.text("name", &name, .terminated)
        wire.value("size", &size, as: UInt16.self)
        wire.value("id", &id, as: UInt8.self)
    }
}
