// Servers on groups of loops that start and stop under load, for the thread sanitizer above all:
// RELIABILITY 5.2 row 16. 9 cycles; 100 with SLUICE_LONG=1.

import Sluice
import SluiceTestKit
import Testing

/// How a cycle ends, with clients in the middle of everything.
private enum Ending: CaseIterable {
    /// Handlers are given time.
    case graceful
    /// Handlers are cancelled, their connections aborted.
    case abrupt
    /// The loops stop under the server.
    case loopsStop
}

/// Clients that connect, exchange lines and leave, over and over, until told to stop.
private final class Load: Sendable {
    private let isOver = Shared(false)
    /// Lines that came back.
    let answers = Shared(0)

    /// Starts the clients on the loop.
    func start(_ count: Int, on loop: EventLoop, port: Int) -> [Task<Void, any Error>] {
        (0..<count).map { number in
            loop.spawn { [self] in
                while !isOver.value {
                    do throws(StreamError) {
                        try await visit(port, isRude: number % 2 == 1)
                    } catch {
                        // The server went away in the middle: the next look tells.
                        await EventLoop.yield()
                    }
                }
            }
        }
    }

    func stop() { isOver.set(true) }

    private func visit(_ port: Int, isRude: Bool) async throws(StreamError) {
        let (reader, writer) = try await openConnection(host: "127.0.0.1", port: port)
        do throws(StreamError) {
            for _ in 0..<3 {
                try await writer.send("a line\n")
                guard try await reader.readLine() == bytes("a line\n") else { break }
                answers.withLock { $0 += 1 }
            }
        } catch {
            await writer.abort()
            throw error
        }
        if isRude { await writer.abort() } else { await writer.close() }
    }
}

@Suite struct StartStopTests {
    @Test func `a server on two loops starts and stops under load, and its books balance`()
        async throws
    {
        try await withLoop(deadline: .seconds(180)) { loop in
            for cycle in 0..<(isLongRun ? 100 : 9) {
                try await runCycle(Ending.allCases[cycle % Ending.allCases.count], clients: loop)
            }
        }
    }
}

private func runCycle(_ ending: Ending, clients loop: EventLoop) async throws {
    let group = try EventLoopGroup(loops: 2)
    var options = ServerOptions()
    options.report = { _ in }
    let server = try await startServer(
        port: 0, loops: group, options: options, handler: echoLines)
    let load = Load()
    let clients = load.start(8, on: loop, port: server.port)
    try await eventually("the load is on", within: .seconds(60)) { load.answers.value >= 40 }
    load.stop()
    switch ending {
    case .graceful:
        let counts = await server.shutdown(grace: .seconds(30))
        #expect(counts.cancelled == 0 && counts.aborted == 0)
    case .abrupt: await server.shutdown(grace: .zero)
    case .loopsStop: await group.stop()
    }
    for client in clients { try await client.value }
    try await server.waitClosed()
    let books = await server.statistics()
    #expect(books.accepted == books.closed)
    #expect(books.current == 0)
    await group.stop()
}
