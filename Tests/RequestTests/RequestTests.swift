// Requests and answers over real connections and in memory. The numbers are those of the behaviours
// that packet connections must show.

import Sluice
import SluiceTestKit
import Testing

@testable import SluicePackets

@Suite struct RequestTests {
    // PACKETS 14, 20
    @Test(arguments: PairKind.allCases)
    func `each sort of answer arrives as it was given`(_ kind: PairKind) async throws {
        try await withConnections(kind) { client, _ in
            let hello = try await client.call(0, payload: bytes("hello"))
            #expect(hello.text == "hello")
            #expect(try await client.call(1, payload: bytes("héllo")).text == "HÉLLO")
            #expect(try await client.call(3, payload: bytes("1")) == Response())
            #expect(try await client.call(5, flags: 41) == Response(flags: 42))
        }
    }

    // PACKETS 18, 19
    @Test(arguments: PairKind.allCases)
    func `a handler that throws refuses, and the connection lives`(_ kind: PairKind) async throws {
        try await withConnections(kind) { client, _ in
            let pending = try await client.submit(2)
            let response = try await pending.response()
            #expect(!response.isOK)
            #expect(response.flags == 0)
            #expect(response.text == "exception during handler")
            await #expect(
                throws: PacketError.requestFailed(RequestFailure(flags: 7, "no such request"))
            ) {
                try await client.call(200)
            }
            #expect(try await client.call(0, payload: [1]).payload == [1])
        }
    }

    // PACKETS 15, 25, 26
    @Test(arguments: PairKind.allCases)
    func `256 requests in one segment have an answer each, each tag once`(
        _ kind: PairKind
    ) async throws {
        try await withRawPeer(kind) { _, far in
            try await far.say((0..<256).flatMap { wire(request($0 + 2, 0), [UInt8($0)]) })
            for index in 0..<256 {
                let (header, payload) = try await far.packet()
                #expect(header == response(UInt64(index) + 2))
                #expect(payload == [UInt8(index)])
            }
            try await far.say(endMarkers)
            #expect(try await far.reader.readToEnd() == endMarkers)
        }
    }

    // PACKETS 16, 17
    @Test(arguments: PairKind.allCases)
    func `slow requests hold up nobody, and answers leave as they are ready`(
        _ kind: PairKind
    ) async throws {
        try await withRawPeer(kind) { _, far in
            for (tag, time) in [(2, "300"), (3, "200"), (4, "100")] as [(UInt64, String)] {
                try await far.say(wire(request(tag, 3), bytes(time)))
            }
            try await far.say(wire(request(5, 0), [9]))
            for tag in [5, 4, 3, 2] as [UInt64] {
                #expect(try await far.packet().0 == response(tag))
            }
        }
    }

    // PACKETS 27
    @Test(arguments: PairKind.allCases)
    func `both sides ask at once over one connection`(_ kind: PairKind) async throws {
        let reversing: RequestHandler = { request, _ in
            Answer(flags: request.flags ^ 1, payload: request.payload.reversed())
        }
        try await withConnections(kind, client: reversing) { client, _ in
            let answer = try await client.call(7, flags: 6, payload: bytes("abc"))
            #expect(answer == Response(flags: 7, payload: bytes("cba")))
        }
    }

    // PACKETS 28
    @Test(arguments: PairKind.allCases)
    func `requests within requests, 100 deep both ways`(_ kind: PairKind) async throws {
        let deeper: RequestHandler = { request, connection in
            guard request.flags > 0 else { return .flags(1) }
            return .flags(try await connection.call(0, flags: request.flags - 1).flags + 1)
        }
        try await withConnections(kind, client: deeper, server: deeper) { client, _ in
            let answer = try await client.call(0, flags: 100)
            #expect(answer.flags == 101)
        }
    }

    // PACKETS 33
    @Test(arguments: PairKind.allCases)
    func `a cancelled request frees its place, and its late answer is dropped`(
        _ kind: PairKind
    ) async throws {
        var options = RequestOptions()
        options.inFlightLimit = 1
        try await withConnections(kind, options: options) { client, _ in
            let slow = try await client.submit(3, payload: bytes("50"))
            slow.cancel()
            await #expect(throws: PacketError.stream(.cancelled)) { try await slow.response() }
            #expect(try await client.call(3, payload: bytes("100")).isOK)
            #expect(client.statistics.answersIgnored == 1)
        }
    }

    @Test func `every call may be made, given up and timed out away from the loop`() async throws {
        let loop = try startLoop(faults: nil)
        let connections = try await loop.spawn {
            let (near, far) = try await PairKind.tcp.makePair()
            return (
                RequestConnection(near.reader, near.writer),
                RequestConnection(far.reader, far.writer, handler: testService)
            )
        }.value
        let (client, server) = connections
        try await withDeadline(.seconds(30)) {
            #expect(try await client.call(0, payload: [1]).payload == [1])
            let pending = try await client.submit(3, payload: bytes("5000"))
            let waiting = Task { try await pending.response() }
            waiting.cancel()
            let cancelled = PacketError.stream(.cancelled)
            await #expect(throws: cancelled) { try await waiting.value }
            await #expect(throws: PacketError.stream(.timedOut)) {
                try await withTimeout(.milliseconds(5)) { try await pending.response() }
            }
            pending.cancel()
            await #expect(throws: cancelled) { try await pending.response() }
            let call = Task { try await client.call(3, payload: bytes("5000")) }
            let join = Task { try await client.join() }
            for task in [Task { _ = try await call.value }, join] {
                call.cancel()
                join.cancel()
                await #expect(throws: cancelled) { try await task.value }
            }
            await client.endRequests()
            await #expect(throws: PacketError.stream(.closed)) { try await client.submit(0) }
            await client.sendEOF()
            try await server.joinReceive()
            await server.abort()
            await client.close()
        }
        await loop.stop()
    }

    // PACKETS 41, 44, 45, 46
    @Test(arguments: PairKind.allCases)
    func `a close from one side ends both, and what waits has the reason`(
        _ kind: PairKind
    ) async throws {
        try await withConnections(kind) { client, server in
            let pending = try await client.submit(3, payload: bytes("5000"))
            _ = try await client.call(0)
            await client.close(within: .milliseconds(50))
            await #expect(throws: PacketError.stream(.closed)) { try await pending.response() }
            await #expect(throws: PacketError.stream(.closed)) { try await client.submit(0) }
        }
    }

    // PACKETS 32
    @Test func `100,000 requests, 64 at a time`() async throws {
        try await withConnections(.tcp) { client, server in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for task in 0..<64 {
                    group.addTask {
                        for index in 0..<1_563 {
                            let payload = bytes("\(task) \(index)")
                            let answer = try await client.call(0, payload: payload)
                            #expect(answer.payload == payload)
                        }
                    }
                }
                try await group.waitForAll()
            }
            #expect(client.requestsInFlight == 0)
            #expect(server.statistics.answersSent == 64 * 1_563)
            // No table grows with the requests that were.
            for pump in [try #require(client.pump), try #require(server.pump)] {
                #expect(pump.state.pointee.inProgress.isEmpty)
                #expect(pump.state.pointee.zero.pending.isEmpty)
                #expect(pump.state.pointee.idle.count <= PacketBounds.idleWorkers)
            }
        }
    }

    @Test func `an error is mirrored any number of times`() {
        let error: any Error = PacketError.stream(.closed)
        for _ in 0..<3 { #expect(Mirror(reflecting: error).children.isEmpty) }
        #expect("\(error)" == "the stream was closed by this side")
    }
}
