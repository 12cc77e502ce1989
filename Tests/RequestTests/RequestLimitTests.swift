// Deadlines, places, marks and turns. The numbers are those of the behaviours that packet
// connections must show.

import Sluice
import SluiceTestKit
import Testing

@testable import SluicePackets

@Suite struct RequestLimitTests {
    // PACKETS 34
    @Test(arguments: PairKind.allCases)
    func `a request past its deadline has timed out, and the connection goes on`(
        _ kind: PairKind
    ) async throws {
        try await withRawPeer(kind) { connection, far in
            let pending = try await connection.submit(0, within: .milliseconds(5))
            await #expect(throws: PacketError.stream(.timedOut)) { try await pending.response() }
            await #expect(throws: PacketError.stream(.timedOut)) {
                try await withTimeout(.milliseconds(5)) { try await connection.call(0) }
            }
            #expect(connection.requestsInFlight == 0)
            let next = try await connection.submit(0)
            try await far.say(wire(response(2)) + wire(response(3)) + wire(response(4), [1]))
            #expect(try await next.response().payload == [1])
            #expect(connection.statistics.answersIgnored == 2)
        }
    }

    @Test(arguments: [0, -1, Int64.max])
    func `times of any length are legal`(_ seconds: Int64) async throws {
        let time = Duration.seconds(seconds)
        var options = RequestOptions()
        options.requestTimeout = time
        options.closeTimeout = time
        options.packetGrace = seconds > 0 ? .zero : time
        options.idleTimeout = seconds > 0 ? time : nil
        try await withRawPeer(.memory, options: options) { connection, far in
            if seconds > 0 {
                let pending = try await connection.submit(0)
                try await far.say(wire(response(2), [1]))
                #expect(try await pending.response().payload == [1])
                let closing = await started { await connection.close(within: time) }
                try await far.say(endMarkers)
                try await far.finish()
                return try await closing.value
            }
            let timedOut = PacketError.stream(.timedOut)
            await #expect(throws: timedOut) { try await connection.call(0) }
            await #expect(throws: timedOut) {
                try await connection.submit(0, within: time).response()
            }
            await #expect(throws: timedOut) {
                try await withTimeout(time) { try await connection.call(0, within: .seconds(9)) }
            }
            await connection.close(within: time)
            await #expect(throws: PacketError.self) { try await connection.join() }
        }
    }

    // PACKETS 35
    @Test(arguments: PairKind.allCases)
    func `a request over the limit waits for an answer, and one given up is never sent`(
        _ kind: PairKind
    ) async throws {
        var options = RequestOptions()
        options.inFlightLimit = 1
        try await withRawPeer(kind, options: options) { connection, far in
            _ = try await connection.submit(0)
            let cancelled = await started { try await connection.submit(1) }
            let late = await started { try await connection.submit(2, within: .milliseconds(5)) }
            let third = await started { try await connection.submit(3) }
            cancelled.cancel()
            await #expect(throws: PacketError.stream(.cancelled)) { try await cancelled.value }
            await #expect(throws: PacketError.stream(.timedOut)) { try await late.value }
            #expect(connection.statistics.requestsSent == 1)
            #expect(try await far.packet().0 == request(2, 0))
            try await far.say(wire(response(2)))
            #expect(try await third.value.tag == 3)
            #expect(try await far.packet().0 == request(3, 3))
        }
    }

    @Test(arguments: PairKind.allCases)
    func `a channel that is full holds up no other`(_ kind: PairKind) async throws {
        var options = RequestOptions()
        options.inFlightPerChannel = 1
        try await withRawPeer(kind, options: options) { connection, far in
            _ = try await connection.submit(0, channel: 1)
            let second = await started { try await connection.submit(0, channel: 1) }
            let other = try await connection.submit(0, channel: 2)
            let zero = try await connection.submit(0)
            #expect((other.tag, zero.tag) == (0, 2))
            #expect(connection.statistics.requestsSent == 3)
            try await far.say(wire(response(0, channel: 1)))
            #expect(try await second.value.tag == 1)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `giving up while nothing can be sent is no growth`(_ kind: PairKind) async throws {
        var options = RequestOptions()
        options.inFlightLimit = 1
        try await withRawPeer(kind, options: options) { connection, far in
            _ = try await connection.submit(0)
            for _ in 0..<200 {
                let task = await started { try await connection.submit(1) }
                task.cancel()
                await #expect(throws: PacketError.stream(.cancelled)) { try await task.value }
            }
            let pump = try #require(connection.pump)
            #expect(pump.state.pointee.zero.submitting.count < 40)
            #expect(pump.state.pointee.submittingCount == 0)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `handlers of a channel run up to its limit, others meanwhile`(
        _ kind: PairKind
    ) async throws {
        var options = RequestOptions()
        options.servingPerChannel = 1
        options.servingLimit = 2
        let gates = [Gate(), Gate(), Gate()]
        let handler: RequestHandler = { request, _ in
            try await gates[Int(request.channel)].wait()
            return .nothing
        }
        try await withRawPeer(kind, options: options, handler: handler) { connection, far in
            for channel in [1, 1, 1, 2, 0] as [UInt64] {
                let tag = connection.statistics.requestsReceived + 2
                try await far.say(wire(request(tag, 0, channel: channel)))
            }
            try await eventually("two run") { gates[1].count + gates[2].count == 2 }
            #expect(gates.map(\.count) == [0, 1, 1])
            gates[2].open()
            #expect(try await far.packet().0 == response(5, channel: 2))
            try await eventually("channel 0 has its turn") { gates[0].count == 1 }
            gates[1].open()
            for tag in [2, 3, 4] as [UInt64] {
                #expect(try await far.packet().0 == response(tag, channel: 1))
            }
        }
    }

    // PACKETS 36
    @Test(arguments: PairKind.allCases)
    func `whoever sends to a peer that never reads has to wait, and little is kept`(
        _ kind: PairKind
    ) async throws {
        var options = RequestOptions()
        options.inFlightLimit = .max
        options.inFlightPerChannel = .max
        try await withRawPeer(kind, options: options) { connection, far in
            let payload = [UInt8](repeating: 1, count: 1_024)
            let flood = await started {
                for _ in 0..<1_000_000 { _ = try await connection.submit(0, payload: payload) }
            }
            let writer = try #require(connection.writer)
            var sent: UInt64 = 0
            try await eventually("it waits") {
                defer { sent = connection.statistics.requestsSent }
                return sent > 60 && sent == connection.statistics.requestsSent
            }
            #expect(writer.bytesQueued <= writer.marks.high + 2_048)
            #expect(connection.statistics.requestsSent < 100_000)
            flood.cancel()
            await #expect(throws: PacketError.stream(.cancelled)) { try await flood.value }
        }
    }

    // PACKETS 37
    @Test(arguments: PairKind.allCases)
    func `a peer that floods and reads nothing is not read beyond the mark`(
        _ kind: PairKind
    ) async throws {
        var options = RequestOptions()
        options.mark = 100_000
        try await withLoop { [options] _ in
            let (near, far) = try await kind.makePair()
            let connection = RequestConnection(
                near.reader, near.writer, options: options, handler: testService)
            try await releasing(near, far) {
                let packet = wire(request(2, 0), [UInt8](repeating: 1, count: 1_024))
                let flood = await started {
                    for _ in 0..<1_000_000 { try await far.writer.send(packet) }
                }
                let pump = try #require(connection.pump)
                try await eventually("it is not read any longer") {
                    pump.outputCount > options.mark
                }
                await settle()
                let received = connection.statistics.requestsReceived
                await settle()
                #expect(connection.statistics.requestsReceived == received)
                #expect(pump.outputCount + pump.state.pointee.waitingBytes < 2 * options.mark)
                // Another connection of the same loop.
                let (other, otherFar) = try await kind.makePair()
                let second = RequestConnection(other.reader, other.writer, handler: testService)
                try await otherFar.say(wire(request(2, 0), [7]))
                #expect(try await otherFar.packet() == (response(2), [7]))
                await otherFar.writer.abort()
                await second.abort()
                // It goes on when the answers are read.
                for _ in 0..<received + 10 { #expect(try await far.packet().0 == response(2)) }
                flood.cancel()
                _ = await flood.result
            }
            await connection.abort()
        }
    }

    @Test(arguments: PairKind.allCases)
    func `nor beyond the backlog's limit while answers are waited for`(
        _ kind: PairKind
    ) async throws {
        var options = RequestOptions()
        options.mark = 10_000
        options.requestBacklogLimit = 200_000
        // Without a handler every request is an answer of this side's at once.
        try await withRawPeer(kind, options: options, handler: nil) { [options] connection, far in
            _ = try await connection.submit(0)
            let packet = wire(request(2, 0), [UInt8](repeating: 1, count: 64))
            let packets = Array(repeatElement(packet, count: 100).joined())
            let flood = await started {
                while true { try await far.writer.send(packets) }
            }
            let pump = try #require(connection.pump)
            try await eventually("it is not read any longer") {
                pump.state.pointee.outgoingBytes > options.requestBacklogLimit
            }
            await settle()
            let received = connection.statistics.requestsReceived
            await settle()
            #expect(connection.statistics.requestsReceived == received)
            #expect(pump.state.pointee.outgoingBytes < 2 * options.requestBacklogLimit)
            flood.cancel()
            _ = await flood.result
        }
    }

    // PACKETS 38
    @Test(arguments: PairKind.allCases)
    func `two peers that flood each other both finish`(_ kind: PairKind) async throws {
        try await withConnections(kind, client: testService) { client, server in
            let payload = [UInt8](repeating: 3, count: 65_536)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for connection in [client, server] {
                    for _ in 0..<200 {
                        group.addTask {
                            for _ in 0..<2 {
                                let answer = try await connection.call(0, payload: payload)
                                #expect(answer.payload.count == payload.count)
                            }
                        }
                    }
                }
                try await group.waitForAll()
            }
            #expect(client.statistics.answersReceived == 400)
            #expect(server.statistics.answersReceived == 400)
        }
    }

    // PACKETS 39
    @Test(arguments: PairKind.allCases)
    func `an idle connection is closed, a used one is not`(_ kind: PairKind) async throws {
        var options = RequestOptions()
        options.idleTimeout = .milliseconds(30)
        try await withRawPeer(kind, options: options) { connection, far in
            // A request under way, and another one's handler, for longer than that.
            let pending = try await connection.submit(0)
            try await sleep(for: .milliseconds(70))
            try await far.say(wire(response(2)) + wire(request(2, 3), bytes("70")))
            #expect(try await pending.response().isOK)
            #expect(try await far.reader.readExactly(4) == fromHex("03020201"))
            #expect(try await far.packet().0 == response(2))
            #expect(try await far.reader.readExactly(8) == endMarkers)
            await #expect(throws: PacketError.idle) { try await connection.submit(0) }
            try await far.say(endMarkers)
            try await far.finish()
            await #expect(throws: PacketError.idle) { try await connection.join() }
        }
    }

    // PACKETS 39
    @Test(arguments: PairKind.allCases)
    func `so is one whose peer has gone without a word, for the same reason`(
        _ kind: PairKind
    ) async throws {
        var options = RequestOptions()
        options.idleTimeout = .milliseconds(5)
        options.closeTimeout = .milliseconds(5)
        try await withRawPeer(kind, options: options) { connection, _ in
            await #expect(throws: PacketError.idle) { try await connection.join() }
            #expect(connection.writer?.isClosing == true)
        }
    }

    // PACKETS 40
    @Test(arguments: PairKind.allCases)
    func `a small answer waits for one packet of another channel at most`(
        _ kind: PairKind
    ) async throws {
        let handler: RequestHandler = { request, _ in
            .bytes([UInt8](repeating: 1, count: request.channel == 1 ? 1 << 18 : 64))
        }
        var options = RequestOptions()
        // Else small ones would not even be served before most of the large ones have left.
        options.mark = 16 << 20
        try await withRawPeer(kind, options: options, handler: handler) { connection, far in
            // Many large ones first, so that output is over its mark.
            let large = (0..<8).flatMap { wire(request($0, 0, channel: 1)) }
            let small = (2..<6).flatMap { wire(request($0, 0)) }
            try await far.say(large + small)
            let pump = try #require(connection.pump)
            let queued = pump.state.pointee.zero.outgoing.count
            var channels: [UInt64] = []
            for _ in 0..<12 { channels.append(try await far.packet().0.channel) }
            // Once a small one waits they take turns, as long as there are small ones.
            let first = try #require(channels.firstIndex(of: 0))
            let last = try #require(channels.lastIndex(of: 0))
            let between = channels[first...last].split(separator: 0).map(\.count).max() ?? 0
            #expect(between <= 1, "\(channels), \(queued) small ones waited")
            #expect(last < 11)
        }
    }

    @Test(arguments: [Duration.zero, .milliseconds(1)])
    func `reading goes on behind a mark that is below the stream's own`(
        _ grace: Duration
    ) async throws {
        try await withLoop { _ in
            let (near, far) = try await makeMemoryPair(capacity: 256)
            var options = RequestOptions()
            options.mark = 100
            options.packetGrace = grace
            let connection = RequestConnection(
                near.reader, near.writer, options: options, handler: testService)
            let payload = [UInt8](repeating: 7, count: 64)
            for tag in 2..<40 { try far.writer.write(wire(request(UInt64(tag), 0), payload)) }
            await settle()
            for tag in 2..<40 {
                let (header, answer) = try await StreamEnd(far).packet()
                #expect(header == response(UInt64(tag)))
                #expect(answer == payload)
            }
            await connection.abort()
            await far.writer.abort()
        }
    }
}
