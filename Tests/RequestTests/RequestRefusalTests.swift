// Requests that are refused, tags that are used again, answers that nobody waits for. The numbers
// are those of the behaviours that packet connections must show.

import Sluice
import SluiceTestKit
import Testing

@testable import SluicePackets

@Suite struct RequestRefusalTests {
    // PACKETS 21
    @Test(arguments: PairKind.allCases)
    func `a peer without a handler refuses`(_ kind: PairKind) async throws {
        try await withRawPeer(kind, handler: nil) { connection, far in
            try await far.say(wire(request(2, 0)) + wire(request(0, 3, channel: 9)))
            for header in [response(2, ok: false), response(0, ok: false, channel: 9)] {
                let (found, payload) = try await far.packet()
                #expect(found == header)
                #expect(payload == bytes("no request handler"))
            }
            #expect(connection.statistics.requestsRefused == 2)
        }
    }

    // PACKETS 22
    @Test(arguments: PairKind.allCases)
    func `a request on a channel that is not served is refused there`(
        _ kind: PairKind
    ) async throws {
        var options = RequestOptions()
        options.servesChannel = { $0 < 4 }
        try await withRawPeer(kind, options: options) { _, far in
            try await far.say(wire(request(5, 0, channel: 77), [1]) + wire(request(2, 0), [2]))
            let (header, payload) = try await far.packet()
            #expect(header == response(5, ok: false, channel: 77))
            #expect(payload == bytes("unknown channel 77"))
            #expect(try await far.packet() == (response(2), [2]))
        }
    }

