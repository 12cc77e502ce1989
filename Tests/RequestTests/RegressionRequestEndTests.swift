// What once went wrong with the ends of request connections: ends that were told as others, and
// every order of them.

import Sluice
import SluiceTestKit
import Testing

@testable import SluicePackets

@Suite struct RegressionRequestEndTests {
    // MARK: Told as what they are

    @Test(
        arguments: PairKind.allCases, [(false, false), (false, true), (true, false), (true, true)])
    func `an abort, or a close at its deadline, is told to whoever waits behind the peer's end`(
        _ kind: PairKind, _ case: (Bool, Bool)
    ) async throws {
        let (isAbort, closesStreams) = `case`
        var options = RequestOptions()
        options.closesStreams = closesStreams
        let handler: RequestHandler = { _, _ in
            try await sleep(for: .seconds(3_600))
            return .nothing
        }
        try await withRawPeer(kind, options: options, handler: handler) { connection, far in
            try await far.say(wire(request(2, 0)) + endMarkers)
            try await connection.joinReceive()
            let join = await started { try await connection.join() }
            if isAbort {
                await connection.abort()
            } else {
                await connection.close(within: .milliseconds(5))
            }
            await #expect(throws: PacketError.stream(isAbort ? .aborted : .timedOut)) {
                try await join.value
            }
            await near(connection)
        }
    }

    private func near(_ connection: RequestConnection) async {
        await connection.writer?.abort()
    }

    @Test func `a peer that has said its end and keeps the stream is no failed close`() async throws
    {
        try await withRawPeer(.tcp) { connection, far in
            try await far.say(endMarkers)
            #expect(try await far.reader.readExactly(8) == endMarkers)
            await connection.close(within: .milliseconds(5))
            try await connection.join()
            #expect(connection.writer?.isClosing == true)
        }
    }

    // MARK: In every order

    enum Step: CaseIterable, Sendable {
        case endRequests, sendEOF, close, join, joinReceive

        func take(_ connection: RequestConnection) async {
            switch self {
            case .endRequests: await connection.endRequests()
            case .sendEOF: await connection.sendEOF()
            case .close: await connection.close(within: .seconds(3_600))
            case .join: try? await connection.join()
            case .joinReceive: try? await connection.joinReceive()
            }
        }

        static var orders: [[Step]] { orders(of: allCases) }

        private static func orders(of steps: [Step]) -> [[Step]] {
            if steps.isEmpty { return [[]] }
            return steps.flatMap { step in
                orders(of: steps.filter { $0 != step }).map { [step] + $0 }
            }
        }
    }

    @Test(arguments: PairKind.allCases, [false, true])
    func `the steps to the end may be taken in every order, while requests are under way`(
        _ kind: PairKind, _ closesStreams: Bool
    ) async throws {
        var options = RequestOptions()
        options.closesStreams = closesStreams
        for order in Step.orders {
            try await withConnections(kind, options: options, client: testService) {
                client, server in
                let slow = try await client.submit(3, payload: bytes("1"))
                let back = try await client.submit(7, payload: bytes("x"))
                let waits = [
                    await started { _ = try? await slow.response() },
                    await started { _ = try? await back.response() },
                ]
                var steps: [Task<Void, any Error>] = []
                for step in order { steps.append(await started { await step.take(client) }) }
                for task in waits + steps { try await task.value }
                try await server.join()
                #expect(client.requestsInFlight == 0 && server.requestsInFlight == 0)
                #expect(client.writer?.isClosing == closesStreams)
                #expect(server.writer?.isClosing == closesStreams)
                await near(client)
                await near(server)
            }
        }
    }

    @Test(arguments: PairKind.allCases, Step.allCases)
    func `a handler may take each step but the wait for its own end`(
        _ kind: PairKind, _ step: Step
    ) async throws {
        let handler: RequestHandler = { _, connection in
            switch step {
            case .close: await connection.close(within: .milliseconds(5))
            case .join: try await withTimeout(.milliseconds(5)) { try await connection.join() }
            default: await step.take(connection)
            }
            return .bytes([1])
        }
        try await withRawPeer(kind, handler: handler) { connection, far in
            try await far.say(wire(request(2, 0)) + endMarkers)
            try await far.finish()
            let all = try? await far.reader.readToEnd()
            // Its own answer is what a close waits for.
            if step == .close {
                await #expect(throws: PacketError.stream(.timedOut)) { try await connection.join() }
            } else {
                #expect(all?.suffix(4) == fromHex("03000200").suffix(4))
                try await connection.join()
            }
        }
    }

    // MARK: Streams that are used on

    @Test(arguments: PairKind.allCases)
    func `streams carry one connection after the other, and plain bytes in between`(
        _ kind: PairKind
    ) async throws {
        var options = RequestOptions()
        options.closesStreams = false
        try await withLoop { [options] _ in
            let (near, far) = try await kind.makePair()
            try await releasing(near, far) {
                for round in 0..<4 as Range<UInt8> {
                    let client = RequestConnection(near.reader, near.writer, options: options)
                    let server = RequestConnection(
                        far.reader, far.writer, options: options, handler: testService)
                    let payload = [UInt8](repeating: round, count: 100_000)
                    #expect(try await client.call(0, payload: payload).payload == payload)
                    let slow = try await client.submit(3, payload: bytes("2"))
                    if round.isMultiple(of: 2) {
                        await client.sendEOF()
                        #expect(try await slow.response().isOK)
                    }
                    await client.close()
                    // Behind the end, and before the other side has read it.
                    try near.writer.write(payload)
                    try await server.join()
                    #expect(try await far.reader.readExactly(payload.count) == payload)
                    try await far.say([round])
                    #expect(try await near.reader.readExactly(1) == [round])
                }
            }
        }
    }
}
