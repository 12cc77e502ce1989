// What once went wrong with request connections: ends that were not said, reading that nothing
// woke again.

import Sluice
import SluiceTestKit
import Testing

@testable import SluicePackets

@Suite struct RegressionRequestTests {
    // MARK: The end is said

    // Over the stream's mark, and over its cap.
    @Test(arguments: PairKind.allCases, [(200_000, false), (1 << 20, false), (1 << 20, true)])
    func `the end leaves behind an answer that fills the output`(
        _ kind: PairKind, _ case: (Int, Bool)
    ) async throws {
        let (size, closesStreams) = `case`
        let gate = Gate()
        let handler: RequestHandler = { _, _ in
            try await gate.wait()
            return .bytes([UInt8](repeating: 1, count: size))
        }
        var options = RequestOptions()
        options.closesStreams = closesStreams
        try await withRawPeer(kind, options: options, handler: handler) { connection, far in
            try await far.say(wire(request(2, 0)) + endMarkers)
            #expect(try await far.reader.readExactly(4) == fromHex("03010200"))
            gate.open()
            #expect(try await far.packet().0 == response(2))
            #expect(try await far.reader.readExactly(4) == fromHex("03000200"))
        }
    }

    @Test(arguments: PairKind.allCases)
    func `the end is said although packets wait for others`(_ kind: PairKind) async throws {
        var options = RequestOptions()
        options.packetGrace = .milliseconds(5)
        try await withRawPeer(kind, options: options) { _, far in
            try await far.say(wire(request(2, 0), [1]) + endMarkers)
            #expect(try await far.reader.readToEnd() == wire(response(2), [1]) + endMarkers)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `a close does not wait for packets to leave together`(_ kind: PairKind) async throws {
        var options = RequestOptions()
        options.packetGrace = .seconds(3_600)
        try await withRawPeer(kind, options: options) { connection, far in
            _ = try await connection.submit(0)
            let closing = await started { await connection.close(within: .seconds(3_600)) }
            #expect(try await far.reader.readExactly(12) == fromHex("03020201") + endMarkers)
            try await far.say(endMarkers)
            try await far.finish()
            try await closing.value
        }
    }

    @Test(arguments: PairKind.allCases)
    func `the end of requests is said once the last of those that waited was sent`(
        _ kind: PairKind
    ) async throws {
        var options = RequestOptions()
        options.inFlightLimit = 1
        try await withRawPeer(kind, options: options) { connection, far in
            _ = try await connection.submit(0)
            let second = await started { try await connection.submit(0) }
            await connection.endRequests()
            // The worker that has served the request pulls the answer.
            try await far.say(wire(request(2, 0)) + wire(response(2)))
            #expect(try await second.value.tag == 3)
            #expect(
                try await far.reader.readExactly(15)
                    == fromHex("03020201") + wire(response(2)) + fromHex("03030201")
                    + fromHex("03010200"))
        }
    }

    // MARK: Reading goes on

