// Connections with small limits of any kind, and any row of requests and ends: everything is
// answered once, and everything ends by itself.

import Sluice
import SluiceTestKit
import SluiceTesting
import Testing

@testable import SluicePackets

@Suite struct RequestRandomTests {
    private func options(_ random: inout SeededGenerator) -> RequestOptions {
        var options = RequestOptions()
        options.inFlightLimit = Int.random(in: 1...4, using: &random)
        options.inFlightPerChannel = Int.random(in: 1...4, using: &random)
        options.servingLimit = Int.random(in: 1...4, using: &random)
        options.servingPerChannel = Int.random(in: 1...4, using: &random)
        options.mark = [1, 100, 10_000, .max].randomElement(using: &random) ?? 1
        options.packetGrace = Bool.random(using: &random) ? .zero : .microseconds(100)
        options.isStrict = Bool.random(using: &random)
        return options
    }

    /// 0 at once, 1 in the next turn, 2 later, 3 by the peer.
    private let handler: RequestHandler = { request, connection in
        if request.type == 1 { await EventLoop.yield() }
        if request.type == 2 { try await sleep(for: .microseconds(200)) }
        if request.type == 3 { _ = try await connection.call(1, channel: request.channel) }
        return Answer(flags: request.flags, payload: request.payload)
    }

    @Test func `under any limits every request is answered, and the end comes by itself`()
        async throws
    {
        // The first ones had both sides wait for the other to read, or nobody wake a reader.
        for seed in [776, 976, 1_008, 1_206, 1_916, 1_964] + Array(0..<60) as [UInt64] {
            try await withLoop { _ in
                var random = SeededGenerator(seed: seed)
                let capacity = 64 + random.size(bits: 16)
                let (near, far) = try await makeMemoryPair(capacity: capacity)
                var both: [RequestConnection] = []
                let closesStreams = Bool.random(using: &random)
                for (reader, writer) in [near, far] {
                    var options = options(&random)
                    options.closesStreams = closesStreams
                    both.append(
                        RequestConnection(reader, writer, options: options, handler: handler))
                }
                let calls = (0..<60).map { _ in call(both, &random, mayEnd: false) }
                for task in calls { try await task.value }
                let last = (0..<40).map { _ in call(both, &random, mayEnd: true) }
                try await endAll(both, &random)
                for task in last { try await task.value }
                await near.writer.abort()
                await far.writer.abort()
            }
        }
    }

    /// Has one of the two ask, and checks the answer; some give up before it comes.
    private func call(
        _ both: [RequestConnection], _ random: inout SeededGenerator, mayEnd: Bool
    ) -> Task<Void, any Error> {
        let connection = both[Int.random(in: 0...1, using: &random)]
        // With few places requests within requests may all wait for each other, up to the end.
        let type = UInt64.random(in: 0...(mayEnd ? 3 : 2), using: &random)
        let flags = UInt64(random.size(bits: 60))
        let payload = [UInt8](repeating: UInt8(type), count: random.size(bits: 13))
        let channel = UInt64.random(in: 0...2, using: &random)
        let turns = Int.random(in: 0...20, using: &random)
        return connection.loop.spawn {
            let call = connection.loop.spawn {
                try await connection.call(type, flags: flags, payload: payload, channel: channel)
            }
            if turns < 4 {
                for _ in 0..<turns { await EventLoop.yield() }
                call.cancel()
            }
            do {
                let answer = try await call.value
                #expect(answer == Response(flags: flags, payload: payload))
            } catch PacketError.stream(.cancelled) where turns < 4 {
            } catch PacketError.requestFailed(let failure) where mayEnd {
                let known = ["no longer", "rejecting", "exception"]
                #expect(known.contains { failure.text.contains($0) })
            } catch let error as PacketError where mayEnd {
                #expect([.peerClosed, .stream(.closed)].contains(error), "\(error)")
            }
        }
    }

    /// Any steps of either side; then one of them closes, and both are over.
    private func endAll(
        _ both: [RequestConnection], _ random: inout SeededGenerator
    ) async throws {
        for _ in 0..<Int.random(in: 0...3, using: &random) {
            let connection = both[Int.random(in: 0...1, using: &random)]
            if Bool.random(using: &random) {
                await connection.endRequests()
            } else {
                await connection.sendEOF()
            }
            for _ in 0..<Int.random(in: 0...3, using: &random) { await EventLoop.yield() }
        }
        let first = Int.random(in: 0...1, using: &random)
        await both[first].close(within: .seconds(3_600))
        try await both[first].join()
        try await both[1 - first].join()
    }
}
