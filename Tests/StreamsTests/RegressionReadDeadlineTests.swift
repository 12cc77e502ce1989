// What a review broke in the deadlines of reads: peers that were cut too early, and peers that got
// away. On a virtual clock.

import Sluice
import SluiceTestKit
import Testing

@Suite struct RegressionReadDeadlineTests {
    /// A close with unread input would make the kernel send a reset, which destroys what the peer
    /// has not got yet.
    @Test func `what is written to a peer that was cut arrives, though it goes on sending`()
        async throws
    {
        var options = ServerOptions()
        options.stream.messageTimeout = .seconds(30)
        options.socket.sendBuffer = 400_000
        try await withServer(isVirtual: true, options: options) { reader, writer in
            await #expect(throws: StreamError.peerTimedOut(.message)) {
                _ = try await reader.readLine()
            }
            try writer.write(TestBytes.make(count: 200_000))
        } client: { server in
            var socket = SocketOptions()
            socket.receiveBuffer = 4_096
            let client = StreamEnd(
                try await openConnection(host: "127.0.0.1", port: server.port, socket: socket))
            try await client.writer.send("x")
            try await sleep(for: .seconds(31))
            try await client.say("y")
            #expect(try await client.reader.readToEnd() == TestBytes.make(count: 200_000))
            await client.writer.close()
            #expect(await server.closings(1) == [.message: 1])
        }
    }

    @Test func `the hang-up of a peer that was cut is noticed`() async throws {
        let calls = Shared(0)
        try await withTimes(idle: 10) { reader, writer in
            writer.onPeerClosed { calls.withLock { $0 += 1 } }
            await #expect(throws: StreamError.peerTimedOut(.idle)) { _ = try await reader.read() }
            try await writer.send("cut\n")
            try await writer.waitPeerClosed()
        } client: { server, _ in
            let client = try await server.connect()
            #expect(try await client.reader.readLine() == bytes("cut\n"))
            await client.writer.close(within: .seconds(1))
            #expect(await server.closings(1) == [.idle: 1])
        }
        #expect(calls.value == 1)
    }
}