    @Test(arguments: PairKind.allCases)
    func `channels over the limit are refused, by either side`(_ kind: PairKind) async throws {
        var options = RequestOptions()
        options.channelLimit = 1
        try await withRawPeer(kind, options: options) { connection, far in
            let taken = try await connection.submit(0, channel: 8)
            #expect(taken.tag == 0)
            await #expect(throws: PacketError.unencodable("a channel over the limit")) {
                try await connection.submit(0, channel: 9)
            }
            #expect(try await far.packet().0 == request(0, 0, channel: 8))
            try await far.say(wire(request(0, 0, channel: 9)) + wire(request(0, 0, channel: 8)))
            let (header, payload) = try await far.packet()
            #expect(header == response(0, ok: false, channel: 9))
            #expect(payload == bytes("too many channels"))
            #expect(try await far.packet().0 == response(0, channel: 8))
        }
    }

    @Test(arguments: PairKind.allCases)
    func `refusals on many channels open none of them`(_ kind: PairKind) async throws {
        try await withRawPeer(kind, handler: nil) { connection, far in
            let pump = try #require(connection.pump)
            // Output that the far end does not take: refusals have to queue.
            try await clog(near: pump.writer)
            let flood = (1...300).flatMap { wire(request(0, 0, channel: $0)) }
            try await far.say(flood)
            try await eventually("all are refused") {
                connection.statistics.requestsRefused == 300
            }
            #expect(!pump.state.pointee.outgoingChannels.isEmpty)
            #expect(pump.state.pointee.channels.isEmpty)
        }
    }

    private func clog(near writer: StreamWriter) async throws {
        _ = try await SluiceTestKit.clog(writer, highWaterMark: writer.marks.high)
    }

    // PACKETS 23
    @Test(arguments: PairKind.allCases)
    func `a tag that is in use has one answer, a refusal, and is free then`(
        _ kind: PairKind
    ) async throws {
        let gate = Gate()
        let handler: RequestHandler = { request, _ in
            if request.type == 100 { try await gate.wait() }
            return .bytes(request.payload)
        }
        try await withRawPeer(kind, handler: handler) { connection, far in
            try await far.say(wire(request(2, 100), [1]))
            try await far.say(wire(request(2, 0), [2]))
            let (header, payload) = try await far.packet()
            #expect(header == response(2, ok: false))
            #expect(payload == bytes("channel 0: tag already in use: 2"))
            // While the first one's handler still works.
            try await far.say(wire(request(2, 0), [3]))
            #expect(try await far.packet() == (response(2), [3]))
            gate.open()
            try await far.say(wire(request(2, 0), [4]) + endMarkers)
            #expect(try await far.packet() == (response(2), [4]))
            #expect(try await far.reader.readToEnd() == endMarkers)
            #expect(connection.statistics.answersSent == 3)
        }
    }

    // PACKETS 23
    @Test(arguments: PairKind.allCases)
    func `so has the tag of a request that waits to be served`(_ kind: PairKind) async throws {
        var options = RequestOptions()
        options.servingPerChannel = 1
        let gate = Gate()
        let handler: RequestHandler = { request, _ in
            if request.type == 100 { try await gate.wait() }
            return .bytes(request.payload)
        }
        try await withRawPeer(kind, options: options, handler: handler) { _, far in
            try await far.say(wire(request(2, 100), [1]))
            // The first waits, the second is refused and takes it along, the third waits again.
            for byte in [5, 6, 7] as [UInt8] { try await far.say(wire(request(3, 0), [byte])) }
            let (header, payload) = try await far.packet()
            #expect(header == response(3, ok: false))
            #expect(payload == bytes("channel 0: tag already in use: 3"))
            gate.open()
            #expect(try await far.packet() == (response(2), [1]))
            #expect(try await far.packet() == (response(3), [7]))
            try await far.say(endMarkers)
            #expect(try await far.reader.readToEnd() == endMarkers)
        }
    }

    // PACKETS 24
    @Test(arguments: PairKind.allCases)
    func `a finished tag may be used again, three times`(_ kind: PairKind) async throws {
        try await withRawPeer(kind) { _, far in
            for byte in [1, 2, 3] as [UInt8] {
                try await far.say(wire(request(2, 0), [byte]))
                #expect(try await far.packet() == (response(2), [byte]))
            }
            // In one segment too, for each is answered before the next one is looked at.
            try await far.say(wire(request(2, 0), [4]) + wire(request(2, 0), [5]))
            #expect(try await far.packet() == (response(2), [4]))
            #expect(try await far.packet() == (response(2), [5]))
        }
    }

    // PACKETS 25, 26
    @Test(arguments: PairKind.allCases)
    func `an answer to nothing, and a second answer, change nothing`(
        _ kind: PairKind
    ) async throws {
        try await withRawPeer(kind) { connection, far in
            let pending = try await connection.submit(0)
            try await far.say(
                wire(response(77), [1]) + wire(response(0, channel: 5), [2])
                    + wire(response(2), [3]) + wire(response(2), [4]))
            #expect(try await pending.response().payload == [3])
            #expect(connection.statistics.answersIgnored == 3)
            let next = try await connection.submit(0)
            #expect(next.tag == 3)
            try await far.say(wire(response(3), [5]))
            #expect(try await next.response().payload == [5])
        }
    }

    // PACKETS 29
    @Test(arguments: PairKind.allCases)
    func `the same tag on two channels is two requests`(_ kind: PairKind) async throws {
        let gate = Gate()
        let handler: RequestHandler = { request, _ in
            if request.channel == 0 { try await gate.wait() }
            return .bytes(request.payload)
        }
        try await withRawPeer(kind, handler: handler) { connection, far in
            try await far.say(wire(request(2, 0), [1]) + wire(request(2, 0, channel: 5), [2]))
            #expect(try await far.packet() == (response(2, channel: 5), [2]))
            gate.open()
            #expect(try await far.packet() == (response(2), [1]))
            // And as the one who asks.
            for _ in 0..<3 { _ = try await connection.submit(0, channel: 5) }
            let five = try await connection.submit(0, channel: 6)
            let zero = try await connection.submit(0)
            #expect((five.tag, zero.tag) == (0, 2))
        }
    }

    // PACKETS 30
    @Test(arguments: PairKind.allCases)
    func `what the wire has no room for is refused at the call, and nothing is sent`(
        _ kind: PairKind
    ) async throws {
        var options = RequestOptions()
        options.packetLimit = 100
        try await withRawPeer(kind, options: options) { connection, far in
            await #expect(throws: PacketError.unencodable("a type over 2^64 - 2")) {
                try await connection.call(.max)
            }
            await #expect(throws: PacketError.unencodable("flags of more than 62 bits")) {
                try await connection.submit(0, flags: 1 << 62)
            }
            await #expect(throws: PacketError.limitExceeded(limit: 100)) {
                try await connection.submit(0, payload: [UInt8](repeating: 0, count: 100))
            }
            let widest = try await connection.submit(
                .max - 1, flags: .max >> 2, channel: .max)
            #expect(widest.tag == 0)
            #expect(
                try await far.packet().0
                    == request(0, .max - 1, flags: .max >> 2, channel: .max))
            #expect(connection.statistics.requestsSent == 1)
        }
    }

    // PACKETS 30
    @Test(arguments: PairKind.allCases)
    func `an answer that the wire has no room for is a failure`(_ kind: PairKind) async throws {
        var options = RequestOptions()
        options.packetLimit = 100
        let handler: RequestHandler = { request, _ in
            switch request.type {
            case 0: return .flags(1 << 61)
            case 1: return .bytes([UInt8](repeating: 0, count: 100))
            case 2: throw RequestFailure(flags: .max, "no")
            default: return .flags(.max >> 3)
            }
        }
        try await withConnections(kind, options: options, server: handler) { client, _ in
            for (type, text) in [
                (0, "the answer's flags are too wide"), (1, "the answer is too long"),
                (2, "the answer's flags are too wide"),
            ] as [(UInt64, String)] {
                let answer = try await client.submit(type).response()
                #expect(!answer.isOK)
                #expect(answer.text == text)
            }
            #expect(try await client.call(3).flags == .max >> 3)
        }
    }

    // PACKETS 31
    @Test(arguments: PairKind.allCases)
    func `what decoding throws is thrown to whoever asked, and to nobody else`(
        _ kind: PairKind
    ) async throws {
        try await withConnections(kind) { client, _ in
            let decode: @Sendable (Response) throws -> Int = { response in
                guard let number = Int(response.text) else {
                    throw PacketError.malformed("no number")
                }
                return number
            }
            let good = try await client.submit(
                0, payload: bytes("42"), decodeResponse: decode)
            let bad = try await client.submit(0, payload: bytes("x"), decodeResponse: decode)
            let failed = try await client.submit(2, decodeResponse: decode)
            for _ in 0..<2 {
                await #expect(throws: PacketError.malformed("no number")) {
                    try await bad.response()
                }
                #expect(try await good.response() == 42)
            }
            await #expect(
                throws: PacketError.requestFailed(RequestFailure("exception during handler"))
            ) {
                try await failed.response()
            }
            await #expect(throws: PacketError.malformed("no number")) {
                try await client.call(0, payload: bytes("y"), decodeResponse: decode)
            }
            #expect(try await client.call(0, payload: bytes("7"), decodeResponse: decode) == 7)
        }
    }
}
