// Bytes that arrive in pieces, make no sense, or say too much, over real connections. The numbers
// are those of the behaviours that packet connections must show.

import Sluice
import SluiceTestKit
import Testing

@testable import SluicePackets

/// Packets of every shape, and what comes back for them.
private let questions: [[UInt8]] = [
    fromHex("0803020168656c6c6f"), fromHex("0406020378"), fromHex("03077e06"),
    fromHex("090003050168656c6c6f"), fromHex("0a000f822c0168656c6c6f"),
    // A channel 0 that is said, an answer that nobody waits for, and integers with padding.
    fromHex("05020300017a"), fromHex("06630441424344"), fromHex("0780800a800280017a").dropLast(1),
    wire(request(300, 0), [UInt8](repeating: 5, count: 130)), fromHex("03010200"),
    fromHex("03000200"),
]
private let answers: [[UInt8]] = [
    fromHex("07030468656c6c6f"),
    wire(response(6, ok: false), bytes("exception during handler")),
    fromHex("03078204"), fromHex("0800050568656c6c6f"), fromHex("090005822c68656c6c6f"),
    fromHex("0302047a"), fromHex("020a04"),
    wire(response(300), [UInt8](repeating: 5, count: 130)), endMarkers,
]

@Suite struct RequestBytesTests {
    /// Sends the questions in these pieces; every piece has arrived before the next one is sent.
    private func talk(_ kind: PairKind, pieces: [[UInt8]]) async throws -> [UInt8] {
        let (near, far) = try await kind.makePair()
        let connection = RequestConnection(near.reader, near.writer, handler: testService)
        return try await releasing(near, far) {
            for piece in pieces { try await far.say(piece) }
            let all = try await far.reader.readToEnd()
            // Else the close would wait for the far end's.
            try await far.finish()
            try await connection.join()
            return all
        }
    }

    // PACKETS 9, 6
    @Test(arguments: PairKind.allCases)
    func `packets that are cut anywhere are the same packets`(_ kind: PairKind) async throws {
        try await withLoop { _ in
            let stream = Array(questions.joined())
            let expected = Array(answers.joined())
            #expect(try await talk(kind, pieces: [stream]) == expected)
            for cut in 1..<stream.count {
                let pieces = [Array(stream[..<cut]), Array(stream[cut...])]
                let got = try await talk(kind, pieces: pieces)
                guard got == expected else {
                    Issue.record("cut at \(cut): \(got)")
                    return
                }
            }
        }
    }

    // PACKETS 9
    @Test(arguments: PairKind.allCases)
    func `packets that come byte by byte are the same packets`(_ kind: PairKind) async throws {
        try await withLoop { _ in
            let got = try await talk(kind, pieces: questions.joined().map { [$0] })
            #expect(got == Array(answers.joined()))
        }
    }

    // PACKETS 8
    @Test(arguments: PairKind.allCases)
    func `2 MiB go there and back`(_ kind: PairKind) async throws {
        try await withConnections(kind) { client, _ in
            let payload = (0..<(2 << 20)).map { UInt8(truncatingIfNeeded: $0) }
            let answer = try await client.call(0, payload: payload)
            #expect(answer.payload == payload)
        }
    }

    // PACKETS 11
    @Test(arguments: PairKind.allCases)
    func `a size over the limit ends the connection before any of the packet has come`(
        _ kind: PairKind
    ) async throws {
        var options = RequestOptions()
        options.packetLimit = 1_000
        try await withRawPeer(kind, options: options) { connection, far in
            let pending = try await connection.submit(0)
            // 1,001.
            try await far.say([0x87, 0x69])
            let limit = PacketError.limitExceeded(limit: 1_000)
            await #expect(throws: limit) { try await pending.response() }
            #expect(try await far.reader.readToEnd() == fromHex("03020201"))
            try await far.finish()
            await #expect(throws: limit) { try await connection.join() }
        }
    }

    // PACKETS 11
    @Test(arguments: PairKind.allCases)
    func `what is only announced takes no memory`(_ kind: PairKind) async throws {
        var options = RequestOptions()
        options.packetLimit = .max
        try await withRawPeer(kind, options: options) { connection, far in
            // 2^62 bytes.
            try await far.say(fromHex("c08080808080808000") + [2, 2, 1])
            let pump = try #require(connection.pump)
            // Were it taken at its word there would be a trap long before.
            #expect(pump.reader.undecoded.count == 12)
            #expect(pump.state.pointee.wanted == 9 + 1 << 62)
            try await far.finish()
            await #expect(throws: PacketError.truncated(received: 12)) {
                try await connection.join()
            }
        }
    }

    // PACKETS 12, 51
    @Test(
        arguments: PairKind.allCases,
        [
            "00", "0102", "020281", "03020380", "020202", "03070200", "0400020005",
            "81ffffffffffffffff7f",
        ])
    func `a packet that makes no sense fails what is pending, and nothing behind it is handled`(
        _ kind: PairKind, _ hex: String
    ) async throws {
        try await withRawPeer(kind) { connection, far in
            let pending = try await connection.submit(0)
            try await far.say(fromHex(hex) + wire(request(9, 0)))
            let error = try #require(
                await #expect(throws: PacketError.self) { try await pending.response() })
            switch error {
            case .malformed: #expect(hex.count < 20)
            case .limitExceeded: #expect(hex.count == 20)
            default: Issue.record("\(error)")
            }
            await #expect(throws: error) { try await connection.submit(0) }
            #expect(try await far.reader.readToEnd() == fromHex("03020201"))
            #expect(connection.statistics.requestsReceived == 0)
        }
    }
}
