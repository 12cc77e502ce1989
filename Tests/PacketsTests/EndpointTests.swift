// Endpoints: packets in and out over real connections and in memory. The numbers are those of the
// behaviours an endpoint must show.

import Sluice
import SluiceTestKit
import Testing

typealias LineEndpoint = StreamEndpoint<String, String>

@Suite struct EndpointTests {
    @Test(arguments: PairKind.allCases)
    func `1, 2: packets do not depend on how their bytes arrive`(_ kind: PairKind) async throws {
        try await withEndpoint(kind) { endpoint, far in
            try await far.say("pac")
            let receiving = await started { try await endpoint.receive() }
            try await far.say("ket\n")
            #expect(try await receiving.value == "packet")
            try await far.say("p1\np2\n")
            #expect(try await endpoint.receive() == "p1")
            #expect(try await endpoint.receive() == "p2")
        }
    }

    @Test(arguments: PairKind.allCases)
    func `3, 4: the end is nil again and again, and sending goes on`(
        _ kind: PairKind
    ) async throws {
        try await withEndpoint(kind) { endpoint, far in
            try await far.say("last\n")
            try await far.finish()
            #expect(try await endpoint.receive() == "last")
            for _ in 0..<3 { #expect(try await endpoint.receive() == nil) }
            try await endpoint.send("still")
            #expect(try await far.reader.readLine() == bytes("still\n"))
        }
    }

    @Test(arguments: PairKind.allCases)
    func `5: behind a malformed packet the next one is received`(_ kind: PairKind) async throws {
        try await withEndpoint(kind) { endpoint, far in
            try await far.say([0xFF, 0xFE, 10] + bytes("valid\n"))
            await #expect(throws: PacketError.malformed("not UTF-8")) {
                try await endpoint.receive()
            }
            #expect(try await endpoint.receive() == "valid")
        }
    }

