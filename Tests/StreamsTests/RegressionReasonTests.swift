// What a review broke in the ends of connections: bytes that were lost behind a clean end, and
// reasons that were counted out of their order.

import Glibc
import Sluice
import SluiceTestKit
import Testing

/// How a handler ends after its output has failed.
private enum Ending: String, CaseIterable, CustomTestStringConvertible {
    case throwing
    case returning
    case failingInClose
    case failingInThrow

    var testDescription: String { rawValue }
}

@Suite struct RegressionEndTests {
    /// The peer has sent its end, so nothing of it keeps the close waiting.
    @Test(arguments: Ending.allCases, [ENOBUFS, ENOMEM])
    fileprivate func `lost output is no clean end for the peer`(
        _ ending: Ending, _ errno: Int32
    ) async throws {
        struct Strange: Error {}
        let faults = FaultTable()
        try await withServer(faults: faults) { reader, writer in
            #expect(try await reader.readToEnd() == bytes("request"))
            try await writer.send("answer")
            try await writer.flush()
            faults.fail(CF_SENDMSG, with: errno)
            try await writer.send("and the rest of it")
            switch ending {
            case .throwing: try await writer.flush()
            case .returning: try? await writer.flush()
            case .failingInClose: break
            case .failingInThrow: throw Strange()
            }
        } client: { server in
            let client = try await server.connect()
            try await client.writer.send("request")
            try client.writer.finishWriting()
            #expect(await server.closings(1) == [.reset: 1])
            #expect(try await client.reader.readExactly(6) == bytes("answer"))
            await #expect(throws: StreamError.reset(errno: ECONNRESET)) {
                _ = try await client.reader.read()
            }
            await client.writer.close()
        }
    }

    @Test func `a failed receive is no clean end for the peer`() async throws {
        let faults = FaultTable()
        try await withServer(faults: faults) { reader, writer in
            try await writer.send(try await reader.readLine() ?? [])
            _ = try await reader.readLine()
            faults.fail(CF_RECV, with: ENOMEM)
            await #expect(throws: StreamError.reset(errno: ENOMEM)) {
                _ = try await reader.readLine()
            }
        } client: { server in
            let client = try await server.connect()
            try await client.echo("first")
            try await client.say("second\n")
            // Nothing stays unread, for which the kernel would send a reset by itself.
            try await client.finish()
            #expect(await server.closings(1) == [.reset: 1])
            await #expect(throws: StreamError.reset(errno: ECONNRESET)) {
                _ = try await client.reader.read()
            }
            await client.writer.close()
        }
    }

    @Test func `a reset after a deadline counts as a reset`() async throws {
        try await withTimes(idle: 10) { reader, writer in
            await #expect(throws: StreamError.peerTimedOut(.idle)) { _ = try await reader.read() }
            try await sleep(for: .seconds(10))
            try? await writer.send("too late")
            try? await writer.flush()
        } client: { server, _ in
            let client = try await server.connect()
            try await sleep(for: .seconds(15))
            await client.writer.abort()
            #expect(await server.closings(1) == [.reset: 1])
        }
    }

    @Test func `an abort after the output broke counts as a reset`() async throws {
        let faults = FaultTable()
        try await withServer(faults: faults) { reader, writer in
            _ = try await reader.readLine()
            faults.fail(CF_SENDMSG, with: ENOBUFS)
            try? await writer.send("lost")
            try? await writer.flush()
            await writer.abort()
        } client: { server in
            let client = try await server.connect()
            try await client.writer.send("go\n")
            _ = try? await client.reader.read()
            await client.writer.close()
            #expect(await server.closings(1) == [.reset: 1])
        }
    }

    @Test func `a handler that throws after a detach has thrown`() async throws {
        struct Strange: Error {}
        try await withServer { reader, writer in
            let detached = try await writer.detach()
            reader.loop.closeDescriptor(detached.descriptor)
            throw Strange()
        } client: { server in
            let client = try await server.connect()
            _ = try? await client.reader.read()
            await client.writer.close()
            #expect(await server.closings(1) == [.handlerThrew: 1])
        }
    }
}
