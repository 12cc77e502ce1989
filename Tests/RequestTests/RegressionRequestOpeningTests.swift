// What once went wrong with connections that are opened on demand: openings that nobody could give
// up, streams that nobody wanted.

import Sluice
import SluiceTestKit
import Testing

@testable import SluicePackets

@Suite struct RegressionRequestOpeningTests {
    @Test(arguments: [false, true])
    func `a close ends those who wait for the streams to be opened`(
        _ isAbort: Bool
    ) async throws {
        try await withLoop { _ in
            let (near, far) = try await PairKind.memory.makePair()
            let isOpen = Shared(false)
            let connection = RequestConnection {
                while !isOpen.value { await EventLoop.yield() }
                return (near.reader, near.writer)
            }
            let call = await started { try await connection.call(0) }
            if isAbort { await connection.abort() } else { await connection.close() }
            let reason = PacketError.stream(isAbort ? .aborted : .closed)
            await #expect(throws: reason) {
                try await call.value
            }
            isOpen.set(true)
            // What is opened too late is closed.
            #expect(try await far.reader.readToEnd() == [])
            await far.writer.abort()
        }
    }

    @Test func `a request's time counts from its call, the opening included`() async throws {
        try await withLoop { _ in
            let (near, far) = try await PairKind.memory.makePair()
            let isOpen = Shared(false)
            let connection = RequestConnection {
                while !isOpen.value { await EventLoop.yield() }
                return (near.reader, near.writer)
            }
            let call = await started { try await connection.call(0, within: .milliseconds(5)) }
            let submission = await started {
                try await connection.submit(0, within: .milliseconds(5))
            }
            await #expect(throws: PacketError.stream(.timedOut)) { try await call.value }
            await #expect(throws: PacketError.stream(.timedOut)) { try await submission.value }
            isOpen.set(true)
            // Nobody wants what is opened now.
            #expect(try await far.reader.readToEnd() == [])
            await far.writer.abort()
            await connection.close()
        }
    }

    @Test func `the end of requests opens no second stream beside the first`() async throws {
        try await withLoop { _ in
            let (near, far) = try await PairKind.memory.makePair()
            let opened = Shared(0)
            let connection = RequestConnection {
                opened.withLock { $0 += 1 }
                return (near.reader, near.writer)
            }
            let pending = try await connection.submit(0)
            await connection.endRequests()
            await #expect(throws: PacketError.stream(.closed)) { try await connection.submit(0) }
            #expect(opened.value == 1)
            try await far.say(wire(response(2), [1]))
            #expect(try await pending.response().payload == [1])
            await far.writer.abort()
            await connection.close()
        }
    }
}
