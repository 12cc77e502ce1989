// What once went wrong with the lives of connections that are opened on demand: one that still
// answered was forgotten by the next, streams that were dead were opened for ever.

import Sluice
import SluiceTestKit
import Testing

@testable import SluicePackets

@Suite struct RegressionRequestLifeTests {
    /// The far ends of two lives: in the first one a handler still runs though its peer has ended,
    /// the second one has a request under way.
    private func withTwoLives(
        _ kind: PairKind, _ handler: @escaping RequestHandler,
        _ body: @escaping @Sendable (RequestConnection, StreamEnd, StreamEnd) async throws -> Void
    ) async throws {
        try await withLoop { _ in
            let (near, far) = try await kind.makePair()
            let (nextNear, nextFar) = try await kind.makePair()
            let ends = Shared([nextNear, near])
            let connection = RequestConnection(handler: handler) {
                guard let end = ends.withLock({ $0.popLast() }) else { throw PacketError.busy }
                return (end.reader, end.writer)
            }
            _ = try await connection.submit(0)
            try await far.say(wire(request(2, 100), [1]) + endMarkers)
            try await connection.joinReceive()
            _ = try await connection.submit(0)
            #expect(ends.value.isEmpty)
            try await body(connection, far, nextFar)
            await connection.abort()
            await far.writer.abort()
            await nextFar.writer.abort()
        }
    }

    @Test(arguments: PairKind.allCases)
    func `a close waits for the answers of the life before, too`(_ kind: PairKind) async throws {
        let gate = Gate()
        let handler: RequestHandler = { request, _ in
            try await gate.wait()
            return .bytes(request.payload)
        }
        try await withTwoLives(kind, handler) { connection, far, nextFar in
            let isClosed = Shared(false)
            let closing = await started {
                await connection.close(within: .seconds(3_600))
                isClosed.set(true)
            }
            try await nextFar.say(endMarkers)
            try await nextFar.finish()
            #expect(try await nextFar.reader.readToEnd() == fromHex("03020201") + endMarkers)
            await settle()
            #expect(!isClosed.value)
            gate.open()
            #expect(
                try await far.reader.readToEnd()
                    == fromHex("0302020103010200") + wire(response(2), [1]) + fromHex("03000200"))
            try await far.finish()
            try await closing.value
        }
    }

    @Test(arguments: PairKind.allCases, [false, true])
    func `a close at its deadline, and an abort, end the life before, too`(
        _ kind: PairKind, _ isAbort: Bool
    ) async throws {
        let running = Shared(0)
        try await withTwoLives(kind, endless(running)) { connection, far, _ in
            #expect(running.value == 1)
            if isAbort {
                await connection.abort()
            } else {
                await connection.close(within: .milliseconds(5))
            }
            try await eventually("it is cancelled") { running.value == 0 }
            await #expect(throws: StreamError.self) {
                for _ in 0..<10_000 { try await far.say([1]) }
            }
        }
    }

    @Test(arguments: PairKind.allCases)
    func `lives that are over are not kept`(_ kind: PairKind) async throws {
        let gate = Gate()
        let handler: RequestHandler = { _, _ in
            try await gate.wait()
            return .nothing
        }
        try await withTwoLives(kind, handler) { connection, far, _ in
            let opener = try #require(connection.opener)
            #expect(opener.earlier.count == 1)
            gate.open()
            _ = try await far.reader.readToEnd()
            try await far.finish()
            try await eventually("it is let go of") { opener.earlier.isEmpty }
        }
    }

    @Test(arguments: PairKind.allCases)
    func `streams that have ended already end the request, and no more are opened`(
        _ kind: PairKind
    ) async throws {
        try await withLoop { _ in
            let (near, far) = try await kind.makePair()
            await near.writer.abort()
            await far.writer.abort()
            let opened = Shared(0)
            let connection = RequestConnection {
                opened.withLock { $0 += 1 }
                // So that a test that fails ends.
                if opened.value > 10 { throw PacketError.busy }
                return (near.reader, near.writer)
            }
            let reason = PacketError.stream(.aborted)
            await #expect(throws: reason) { try await connection.call(0) }
            await #expect(throws: reason) { try await connection.submit(0) }
            #expect(opened.value == 2)
            await connection.close()
        }
    }

    @Test func `the loop's end ends the wait for streams that are never opened`() async throws {
        let loop = try startLoop(faults: nil)
        let stuck = Shared<CheckedContinuation<Void, Never>?>(nil)
        let connection = RequestConnection(on: loop) {
            await withCheckedContinuation { stuck.set($0) }
            throw PacketError.busy
        }
        let call = loop.spawn { try await connection.call(0) }
        try await eventually("it is being opened") { stuck.value != nil }
        await loop.stop()
        await #expect(throws: PacketError.stream(.reactor(.stopped))) {
            try await withDeadline(.seconds(10)) { try await call.value }
        }
        stuck.withLock { $0?.resume() }
    }
}
