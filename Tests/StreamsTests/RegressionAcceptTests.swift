// What a review tried with servers that accept again and again: pauses and their ends in any order,
// loops that stop, and what the deadlines cost.

import Glibc
import Sluice
import SluiceTestKit
import Testing

@Suite struct RegressionAcceptTests {
    /// Clients live on another loop, where time is real and no call fails.
    @Test(arguments: 1...6 as ClosedRange<UInt64>)
    func `in whatever order accepting pauses and resumes, it goes on in the end`(_ seed: UInt64)
        async throws
    {
        let faults = FaultTable()
        var options = ServerOptions()
        options.maxConnections = 3
        try await withEchoServer(faults: faults, isVirtual: true, options: options) { server in
            var random = SeededGenerator(seed: seed)
            var clients: [StreamEnd] = []
            for _ in 0..<150 {
                switch Int.random(in: 0..<8, using: &random) {
                case 0: faults.failSometimes(CF_EPOLL_CTL, with: ENOMEM, odds: 400)
                case 1: faults.failSometimes(CF_ACCEPT4, with: EMFILE, odds: 500)
                case 2: faults.failNone()
                case 3...5 where clients.count < 6:
                    clients.append(try await elsewhere { try await server.connect() })
                default:
                    guard !clients.isEmpty else { continue }
                    let index = Int.random(in: 0..<clients.count, using: &random)
                    let client = clients.remove(at: index)
                    try await elsewhere { await client.writer.abort() }
                }
                await settle()
            }
            faults.failNone()
            for client in clients { try await elsewhere { await client.writer.abort() } }
            try await waitUntil { await server.statistics().current == 0 }
            for _ in 0..<3 {
                clients.append(
                    try await elsewhere {
                        let client = try await server.connect()
                        try await client.echo("served, seed \(seed)")
                        return client
                    })
            }
            #expect(await server.statistics().current == 3)
            for client in clients.suffix(3) {
                try await elsewhere { await client.writer.abort() }
            }
        }
    }

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

    @Test func `the deadlines of the edge options cost no system call`() async throws {
        var counts: [[String: Int]] = []
        for stream in [StreamOptions(), StreamOptions.edge] {
            let faults = FaultTable()
            var options = ServerOptions()
            options.stream = stream
            let made = Shared<[String: Int]>([:])
            try await withEchoServer(faults: faults, options: options) { server in
                let client = try await server.connect()
                for _ in 0..<10 { try await client.echo("warm") }
                faults.resetCounts()
                for _ in 0..<200 {
                    try await client.writer.send("he")
                    try await client.writer.flush()
                    await settle()
                    try await client.writer.send("llo\n")
                    #expect(try await client.reader.readLine() == bytes("hello\n"))
                }
                made.set(faults.callsMade)
                await client.writer.close()
            }
            var calls = made.value
            // Which of the two kinds of wait depends on the timers.
            let waits =
                (calls.removeValue(forKey: "epoll_wait") ?? 0)
                + (calls.removeValue(forKey: "epoll_pwait2") ?? 0)
            #expect(waits > 0)
            counts.append(calls)
        }
        #expect(counts[0] == counts[1])
    }
}

/// Runs the body as a task of the background loop.
private func elsewhere<T: Sendable>(
    _ body: @escaping @Sendable () async throws -> T
) async throws -> T {
    try await EventLoop.background.spawn { try await body() }.value
}
