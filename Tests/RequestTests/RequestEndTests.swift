// The end: of the peer's packets, of this side's, and of the stream. The numbers are those of the
// behaviours that packet connections must show.

import Sluice
import SluiceTestKit
import Testing

@testable import SluicePackets

/// What ends a connection in which 100 requests wait.
enum Ending: String, CaseIterable, Sendable, CustomTestStringConvertible {
    case endPacket, finish, reset, cutPacket, malformed, tooLong, close, abort, deadline, timeout

    var testDescription: String { rawValue }

    func begin(_ connection: RequestConnection, _ far: StreamEnd) async throws {
        switch self {
        case .endPacket: try await far.say(endMarkers)
        case .finish: try await far.finish()
        case .reset: await far.writer.abort()
        case .cutPacket:
            try await far.say(Array(wire(request(2, 0), [1, 2, 3]).dropLast(2)))
            try await far.finish()
        case .malformed: try await far.say(fromHex("03070200"))
        case .tooLong: try await far.say(fromHex("ffffffff7f"))
        case .close: await connection.close(within: .milliseconds(1))
        case .abort: await connection.abort()
        case .deadline, .timeout: break
        }
    }

    func isRight(_ error: PacketError) -> Bool {
        switch (self, error) {
        case (.endPacket, .peerClosed), (.finish, .peerClosed): true
        case (.reset, .stream(let error)): error.isReset
        case (.cutPacket, .truncated(received: 5)), (.malformed, .malformed): true
        case (.tooLong, .limitExceeded(limit: 16 << 20)): true
        case (.close, .stream(.closed)), (.abort, .stream(.aborted)): true
        case (.deadline, .stream(.timedOut)), (.timeout, .stream(.timedOut)): true
        default: false
        }
    }
}

@Suite struct RequestEndTests {
    // PACKETS 46, 47, 50
    @Test(arguments: PairKind.allCases, Ending.allCases)
    func `100 who wait have the reason, whatever the end is`(
        _ kind: PairKind, _ ending: Ending
    ) async throws {
        var options = RequestOptions()
        // 60 under way, 40 that wait for a place.
        options.inFlightLimit = 60
        if ending == .timeout { options.requestTimeout = .milliseconds(10) }
        try await withRawPeer(kind, options: options) { connection, far in
            let within: Duration? = ending == .deadline ? .milliseconds(5) : nil
            var tasks: [Task<Void, any Error>] = []
            for index in 0..<100 {
                tasks.append(
                    await started {
                        if index.isMultiple(of: 2) {
                            _ = try await connection.call(0, within: within)
                        } else {
                            _ = try await connection.submit(0, within: within).response()
                        }
                    })
            }
            try await ending.begin(connection, far)
            for task in tasks {
                let result = await task.result
                let error = #expect(throws: PacketError.self) { try result.get() }
                #expect(error.map(ending.isRight) == true, "\(String(describing: error))")
            }
            #expect(connection.requestsInFlight == 0)
        }
    }

    // PACKETS 41
    @Test(arguments: PairKind.allCases)
    func `both ends are answered by both ends, once`(_ kind: PairKind) async throws {
        try await withRawPeer(kind) { connection, far in
            try await far.say(endMarkers)
            #expect(try await far.reader.readToEnd() == endMarkers)
            try await far.finish()
            try await connection.join()
            try await connection.joinReceive()
            #expect(connection.isClosing)
        }
    }

    // PACKETS 42, 43
    @Test(arguments: PairKind.allCases)
    func `behind the end of its requests a peer's are refused, and this side's go on`(
        _ kind: PairKind
    ) async throws {
        try await withRawPeer(kind) { connection, far in
            try await far.say(fromHex("03010200") + wire(request(2, 0)))
            let (header, payload) = try await far.packet()
            #expect(header == response(2, ok: false))
            #expect(payload == bytes("requests no longer allowed"))
            let pending = try await connection.submit(0)
            #expect(try await far.packet().0 == request(2, 0))
            try await far.say(wire(response(2), [8]))
            #expect(try await pending.response().payload == [8])
        }
    }

    @Test(arguments: PairKind.allCases)
    func `endRequests is told behind what was submitted, and answers go on both ways`(
        _ kind: PairKind
    ) async throws {
        try await withRawPeer(kind) { connection, far in
            let pending = try await connection.submit(0)
            await connection.endRequests()
            await connection.endRequests()
            #expect(connection.isClosing)
            await #expect(throws: PacketError.stream(.closed)) { try await connection.submit(0) }
            #expect(try await far.reader.readExactly(8) == fromHex("0302020103010200"))
            try await far.say(wire(request(2, 0), [4]) + wire(response(2), [5]))
            #expect(try await far.packet() == (response(2), [4]))
            #expect(try await pending.response().payload == [5])
        }
    }

    // PACKETS 44
    @Test(arguments: PairKind.allCases)
    func `the peer's end waits for the handlers' answers`(_ kind: PairKind) async throws {
        let gate = Gate()
        try await withRawPeer(
            kind,
            handler: { request, _ in
                try await gate.wait()
                return .bytes(request.payload)
            }
        ) { connection, far in
            try await far.say(wire(request(2, 0), [1]) + wire(request(3, 0), [2]) + endMarkers)
            try await connection.joinReceive()
            // No more requests come from here: that may be said at once.
            #expect(try await far.reader.readExactly(4) == fromHex("03010200"))
            #expect(gate.count == 2)
            gate.open()
            var tags: Set<UInt64> = []
            for _ in 0..<2 { tags.insert(try await far.packet().0.tag) }
            #expect(tags == [2, 3])
            #expect(try await far.reader.readToEnd() == fromHex("03000200"))
        }
    }

