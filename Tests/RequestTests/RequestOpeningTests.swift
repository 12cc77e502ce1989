// Where the streams come from, and what becomes of them; and the options that change habits.

import Glibc
import Sluice
import SluiceTestKit
import Testing

@testable import SluicePackets

@Suite struct RequestOpeningTests {
    /// A connection that opens one of a server's each time; how often is counted.
    private func withDemand(
        options: RequestOptions = RequestOptions(),
        _ body: @escaping @Sendable (RequestConnection, Shared<Int>) async throws -> Void
    ) async throws {
        try await withLoop { _ in
            let server = try await startServer(port: 0, requestHandler: testService)
            let opened = Shared(0)
            let connection = RequestConnection(options: options) {
                opened.withLock { $0 += 1 }
                return try await openConnection(host: "127.0.0.1", port: server.port)
            }
            try await body(connection, opened)
            await connection.close()
            await server.close()
        }
    }

    @Test func `a connection on demand is opened at its first request, once`() async throws {
        try await withDemand { connection, opened in
            await EventLoop.yield()
            #expect(opened.value == 0)
            #expect(connection.reader == nil)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for index in 0..<10 {
                    group.addTask {
                        let payload = [UInt8(index)]
                        let answer = try await connection.call(0, payload: payload)
                        #expect(answer.payload == payload)
                    }
                }
                try await group.waitForAll()
            }
            #expect(opened.value == 1)
            await connection.close()
            await #expect(throws: PacketError.stream(.closed)) { try await connection.call(0) }
            #expect(opened.value == 1)
        }
    }

    @Test func `it is closed when it is idle, and opened again`() async throws {
        var options = RequestOptions()
        options.idleTimeout = .milliseconds(10)
        try await withDemand(options: options) { connection, opened in
            for life in 1...3 {
                let answer = try await connection.call(0, payload: [1])
                #expect(answer.payload == [1])
                // Tags begin anew with each life.
                #expect(connection.statistics.requestsSent == 1)
                #expect(opened.value == life)
                await #expect(throws: PacketError.idle) { try await connection.join() }
                #expect(!connection.isClosing)
            }
        }
    }

    @Test func `what opening throws is thrown to each, and the next request tries again`()
        async throws
    {
        try await withLoop { _ in
            let tries = Shared(0)
            let connection = RequestConnection { () async throws -> (StreamReader, StreamWriter) in
                tries.withLock { $0 += 1 }
                throw RequestFailure("no way")
            }
            for _ in 0..<2 {
                await #expect(throws: RequestFailure("no way")) { try await connection.call(0) }
            }
            #expect(tries.value == 2)
            await connection.close()
        }
    }

    @Test func `whoever gives up the opening leaves it to the others`() async throws {
        try await withLoop { _ in
            let (near, far) = try await PairKind.memory.makePair()
            let gate = Gate()
            let connection = RequestConnection {
                try await gate.wait()
                return (near.reader, near.writer)
            }
            let first = await started { try await connection.call(0) }
            let second = await started { try await connection.submit(1) }
            first.cancel()
            await #expect(throws: PacketError.stream(.cancelled)) { try await first.value }
            gate.open()
            #expect(try await second.value.tag == 2)
            #expect(try await far.packet().0 == request(2, 1))
            await connection.abort()
            await far.writer.abort()
        }
    }

    @Test func `two pipes are a connection, and both are closed with it`() async throws {
        try await withLoop { _ in
            let (there, back) = (try makePipe(), try makePipe())
            let near = StreamEnd(
                try await adoptPipes(reading: back.reading, writing: there.writing))
            let far = StreamEnd(
                try await adoptPipes(reading: there.reading, writing: back.writing))
            try await talk(near, far)
        }
    }

    @Test func `one descriptor is a connection`() async throws {
        try await withLoop { _ in
            var ends: [Int32] = [-1, -1]
            try #require(
                socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue), 0, &ends)
                    == 0)
            let near = StreamEnd(try await adoptSocket(ends[0]))
            let far = StreamEnd(try await adoptSocket(ends[1]))
            try await talk(near, far)
        }
    }

    private func talk(_ near: StreamEnd, _ far: StreamEnd) async throws {
        let client = RequestConnection(near.reader, near.writer)
        let server = RequestConnection(far.reader, far.writer, handler: testService)
        #expect(try await client.call(1, payload: bytes("abc")).text == "ABC")
        await client.close()
        try await client.join()
        try await server.join()
        #expect(server.writer?.isClosing == true)
        #expect(client.reader?.isStreamClosed == true)
    }

    @Test(arguments: PairKind.allCases)
    func `streams that are not closed are left behind both ends, to be used on`(
        _ kind: PairKind
    ) async throws {
        var options = RequestOptions()
        options.closesStreams = false
        try await withRawPeer(kind, options: options) { connection, far in
            let reader = try #require(connection.reader)
            let writer = try #require(connection.writer)
            #expect(try await connection.submit(0).tag == 2)
            try await far.say(wire(response(2)) + endMarkers + bytes("more"))
            try await connection.join()
            #expect(try await far.reader.readExactly(12) == fromHex("03020201") + endMarkers)
            let rest = try await reader.readExactly(4)
            #expect(rest == bytes("more"))
            try await writer.send(bytes("and back"))
            #expect(try await far.reader.readExactly(8) == bytes("and back"))
            // A second connection on the same streams.
            let second = RequestConnection(reader, writer)
            let pending = try await second.submit(0)
            try await far.say(wire(response(2), [6]))
            #expect(try await pending.response().payload == [6])
            await second.abort()
        }
    }

    @Test(arguments: PairKind.allCases)
    func `packets wait for others during the grace, and leave together`(
        _ kind: PairKind
    ) async throws {
        var options = RequestOptions()
        options.packetGrace = .milliseconds(20)
        try await withRawPeer(kind, options: options) { connection, far in
            let pending = try await connection.submit(0)
            await settle()
            #expect(connection.writer?.bytesQueued == 0)
            _ = try await connection.submit(1)
            let both = fromHex("0302020103030202")
            if kind == .tcp {
                // In one segment.
                let first = try await far.reader.read()
                #expect(first == both)
            } else {
                #expect(try await far.reader.readExactly(8) == both)
            }
            try await far.say(wire(response(2)))
            #expect(try await pending.response().isOK)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `every packet is traced, in its order`(_ kind: PairKind) async throws {
        let traced = Shared<[RequestTrace]>([])
        var options = RequestOptions()
        options.trace = { traced.append($0) }
        try await withRawPeer(kind, options: options) { connection, far in
            _ = try await connection.submit(5, flags: 3, payload: [1, 2], channel: 4)
            try await far.say(
                wire(response(0, ok: false, channel: 4)) + wire(request(2, 0), [9]) + endMarkers)
            try await far.finish()
            try await connection.join()
            #expect(
                traced.value.map(\.description) == [
                    "> request 0 of type 5 on channel 4, flags 3, 2 bytes",
                    "< failure to 0 on channel 4, 0 bytes", "< request 2 of type 0, 1 bytes",
                    "> answer to 2, 1 bytes", "< end of requests, 0 bytes", "< end, 0 bytes",
                    "> end of requests, 0 bytes", "> end, 0 bytes",
                ])
        }
    }

    @Test(
        arguments: PairKind.allCases,
        [
            (fromHex("0403028001"), "an integer longer than it need be"),
            (fromHex("0480020201"), "an integer longer than it need be"),
            (wire(response(9)), "an answer to the request 9, which was never sent"),
            // Channel 0 numbers its requests from 2 on.
            (wire(response(1)), "an answer to the request 1, which was never sent"),
            (wire(response(0)), "an answer to the request 0, which was never sent"),
            (wire(response(0, channel: 3)), "an answer to the request 0, which was never sent"),
            (
                wire(request(2, 3), bytes("5000")) + wire(request(2, 0)),
                "channel 0: tag already in use: 2"
            ),
        ] as [([UInt8], String)])
    func `a strict connection ends where a stock one goes on`(
        _ kind: PairKind, _ case: ([UInt8], String)
    ) async throws {
        let (packets, reason) = `case`
        for isStrict in [false, true] {
            var options = RequestOptions()
            options.isStrict = isStrict
            try await withRawPeer(kind, options: options) { connection, far in
                // One turn each, so that the first request's handler waits.
                for packet in [packets.prefix(7), packets.dropFirst(7)] {
                    try await far.say(Array(packet))
                }
                if isStrict {
                    try await far.finish()
                    await #expect(throws: PacketError.malformed(reason)) {
                        try await connection.join()
                    }
                } else {
                    #expect(!connection.isClosing)
                }
            }
        }
    }

    // PACKETS 53
    @Test func `1,000 connections with one request each leave nothing behind`() async throws {
        let faults = FaultTable()
        // Descriptors are audited at the end too, and that none is closed twice.
        try await withLoop(faults: faults) { loop in
            let server = try await startServer(port: 0, requestHandler: testService)
            let before = await loop.statistics()
            let open = faults.ledger.open
            for index in 0..<1_000 {
                let client = try await openRequestConnection(
                    host: "127.0.0.1", port: server.port)
                let payload = [UInt8(truncatingIfNeeded: index)]
                let answer = try await client.call(0, payload: payload)
                #expect(answer.payload == payload)
                await client.close()
            }
            try await eventually("all are gone") {
                await loop.statistics().members == before.members
            }
            let after = await loop.statistics()
            #expect(after.timersArmed == before.timersArmed)
            #expect(after.blocksInUse == before.blocksInUse)
            #expect(faults.ledger.open == open)
            await server.close()
        }
    }
}
