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
}