    // PACKETS 45
    @Test(arguments: PairKind.allCases)
    func `behind a half-close the answers still leave, then the end`(
        _ kind: PairKind
    ) async throws {
        let gate = Gate()
        try await withRawPeer(
            kind,
            handler: { request, _ in
                try await gate.wait()
                return .bytes(request.payload)
            }
        ) { connection, far in
            try await far.say(wire(request(2, 0), [1]))
            try await far.finish()
            try await connection.joinReceive()
            gate.open()
            #expect(
                try await far.reader.readToEnd()
                    == fromHex("03010200") + wire(response(2), [1]) + fromHex("03000200"))
            try await connection.join()
        }
    }

    // PACKETS 46, 48
    @Test(arguments: PairKind.allCases)
    func `behind the peer's end nothing can be submitted`(_ kind: PairKind) async throws {
        let gate = Gate()
        let handler: RequestHandler = { _, _ in
            try await gate.wait()
            return .nothing
        }
        try await withRawPeer(kind, handler: handler) { connection, far in
            let pending = try await connection.submit(0)
            try await far.say(wire(request(2, 0)) + endMarkers)
            await #expect(throws: PacketError.peerClosed) { try await pending.response() }
            await #expect(throws: PacketError.peerClosed) { try await connection.submit(0) }
            gate.open()
            try await far.finish()
            try await connection.join()
            await #expect(throws: PacketError.peerClosed) { try await connection.call(0) }
        }
    }

    // PACKETS 49
    @Test(arguments: PairKind.allCases)
    func `a close ends at its deadline when the peer says nothing`(_ kind: PairKind) async throws {
        try await withRawPeer(kind) { connection, far in
            await connection.close(within: .milliseconds(20))
            await #expect(throws: PacketError.stream(.timedOut)) { try await connection.join() }
            #expect(connection.writer?.isClosing == true)
            let said = try await far.reader.readExactly(8)
            #expect(said == endMarkers)
            // The descriptor is gone: what is said now meets nobody.
            await #expect(throws: StreamError.self) {
                for _ in 0..<10_000 { try await far.say([1]) }
            }
        }
    }

    // PACKETS 50
    @Test(arguments: PairKind.allCases)
    func `a second close changes nothing, and a shorter one counts`(
        _ kind: PairKind
    ) async throws {
        try await withRawPeer(kind) { connection, far in
            let pending = try await connection.submit(0)
            let first = await started { await connection.close(within: .seconds(3_600)) }
            await #expect(throws: PacketError.stream(.closed)) { try await pending.response() }
            #expect(try await far.reader.readExactly(12) == fromHex("03020201") + endMarkers)
            await connection.close(within: .milliseconds(5))
            await connection.close()
            try await first.value
            await #expect(throws: PacketError.stream(.closed)) { try await connection.call(0) }
        }
    }

    // PACKETS 51
    @Test(arguments: PairKind.allCases)
    func `bytes behind the end are ignored`(_ kind: PairKind) async throws {
        try await withRawPeer(kind) { connection, far in
            try await far.say(endMarkers + wire(request(2, 0)) + fromHex("00ffff"))
            #expect(try await far.reader.readToEnd() == endMarkers)
            #expect(connection.statistics.requestsReceived == 0)
            try await far.finish()
            try await connection.join()
        }
    }

    // PACKETS 51
    @Test(arguments: PairKind.allCases)
    func `the reserved type with a tag of its own ends the stream`(_ kind: PairKind) async throws {
        try await withRawPeer(kind) { connection, far in
            try await far.say(fromHex("03070200") + wire(request(2, 0)))
            #expect(try await far.reader.readToEnd() == [])
            try await far.finish()
            await #expect(throws: PacketError.malformed("a request of the reserved type")) {
                try await connection.join()
            }
            #expect(connection.statistics.requestsReceived == 0)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `handlers are cancelled when nobody can have their answers`(
        _ kind: PairKind
    ) async throws {
        let ended = Shared(0)
        let handler: RequestHandler = { _, _ in
            defer { ended.withLock { $0 += 1 } }
            try await sleep(for: .seconds(3_600))
            return .nothing
        }
        try await withRawPeer(kind, handler: handler) { connection, far in
            // One that waited has gone through its worker before.
            try await far.say((2..<6).flatMap { wire(request($0, 0)) })
            try await far.say(endMarkers)
            await far.writer.abort()
            try await eventually("all are cancelled") { ended.value == 4 }
        }
    }

    @Test func `so is the one that a server's own task runs`() async throws {
        let began = Shared(0)
        let ended = Shared(0)
        try await withLoop { _ in
            let server = try await startServer(
                port: 0,
                requestHandler: { _, _ in
                    began.withLock { $0 += 1 }
                    defer { ended.withLock { $0 += 1 } }
                    try await sleep(for: .seconds(3_600))
                    return .nothing
                })
            let client = try await openRequestConnection(host: "127.0.0.1", port: server.port)
            _ = try await client.submit(0)
            try await eventually("the handler runs") { began.value == 1 }
            await client.abort()
            try await eventually("it is cancelled") { ended.value == 1 }
            await server.close()
        }
    }

    @Test(arguments: PairKind.allCases)
    func `a connection that nobody holds closes itself, and refuses what comes meanwhile`(
        _ kind: PairKind
    ) async throws {
        try await withLoop { _ in
            let (near, far) = try await kind.makePair()
            try await releasing(near, far) {
                var connection: RequestConnection? = RequestConnection(
                    near.reader, near.writer, handler: testService)
                #expect(try await connection?.submit(0).tag == 2)
                connection = nil
                try await far.say(wire(request(2, 0)) + endMarkers)
                let all = try await far.reader.readToEnd()
                #expect(all.starts(with: fromHex("03020201") + fromHex("03010200")))
            }
        }
    }
}
