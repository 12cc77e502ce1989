// Long frames, whose payload is received straight into the packet.

import Sluice
import SluiceTestKit
import Testing

private typealias Frames<F: Framing> = FramedCodec<F, BytesSerializer>

@Suite struct LongFrameTests {
    @Test func `long frames pass the codec suite, gathered and buffered`() throws {
        let packets = [40_000, 1, 70_000, 0, PacketBounds.gatheredBytes].map { size in
            (
                sent: TestBytes.make(from: size, count: size),
                received: TestBytes.make(from: size, count: size)
            )
        }
        try checkLong(Frames(LengthPrefixFraming(UInt32.self), BytesSerializer()), packets)
        try checkLong(Frames(LengthPrefixFraming(UInt64.self, .little), BytesSerializer()), packets)
        try checkLong(Frames(VarintPrefixFraming(.leb128), BytesSerializer()), packets)
    }

    /// The suite's byte by byte is too slow for so many.
    private func checkLong<C: Codec>(
        _ codec: C, _ packets: [(sent: [UInt8], received: [UInt8])]
    ) throws where C.Sent == [UInt8], C.Received == [UInt8] {
        var bytes: [UInt8] = []
        for packet in packets {
            var encoder = codec
            bytes += try PacketOutput.bytes { output throws(PacketError) in
                try encoder.encode(packet.sent, into: &output)
            }
        }
        let expected = packets.map { Decoded.packet($0.received) }
        for gathers in [true, false] {
            for pieces in [[bytes.count], [1, 3, 5, 40_001], [4_096], [65_536], [39_999, 9]] {
                let results = CodecFeed.results(codec, bytes, pieces: pieces, gathers: gathers)
                #expect(results == expected, "pieces \(pieces), gathers \(gathers)")
            }
            for cut in [3, 4, 10, 40_003, 40_004, 40_010, 90_000] {
                let results = CodecFeed.results(
                    codec, Array(bytes.prefix(cut)), pieces: [7, 4_000], gathers: gathers)
                let whole = results.prefix { if case .packet = $0 { true } else { false } }
                #expect(Array(whole) == Array(expected.prefix(whole.count)))
                #expect(results.count - whole.count <= 1)
            }
        }
    }

    @Test(arguments: PairKind.allCases)
    func `a long frame holds no buffer while it arrives, and leaves what is behind it`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            let endpoint = frames(near)
            let long = TestBytes.make(from: 0, count: 300_000)
            try await far.say([0, 4, 0x93, 0xE0] + long.prefix(50_000))
            let waiting = await started { try await endpoint.receive() }
            #expect(near.reader.bytesReceived > 40_000)
            #expect(near.reader.buffered == 0)
            let sending = EventLoop.current!.spawn {
                try await far.writer.send(Array(long.dropFirst(50_000)) + [0, 0, 0, 2, 7, 8])
            }
            #expect(try await waiting.value == long)
            #expect(try await endpoint.receive() == [7, 8])
            try await sending.value
        }
    }

    @Test(arguments: PairKind.allCases)
    func `20: a receive cancelled inside a long frame loses nothing of it`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            let endpoint = frames(near)
            let long = TestBytes.make(from: 0, count: 100_000)
            var sent = 0
            try await far.say([0, 1, 0x86, 0xA0])
            while sent < long.count {
                let waiting = await started { try await endpoint.receive() }
                waiting.cancel()
                await #expect(throws: PacketError.stream(.cancelled)) { try await waiting.value }
                let more = min(9_999, long.count - sent)
                try await far.say(Array(long[sent..<(sent + more)]))
                sent += more
            }
            #expect(try await endpoint.receive() == long)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `18: the end inside a long frame is told once, with all that came of it`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            let endpoint = frames(near)
            try await far.say([0, 1, 0x86, 0xA0] + [UInt8](repeating: 1, count: 40_000))
            try await far.finish()
            await #expect(throws: PacketError.truncated(received: 40_004)) {
                try await endpoint.receive()
            }
            #expect(try await endpoint.receive() == nil)
        }
    }

    @Test func `a lost border is told, and then that it is lost`() async throws {
        try await withPair(.memory) { near, far in
            let codec = Frames(LengthPrefixFraming(UInt32.self, limit: 10), BytesSerializer())
            let endpoint = StreamEndpoint(near.reader, near.writer, codec)
            try await far.say([0, 0, 0, 1, 5, 0, 0, 0, 11])
            #expect(try await endpoint.receive() == [5])
            await #expect(throws: PacketError.limitExceeded(limit: 10)) {
                try await endpoint.receive()
            }
            try await far.say([0, 0, 0, 1, 5])
            for _ in 0..<3 {
                await #expect(throws: PacketError.desynchronized) { try await endpoint.receive() }
            }
            try await endpoint.send([6])
            #expect(try await far.reader.readExactly(5) == [0, 0, 0, 1, 6])
        }
    }

    private func frames(_ end: StreamEnd) -> StreamEndpoint<[UInt8], [UInt8]> {
        let codec = Frames(LengthPrefixFraming(UInt32.self), BytesSerializer())
        return StreamEndpoint(end.reader, end.writer, codec)
    }
}
