// What once went wrong with connections of a server that shuts down: handlers that ask the peer
// back lost it, idle connections took the whole grace.

import Sluice
import SluiceTestKit
import Testing

@testable import SluicePackets

@Suite struct RegressionRequestDrainTests {
    /// A server whose handlers do `serve`, and the connection of its only client, which has asked
    /// once. At the server's end nothing may be left of it.
    private func withServer(
        client: RequestHandler? = nil, _ serve: @escaping RequestHandler,
        _ body:
            @escaping @Sendable (Server, RequestConnection, RequestConnection) async throws -> Void
    ) async throws {
        try await withLoop { _ in
            let held = Shared<RequestConnection?>(nil)
            let server = try await startServer(
                port: 0,
                requestHandler: { request, connection in
                    held.set(connection)
                    return try await serve(request, connection)
                })
            let client = try await openRequestConnection(
                host: "127.0.0.1", port: server.port, handler: client)
            #expect(try await client.call(0).isOK)
            let far = try #require(held.value)
            try await body(server, client, far)
            held.set(nil)
            await client.abort()
            await server.close()
        }
    }

    /// 0 is answered at once, all else by the peer behind the gate.
    private func askingBack(_ gate: Gate) -> RequestHandler {
        { request, connection in
            if request.type == 0 { return .nothing }
            if request.type == 1 { try await gate.wait() }
            return .bytes(try await connection.call(9, payload: request.payload).payload)
        }
    }

    // Before it is asked, and while its answer is waited for.
    @Test(arguments: [1, 2] as [UInt64])
    func `a handler may ask the peer while its server shuts down`(_ type: UInt64) async throws {
        let gate = Gate()
        let peer: RequestHandler = { request, _ in
            try await gate.wait()
            return .bytes(request.payload.reversed())
        }
        try await withServer(client: peer, askingBack(gate)) { server, client, _ in
            let pending = try await client.submit(type, payload: [1, 2])
            try await eventually("somebody waits") { gate.count == 1 }
            let shutdown = await started { await server.shutdown(grace: .seconds(3_600)) }
            await settle()
            gate.open()
            #expect(try await pending.response() == Response(payload: [2, 1]))
            try await client.join()
            let counts = try await shutdown.value
            #expect(counts.finished == 1)
        }
    }

    @Test func `a client whose answer was the last word is idle`() async throws {
        let peer: RequestHandler = { request, _ in .bytes(request.payload) }
        try await withServer(client: peer, { _, _ in .nothing }) { server, client, far in
            #expect(try await far.call(0, payload: [3]).payload == [3])
            let shutdown = await started { await server.shutdown(grace: .seconds(3_600)) }
            try await client.join()
            let counts = try await shutdown.value
            #expect(counts.finished == 1)
        }
    }

    @Test func `so is one that has ended its requests`() async throws {
        try await withServer({ _, _ in .nothing }) { server, client, _ in
            await client.endRequests()
            await settle()
            let shutdown = await started { await server.shutdown(grace: .seconds(3_600)) }
            try await client.join()
            let counts = try await shutdown.value
            #expect(counts.finished == 1)
        }
    }

    // Given up, timed out.
    @Test(arguments: [false, true])
    func `so is one whose answer is not waited for any longer`(_ isTimeout: Bool) async throws {
        let gate = Gate()
        let peer: RequestHandler = { _, _ in
            try await gate.wait()
            return .nothing
        }
        try await withServer(client: peer, { _, _ in .nothing }) { server, client, far in
            let pending = try await far.submit(0, within: isTimeout ? .milliseconds(20) : nil)
            let shutdown = await started { await server.shutdown(grace: .seconds(3_600)) }
            try await eventually("the peer is asked") { gate.count == 1 }
            if !isTimeout { pending.cancel() }
            await #expect(throws: PacketError.self) { try await pending.response() }
            try await client.joinReceive()
            gate.open()
            let counts = try await shutdown.value
            #expect(counts.finished == 1)
        }
    }

    @Test func `so is one whose handler's answer is dropped`() async throws {
        try await withLoop { _ in
            let gate = Gate()
            let server = try await startServer(
                port: 0,
                requestHandler: { _, _ in
                    try await gate.wait()
                    return .nothing
                })
            let far = StreamEnd(try await openConnection(host: "127.0.0.1", port: server.port))
            try await far.say(wire(request(2, 0)))
            try await eventually("it is served") { gate.count == 1 }
            // The tag is in use: one answer for both, a refusal.
            try await far.say(wire(request(2, 0)))
            #expect(try await far.packet().0 == response(2, ok: false))
            let shutdown = await started { await server.shutdown(grace: .seconds(3_600)) }
            gate.open()
            #expect(try await far.reader.readToEnd() == endMarkers)
            try await far.finish()
            #expect(try await shutdown.value.finished == 1)
            await far.writer.abort()
        }
    }

    @Test func `a peer that has said its end and keeps the stream is not waited for`() async throws
    {
        try await withLoop { _ in
            let server = try await startServer(port: 0, requestHandler: testService)
            let far = StreamEnd(try await openConnection(host: "127.0.0.1", port: server.port))
            try await far.say(wire(request(2, 0), [1]) + endMarkers)
            #expect(try await far.reader.readToEnd() == wire(response(2), [1]) + endMarkers)
            let counts = await server.shutdown(grace: .milliseconds(5))
            #expect(counts.aborted == 0)
            await far.writer.abort()
        }
    }

    @Test func `behind a shutdown requests end as closed by this side`() async throws {
        try await withServer({ _, _ in .nothing }) { server, client, far in
            let shutdown = await started { await server.shutdown(grace: .seconds(3_600)) }
            await #expect(throws: PacketError.stream(.closed)) { try await far.call(0) }
            try await far.join()
            #expect(far.isClosing)
            _ = try await shutdown.value
            await #expect(throws: PacketError.peerClosed) { try await client.call(0) }
        }
    }
}