    @Test(arguments: PairKind.allCases)
    func `a mark below the stream's own is no stop`(_ kind: PairKind) async throws {
        var options = RequestOptions()
        options.mark = 1
        try await withRawPeer(kind, options: options) { _, far in
            let payload = [UInt8](repeating: 1, count: 64)
            let packets = (2..<12).flatMap { wire(request($0, 0), payload) }
            try await far.say(packets)
            for tag in 2..<12 { #expect(try await far.packet().0 == response(UInt64(tag))) }
        }
    }

    @Test(arguments: PairKind.allCases)
    func `packets that have waited for others make room for requests`(
        _ kind: PairKind
    ) async throws {
        var options = RequestOptions()
        options.mark = 32_768
        options.packetGrace = .milliseconds(2)
        try await withRawPeer(kind, options: options) { _, far in
            let payload = [UInt8](repeating: 1, count: 8_192)
            let packets = (2..<34).flatMap { wire(request($0, 0), payload) }
            let sender = await started { try await far.say(packets) }
            for tag in 2..<34 { #expect(try await far.packet().0 == response(UInt64(tag))) }
            try await sender.value
        }
    }

    @Test(arguments: PairKind.allCases)
    func `requests kept while an answer is waited for are served when output has left`(
        _ kind: PairKind
    ) async throws {
        let handler: RequestHandler = { request, _ in
            .bytes([UInt8](repeating: 1, count: request.type == 1 ? 12 << 20 : 1))
        }
        try await withRawPeer(kind, handler: handler) { connection, far in
            _ = try await connection.submit(0)
            try await far.say(wire(request(2, 1)))
            try await far.say(wire(request(3, 0)))
            try await eventually("it is kept") {
                connection.pump?.state.pointee.waitingBytes ?? 0 > 0
            }
            #expect(try await far.packet().0 == request(2, 0))
            #expect(try await far.packet().0 == response(2))
            #expect(try await far.packet().0 == response(3))
        }
    }

    @Test(arguments: PairKind.allCases)
    func `packets that leave early, for the end, make room for what comes as well`(
        _ kind: PairKind
    ) async throws {
        var options = RequestOptions()
        options.mark = 100
        options.packetGrace = .seconds(3_600)
        options.closesStreams = false
        try await withRawPeer(kind, options: options) { connection, far in
            let payload = [UInt8](repeating: 1, count: 64)
            try await far.say((2..<5).flatMap { wire(request($0, 0), payload) })
            #expect(connection.statistics.requestsReceived == 1)
            await connection.sendEOF()
            #expect(try await far.packet().0 == response(2))
            #expect(try await far.reader.readExactly(8) == endMarkers)
            try await far.say(endMarkers)
            try await withTimeout(.seconds(10)) { try await connection.join() }
            await connection.writer?.abort()
        }
    }

    // Two peers that have both given up what they had asked would else wait for each other.
    @Test(arguments: PairKind.allCases)
    func `an answer that nobody waits for any longer is read past a full output, too`(
        _ kind: PairKind
    ) async throws {
        let handler: RequestHandler = { _, _ in .bytes([UInt8](repeating: 1, count: 12 << 20)) }
        try await withRawPeer(kind, handler: handler) { connection, far in
            try await connection.submit(0).cancel()
            try await far.say(wire(request(2, 0)))
            try await far.say(wire(request(3, 0)) + wire(response(2)))
            try await eventually("it is read") { connection.statistics.answersIgnored == 1 }
            // From now on none is to come.
            try await far.say(wire(request(4, 0)))
            await settle()
            #expect(connection.statistics.requestsReceived == 2)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `requests kept at the peer's end are served when output has left`(
        _ kind: PairKind
    ) async throws {
        let handler: RequestHandler = { request, _ in
            .bytes([UInt8](repeating: 1, count: request.type == 1 ? 12 << 20 : 1))
        }
        try await withRawPeer(kind, handler: handler) { connection, far in
            _ = try await connection.submit(0)
            try await far.say(wire(request(2, 1)))
            try await far.say(wire(request(3, 0)) + endMarkers)
            try await connection.joinReceive()
            #expect((connection.pump?.state.pointee.waitingBytes ?? 0) > 0)
            #expect(try await far.packet().0 == request(2, 0))
            #expect(try await far.packet().0 == response(2))
            #expect(
                try await far.reader.readToEnd()
                    == fromHex("03010200") + wire(response(3), [1]) + fromHex("03000200"))
        }
    }

    @Test(arguments: PairKind.allCases)
    func `many requests that were kept leave turns to others`(_ kind: PairKind) async throws {
        var options = RequestOptions()
        options.servingPerChannel = 1
        let gate = Gate()
        let turns = Shared<Set<UInt64>>([])
        let handler: RequestHandler = { request, connection in
            if request.type == 1 { try await gate.wait() }
            let turn = await connection.loop.statistics().turns
            turns.withLock { _ = $0.insert(turn) }
            return .nothing
        }
        try await withRawPeer(kind, options: options, handler: handler) { connection, far in
            try await far.say(wire(request(2, 1)))
            try await far.say((3..<1_003).flatMap { wire(request($0, 0)) })
            try await eventually("all are kept") {
                connection.statistics.requestsReceived == 1_001
            }
            try await far.say(endMarkers)
            gate.open()
            for tag in 2..<1_003 {
                let (header, _) = try await far.packet()
                if header.kind == .endOfRequests { continue }
                #expect(header.kind == .response(isOK: true), "\(tag)")
            }
            #expect(turns.value.count >= 1_000 / PacketBounds.requestsInARow)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `the end is said when all that still waited was dropped`(_ kind: PairKind) async throws {
        var options = RequestOptions()
        options.servingPerChannel = 1
        try await withRawPeer(kind, options: options) { _, far in
            // The second waits for the first; the third has its tag.
            let requests = wire(request(2, 3), bytes("50")) + wire(request(3, 0), [1])
            try await far.say(requests + wire(request(3, 0), [2]) + endMarkers)
            #expect(try await far.packet().0 == response(3, ok: false))
            #expect(try await far.packet().0.kind == .endOfRequests)
            #expect(try await far.packet().0 == response(2))
            let end = try await far.packet().0
            #expect(end.kind == .end)
        }
    }
}