    @Test(arguments: PairKind.allCases)
    func `8, 37: what cannot be encoded sends nothing, and the endpoint goes on`(
        _ kind: PairKind
    ) async throws {
        try await withEndpoint(kind) { endpoint, far in
            try await endpoint.send("before")
            await #expect(throws: PacketError.unencodable("a line cannot hold a line feed")) {
                try await endpoint.send("in\nside")
            }
            try await endpoint.send("")
            try await endpoint.send("after")
            try await endpoint.sendEOF()
            #expect(try await far.reader.readToEnd() == bytes("before\n\nafter\n"))
        }
    }

    @Test(arguments: PairKind.allCases)
    func `11, 12, 17: sendEOF twice is one end, and a send behind it says closed`(
        _ kind: PairKind
    ) async throws {
        try await withEndpoint(kind) { endpoint, far in
            try await endpoint.sendEOF()
            try await endpoint.sendEOF()
            await #expect(throws: PacketError.stream(.closed)) { try await endpoint.send("late") }
            #expect(try await far.reader.read() == nil)
            try await far.say("back\n")
            #expect(try await endpoint.receive() == "back")
            try await far.finish()
            await endpoint.close()
            await endpoint.close()
            try await endpoint.sendEOF()
        }
    }

    @Test(arguments: PairKind.allCases)
    func `15: a second receive is busy, and the first is unharmed`(_ kind: PairKind) async throws {
        try await withEndpoint(kind) { endpoint, far in
            let first = await started { try await endpoint.receive() }
            await #expect(throws: PacketError.busy) { try await endpoint.receive() }
            try await far.say("for the first\n")
            #expect(try await first.value == "for the first")
        }
    }

    @Test(arguments: PairKind.allCases)
    func `16: a close ends a waiting receive`(_ kind: PairKind) async throws {
        try await withEndpoint(kind) { endpoint, _ in
            let waiting = await started { try await endpoint.receive() }
            await endpoint.close(within: .milliseconds(1))
            await #expect(throws: PacketError.stream(.closed)) { try await waiting.value }
        }
    }

    @Test(arguments: PairKind.allCases)
    func `18: whole packets come first at the end, then the cut one is told once`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            let codec = FramedCodec(LengthPrefixFraming(UInt16.self), BytesSerializer())
            let endpoint = StreamEndpoint(near.reader, near.writer, codec)
            try await far.say([0, 1, 65, 0, 2, 66, 67, 0, 3, 68])
            try await far.finish()
            #expect(try await endpoint.receive() == [65])
            #expect(try await endpoint.receive() == [66, 67])
            await #expect(throws: PacketError.truncated(received: 3)) {
                try await endpoint.receive()
            }
            #expect(try await endpoint.receive() == nil)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `20: a receive cancelled inside a packet loses nothing of it`(
        _ kind: PairKind
    ) async throws {
        try await withEndpoint(kind) { endpoint, far in
            try await far.say("half")
            let waiting = await started { try await endpoint.receive() }
            waiting.cancel()
            await #expect(throws: PacketError.stream(.cancelled)) { try await waiting.value }
            try await far.say(" and half\n")
            #expect(try await endpoint.receive() == "half and half")
        }
    }

    @Test(arguments: PairKind.allCases)
    func `40: an overlong line is one error, then comes the next real line`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            let endpoint = StreamEndpoint(
                near.reader, near.writer, LineCodec.lines(limit: 10))
            for _ in 0..<5 { try await far.say("AAAAAAAAAA") }
            let receiving = await started { try await endpoint.receive() }
            try await far.say("AAA\nGOOD\n")
            await #expect(throws: PacketError.limitExceeded(limit: 10)) {
                try await receiving.value
            }
            #expect(try await endpoint.receive() == "GOOD")
        }
    }

    @Test(arguments: PairKind.allCases)
    func `56: packets of many tasks arrive whole`(_ kind: PairKind) async throws {
        try await withEndpoint(kind) { endpoint, far in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<50 {
                    let text = String(repeating: "\(number % 10)", count: 1 + number * 100)
                    group.addTask { try await endpoint.send(text) }
                }
                group.addTask {
                    var lines = Set<[UInt8]>()
                    for _ in 0..<50 {
                        let line = try await far.reader.readLine() ?? []
                        #expect(Set(line.dropLast()).count == 1)
                        lines.insert(line)
                    }
                    #expect(lines.count == 50)
                }
                try await group.waitForAll()
            }
        }
    }

    @Test(arguments: PairKind.allCases)
    func `72: pipelined packets leave other tasks their turns`(_ kind: PairKind) async throws {
        try await withEndpoint(kind) { endpoint, far in
            let feeding = EventLoop.current!.spawn {
                for _ in 0..<250 {
                    try await far.writer.send(String(repeating: "x\n", count: 200))
                }
                try far.writer.finishWriting()
            }
            let turns = Shared(0)
            let other = EventLoop.current!.spawn {
                while !Task.isCancelled {
                    turns.withLock { $0 += 1 }
                    await EventLoop.yield()
                }
            }
            var count = 0
            for try await packet in endpoint.packets {
                #expect(packet == "x")
                count += 1
            }
            other.cancel()
            _ = await other.result
            try await feeding.value
            #expect(count == 50_000)
            #expect(turns.value >= 50_000 / 64)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `9: a receive asks for no more than its limit, which is 1 or more`(
        _ kind: PairKind
    ) async throws {
        try await withEndpoint(kind) { endpoint, far in
            for size in [0, -1] {
                #expect(throws: PacketError.self) { try endpoint.receiver.setMaxReceiveSize(size) }
            }
            try endpoint.receiver.setMaxReceiveSize(3)
            try await far.say("ab\ncdefgh\n")
            #expect(try await endpoint.receive() == "ab")
            #expect(endpoint.reader.buffered == 0)
            #expect(try await endpoint.receive() == "cdefgh")
            #expect(endpoint.reader.bytesReceived == 10)
        }
    }

    @Test func `a length of many bytes costs nothing until they come`() async throws {
        try await withPair(.memory) { near, far in
            let codec = FramedCodec(
                LengthPrefixFraming(UInt64.self, limit: .max), BytesSerializer())
            let endpoint = StreamEndpoint(near.reader, near.writer, codec)
            try await far.say([0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xF0, 1])
            let waiting = await started { try await endpoint.receive() }
            #expect(near.reader.bytesReceived == 9)
            try await far.finish()
            await #expect(throws: PacketError.truncated(received: 9)) { try await waiting.value }
        }
    }
}

/// A lines endpoint at the near end, the bytes of the far end.
func withEndpoint(
    _ kind: PairKind, sourceLocation: SourceLocation = #_sourceLocation,
    _ body: @escaping @Sendable (LineEndpoint, StreamEnd) async throws -> Void
) async throws {
    try await withPair(kind, sourceLocation: sourceLocation) { near, far in
        try await body(StreamEndpoint(near.reader, near.writer, LineCodec.lines()), far)
    }
}
