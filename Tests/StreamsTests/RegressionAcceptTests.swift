// What a review tried with servers that accept again and again: pauses and their ends in any order,
// loops that stop, and what the deadlines cost.

import Glibc
import Sluice
import SluiceTestKit
import Testing

@Suite struct RegressionAcceptTests {
    @Test func `a loop that has stopped gets no more clients than one`() async throws {
        let group = try EventLoopGroup(loops: 2)
        try await withLoop { _ in
            let reports = Shared<[Report]>([])
            var options = ServerOptions()
            options.report = { reports.append($0) }
            let server = try await startServer(
                port: 0, loops: group, options: options, handler: echoLines)
            await group.loops[1].stop()
            // They stay, so that the stopped loop always has the fewest.
            var clients: [StreamEnd] = []
            var served = 0
            for _ in 0..<6 {
                let client = try await server.connect()
                clients.append(client)
                try? await client.writer.send("hello\n")
                let answer = try? await client.reader.readLine()
                if answer == bytes("hello\n") { served += 1 }
            }
            #expect(served == 5)
            try await waitUntil { reports.value.map(\.kind) == [.connectionDropped] }
            for client in clients { await client.writer.abort() }
            await server.shutdown(grace: .zero)
            let counts = await server.statistics()
            #expect(counts.isBalanced && counts.current == 0, "\(counts)")
        }
        try await withDeadline { await group.stop() }
    }

    @Test func `a stream closed on a stopped loop gives its descriptor back`() async throws {
        let faults = FaultTable()
        let loop = try startLoop(faults: faults)
        await loop.stop()
        let (near, far) = try makeSocketPair()
        let pair = try await adoptSocket(near, on: loop)
        try await withDeadline { await pair.writer.close() }
        // Sent into nobody's buffer, if it is still open.
        #expect(send(far, "x", 1, Int32(MSG_NOSIGNAL)) == -1)
        #expect(errno == EPIPE)
        close(far)
    }
}

/// Runs the body as a task of the background loop.
private func elsewhere<T: Sendable>(
    _ body: @escaping @Sendable () async throws -> T
) async throws -> T {
    try await EventLoop.background.spawn { try await body() }.value
}
