// What once went wrong with request connections: waits that nothing ended, handlers that nobody
// cancelled, and what was kept for nobody.

import Sluice
import SluiceTestKit
import Testing

@testable import SluicePackets

@Suite struct RegressionRequestWaitTests {
    @Test func `a server's grace ends a connection that is not being read`() async throws {
        try await withLoop { _ in
            var options = RequestOptions()
            options.servingLimit = 2
            let running = Shared(0)
            let server = try await startServer(
                port: 0, requests: options, requestHandler: endless(running))
            let client = try await openRequestConnection(host: "127.0.0.1", port: server.port)
            for _ in 0..<4 { _ = try await client.submit(0) }
            try await eventually("two run") { running.value == 2 }
            await settle()
            let counts = await server.shutdown(grace: .milliseconds(5))
            #expect(counts.cancelled == 1)
            try await eventually("they are cancelled") { running.value == 0 }
            await client.abort()
        }
    }

    @Test(arguments: PairKind.allCases)
    func `the stream's end cancels the handlers of a peer that had ended`(
        _ kind: PairKind
    ) async throws {
        let running = Shared(0)
        try await withRawPeer(kind, handler: endless(running)) { connection, far in
            try await far.say(wire(request(2, 0)) + wire(request(3, 0)) + endMarkers)
            try await far.finish()
            try await eventually("both run") { running.value == 2 }
            await connection.writer?.abort()
            try await eventually("they are cancelled") { running.value == 0 }
        }
    }

    @Test func `a server's grace lets handlers answer, and ends then`() async throws {
        try await withLoop { _ in
            let gate = Gate()
            let server = try await startServer(
                port: 0,
                requestHandler: { request, _ in
                    try await gate.wait()
                    return .bytes(request.payload)
                })
            let client = try await openRequestConnection(host: "127.0.0.1", port: server.port)
            let first = try await client.submit(0, payload: [1])
            let second = try await client.submit(0, payload: [2])
            try await eventually("both run") { gate.count == 2 }
            let shutdown = await started { await server.shutdown(grace: .seconds(3_600)) }
            gate.open()
            #expect(try await first.response().payload == [1])
            #expect(try await second.response().payload == [2])
            try await client.join()
            _ = try await shutdown.value
        }
    }

    @Test func `a reset ends a connection that is not being read`() async throws {
        try await withLoop { _ in
            let (near, far) = try await PairKind.tcp.makePair()
            var options = RequestOptions()
            options.servingLimit = 1
            let running = Shared(0)
            let connection = RequestConnection(
                near.reader, near.writer, options: options, handler: endless(running))
            try await far.say(wire(request(2, 0)))
            try await far.say(wire(request(3, 0)))
            #expect(running.value == 1)
            await far.writer.abort()
            let error = await #expect(throws: PacketError.self) {
                try await withTimeout(.seconds(10)) { try await connection.join() }
            }
            #expect(error.map(Ending.reset.isRight) == true, "\(String(describing: error))")
            try await eventually("it is cancelled") { running.value == 0 }
            await connection.abort()
        }
    }

    @Test(arguments: PairKind.allCases)
    func `a connection is not idle while a request is under way, however short the time`(
        _ kind: PairKind
    ) async throws {
        var options = RequestOptions()
        options.idleTimeout = .nanoseconds(1)
        try await withRawPeer(kind, options: options) { connection, far in
            let pending = try await connection.submit(0)
            await settle()
            try await sleep(for: .milliseconds(3))
            #expect(connection.requestsInFlight == 1)
            try await far.say(wire(response(2), [1]))
            #expect(try await pending.response().payload == [1])
            #expect(try await far.reader.readExactly(12) == fromHex("03020201") + endMarkers)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `submissions that were given up leave nothing, and hold up no other channel`(
        _ kind: PairKind
    ) async throws {
        var options = RequestOptions()
        options.inFlightLimit = 2
        options.inFlightPerChannel = 1
        try await withRawPeer(kind, options: options) { connection, far in
            _ = try await connection.submit(0)
            _ = try await connection.submit(0, channel: 1)
            for _ in 0..<17 * 6 {
                let task = await started { try await connection.submit(1) }
                task.cancel()
                await #expect(throws: PacketError.stream(.cancelled)) { try await task.value }
            }
            let pump = try #require(connection.pump)
            #expect(pump.state.pointee.submittingChannels.count <= 1)
            let other = await started { try await connection.submit(2, channel: 2) }
            try await far.say(wire(response(0, channel: 1)))
            // Channel 0 is full, and nobody waits there any more.
            #expect(try await other.value.tag == 0)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `what was never sent is let go of at the end`(_ kind: PairKind) async throws {
        try await withRawPeer(kind, handler: nil) { connection, far in
            let pump = try #require(connection.pump)
            _ = try await SluiceTestKit.clog(pump.writer, highWaterMark: pump.writer.marks.high)
            try await far.say((2..<300).flatMap { wire(request($0, 0)) })
            #expect(pump.state.pointee.outgoingBytes > 0)
            await connection.abort()
            #expect(pump.state.pointee.outgoingBytes == 0)
            #expect(pump.state.pointee.zero.outgoing.isEmpty)
        }
    }
}
