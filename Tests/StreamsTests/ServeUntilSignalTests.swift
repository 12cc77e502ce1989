// Serving until the operator ends it, by real signals. A disposition is the process's: these tests
// come one after the other and use real-time signals that no other part of the process uses.

import Glibc
import Sluice
import SluiceTestKit
import Synchronization
import Testing

private let end = Signal(rawValue: 60)
private let quit = Signal(rawValue: 61)

@Suite(.serialized) struct ServeUntilSignalTests {
    /// Starts to serve and waits until the signals are watched.
    private func serving(
        _ server: Server, grace: Duration = .seconds(3_600)
    ) async throws -> Task<ShutdownCounts?, any Error> {
        let task = server.loop.spawn {
            try await server.serveForever(until: [end, quit], grace: grace)
        }
        try await waitUntil("the signals are watched") { isWatched(end) && isWatched(quit) }
        return task
    }

    /// Whether new clients are refused: the first signal has been seen.
    private func isClosed(_ server: Server) async -> Bool {
        guard let (_, writer) = try? await openConnection(host: "127.0.0.1", port: server.port)
        else { return true }
        await writer.abort()
        return false
    }

    @Test(arguments: [end, quit])
    func `the first signal drains: the request in flight gets its reply`(
        _ signal: Signal
    ) async throws {
        try await withEchoServer { server in
            let task = try await serving(server)
            let client = try await server.connect()
            try await client.writer.send("first\nsec")
            #expect(try await client.reader.readLine() == bytes("first\n"))
            kill(getpid(), signal.rawValue)
            try await waitUntil("it is closed") { await isClosed(server) }
            try await client.writer.send("ond\n")
            #expect(try await client.reader.readToEnd() == bytes("second\n"))
            await client.writer.close()
            let counts = try #require(try await task.value)
            // Clients that only looked whether it is closed may be among them.
            #expect(counts.finished >= 1 && counts.allFinished)
            try await waitUntil("the disposition is back") { !isWatched(end) && !isWatched(quit) }
        }
    }

