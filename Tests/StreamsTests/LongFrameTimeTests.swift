// A long frame that is received into storage of its own is as unfinished as one in the buffer, and
// so is one that is passed over: for the deadlines of a peer, and for a server that shuts down. On
// a virtual clock.

import Sluice
import SluiceTestKit
import Testing

@Suite struct LongFrameTimeTests {
    private typealias Frames = FramedCodec<LengthPrefixFraming, BytesSerializer>

    /// A short frame and the beginning of a long one, in one piece.
    private static let beginning: [UInt8] =
        [0, 0, 0, 1, 7] + [0, 1, 0x86, 0xA0] + Array(repeating: 1, count: 30_000)
    private static let rest = [UInt8](repeating: 1, count: 70_000)

    @Test func `a long frame that came with the one before it has its message deadline`()
        async throws
    {
        let lengths = Shared<[Int]>([])
        try await withTimes(message: 30) { reader, writer in
            let endpoint = StreamEndpoint(reader, writer, Frames(.init(), .init()))
            await Self.tell(writer) {
                while let packet = try await endpoint.receive() { lengths.append(packet.count) }
            }
        } client: { server, seconds in
            let client = try await server.connect()
            try await client.writer.send(Self.beginning)
            #expect(try await client.reader.readToEnd() == bytes("message"))
            #expect(seconds() == 30)
            await client.writer.close()
        }
        #expect(lengths.value == [1])
    }

    @Test func `receives that give up in between do not give the peer more time`() async throws {
        try await cutWhilePolled(Frames(.init(), .init()))
        // One line without an end, which is passed over.
        try await cutWhilePolled(FramedCodec(LineFraming(limit: 100), BytesSerializer()))
    }

    private func cutWhilePolled<C: Codec>(_ codec: C) async throws {
        try await withTimes(message: 30) { reader, writer in
            let endpoint = StreamEndpoint(reader, writer, codec)
            await Self.tell(writer) {
                while true {
                    do {
                        _ = try await withTimeout(.seconds(1)) { try await endpoint.receive() }
                    } catch PacketError.stream(.timedOut) { try await sleep(for: .seconds(4)) }
                }
            }
        } client: { server, seconds in
            let client = try await server.connect()
            try await client.writer.send(Self.beginning)
            let dripping = await started {
                while true {
                    try await sleep(for: .seconds(2))
                    try await client.writer.send([1])
                }
            }
            #expect(try await client.reader.readToEnd() == bytes("message"))
            // Thirty seconds of waiting, one in five.
            #expect((140...160).contains(seconds()))
            dripping.cancel()
            await client.writer.abort()
        }
    }

    @Test func `a server that shuts down lets the rest of a long frame come`() async throws {
        let lengths = Shared<[Int]>([])
        try await withTimes(message: 1_000) { reader, writer in
            let endpoint = StreamEndpoint(reader, writer, Frames(.init(), .init()))
            while let packet = try await endpoint.receive() {
                lengths.append(packet.count)
                // Nothing is owed any longer.
                try await endpoint.send([8])
            }
        } client: { server, _ in
            let client = try await server.connect()
            try await client.writer.send(Self.beginning)
            #expect(try await client.reader.readExactly(5) == [0, 0, 0, 1, 8])
            await settle()
            let stopping = await started { await server.shutdown(grace: .seconds(100)) }
            try await client.writer.send(Self.rest)
            #expect(try await client.reader.readToEnd() == [0, 0, 0, 1, 8])
            await client.writer.close()
            #expect(try await stopping.value.finished == 1)
        }
        #expect(lengths.value == [1, 100_000])
    }

    @Test func `a stream is not given away while a decoder holds a part of what came`()
        async throws
    {
        try await withPair(.tcp) { near, far in
            let endpoint = StreamEndpoint(near.reader, near.writer, Frames(.init(), .init()))
            try await far.say(Self.beginning)
            #expect(try await endpoint.receive() == [7])
            let waiting = await started { try await endpoint.receive() }
            waiting.cancel()
            await #expect(throws: PacketError.stream(.cancelled)) { try await waiting.value }
            await #expect(throws: StreamError.busy) { _ = try await near.writer.detach() }
            try await far.say(Self.rest + [9])
            #expect(try await endpoint.receive()?.count == 100_000)
            let detached = try await near.writer.detach()
            _ = OwnedDescriptor(taking: detached.descriptor)
        }
    }

    private nonisolated(nonsending) static func tell(
        _ writer: StreamWriter, _ body: nonisolated(nonsending) () async throws -> Void
    ) async {
        do { try await body() } catch PacketError.stream(.peerTimedOut(let deadline)) {
            try? await writer.send("\(deadline)")
        } catch { try? await writer.send("\(error)") }
    }
}