    /// One waits in a read with half a request, one for a timer, one for somebody else.
    @Test func `a second signal forces, long before the grace is over`() async throws {
        let release = Shared<CheckedContinuation<Void, Never>?>(nil)
        try await withServer { reader, _ in
            switch try await reader.readLine() {
            case bytes("sleep\n"): try await sleep(for: .seconds(3_600))
            case bytes("stubborn\n"): await withCheckedContinuation { release.set($0) }
            default: _ = try await reader.readLine()
            }
        } client: { server in
            let task = try await serving(server)
            var clients: [StreamEnd] = []
            for text in ["read\nhalf a", "sleep\n", "stubborn\n"] {
                let client = try await server.connect()
                try await client.say(text)
                clients.append(client)
            }
            try await waitUntil { release.value != nil }
            kill(getpid(), end.rawValue)
            try await waitUntil("it is closed") { await isClosed(server) }
            kill(getpid(), quit.rawValue)
            let counts = try #require(try await task.value)
            #expect(counts.cancelled + counts.aborted == 3)
            #expect(!counts.allFinished)
            for client in clients {
                await #expect(throws: StreamError.reset(errno: ECONNRESET)) {
                    try await client.reader.readToEnd()
                }
                await client.writer.close()
            }
            release.value?.resume()
        }
    }

    @Test func `handlers that outlive the grace are cancelled`() async throws {
        try await withServer(isVirtual: true) { reader, _ in
            try await sleep(for: .seconds(7_200))
            _ = reader
        } client: { server in
            let task = server.loop.spawn {
                try await server.serveForever(until: [end], grace: .seconds(10))
            }
            let client = try await server.connect()
            try await waitUntil { await server.statistics().current == 1 && isWatched(end) }
            // On the loop's thread, which lets it through: it has arrived when this returns.
            raise(end.rawValue)
            #expect(try await task.value?.all == [0, 1, 0])
            await client.writer.close()
        }
    }

    @Test func `a server that ends without a signal gives no counts`() async throws {
        try await withEchoServer { server in
            let task = try await serving(server)
            let client = try await server.connect()
            try await client.echo("hello")
            await server.close()
            await client.writer.close()
            #expect(try await task.value == nil)
            try await waitUntil("nothing is watched") { !isWatched(end) }
        }
    }

    @Test func `a listener that breaks throws its error`() async throws {
        let faults = FaultTable()
        try await withEchoServer(faults: faults) { server in
            let task = try await serving(server)
            faults.fail(CF_ACCEPT4, with: EINVAL)
            // It may be reset while it connects.
            let client = try? await server.connect()
            let error = StreamError.system(SystemError(call: "accept4", errno: EINVAL))
            await #expect(throws: error) { try await task.value }
            await client?.writer.close()
        }
    }

    @Test func `cancelled before a signal it closes and throws, after one it forces`()
        async throws
    {
        try await withEchoServer { server in
            let task = try await serving(server)
            task.cancel()
            await #expect(throws: StreamError.cancelled) { try await task.value }
            #expect(await isClosed(server))
        }
        try await withEchoServer { server in
            let task = try await serving(server)
            let client = try await server.connect()
            try await client.writer.send("first\nsec")
            #expect(try await client.reader.readLine() == bytes("first\n"))
            kill(getpid(), end.rawValue)
            try await waitUntil("it is closed") { await isClosed(server) }
            task.cancel()
            #expect(try await task.value?.allFinished == false)
            await client.writer.close()
        }
    }

    @Test func `a signal that cannot be watched is refused and the server goes on`()
        async throws
    {
        try await withEchoServer { server in
            let error = StreamError.reactor(.unwatchable(Signal(rawValue: SIGKILL)))
            await #expect(throws: error) {
                try await server.serveForever(until: [end, Signal(rawValue: SIGKILL)])
            }
            #expect(!isWatched(end))
            let client = try await server.connect()
            try await client.echo("still there")
            await client.writer.close()
        }
    }

    @Test func `it may be called from a task of no loop`() async throws {
        try await withEchoServer { server in
            let task = Task { try await server.serveForever(until: [end]) }
            try await waitUntil("the signal is watched") { isWatched(end) }
            kill(getpid(), end.rawValue)
            #expect(try await task.value?.all == [0, 0, 0])
        }
    }

    // MARK: Row 23 of the reliability list

    /// As many signals as 10,000 a second make in ten seconds, in the long form, while 8 clients
    /// talk; they come as fast as they can.
    @Test func `a flood of signals changes no byte of the clients' talk`() async throws {
        let count = isLongRun ? 100_000 : 10_000
        try await withEchoServer { server in
            let sequence = try await signals(end, quit, on: server.loop)
            let talks = try await (0..<8).asyncMap { number in
                let client = try await server.connect()
                return server.loop.spawn {
                    for line in 0..<(isLongRun ? 5_000 : 500) {
                        try await client.echo("client \(number), line \(line)")
                    }
                    await client.writer.close()
                }
            }
            let flood = Task {
                for _ in 0..<count { kill(getpid(), end.rawValue) }
                kill(getpid(), quit.rawValue)
            }
            for await signal in sequence where signal == quit { break }
            await flood.value
            for talk in talks { try await talk.value }
        }
    }
}

extension Sequence {
    fileprivate func asyncMap<T>(_ body: (Element) async throws -> T) async rethrows -> [T] {
        var mapped: [T] = []
        for element in self { mapped.append(try await body(element)) }
        return mapped
    }
}

/// Whether the signal has a handler.
private func isWatched(_ signal: Signal) -> Bool {
    var action = sigaction()
    sigaction(signal.rawValue, nil, &action)
    return withUnsafeBytes(of: &action.__sigaction_handler) { $0.load(as: Int.self) } > 1
}
