// Shutting down, closing and waiting. Where a deadline has to pass, the clock is virtual.

import Glibc
import Sluice
import SluiceTestKit
import Testing

/// Keeps a task until the test lets it go; cancellation does not.
private final class Stubbornness: Sendable {
    private let waiting = Shared<[CheckedContinuation<Void, Never>]>([])

    var count: Int { waiting.value.count }

    func wait() async {
        await withCheckedContinuation { waiting.append($0) }
    }

    func letGo() {
        for continuation in waiting.value { continuation.resume() }
        waiting.set([])
    }
}

@Suite struct ServerShutdownTests {
    @Test func `B39: shutdown counts who finished, who was cancelled and who was aborted`()
        async throws
    {
        let stubbornness = Stubbornness()
        let reports = Shared<[Report]>([])
        try await withServer(isVirtual: true, reports: reports) { reader, writer in
            switch try await reader.readLine() {
            case bytes("sleep\n"): try await sleep(for: .seconds(3_600))
            case bytes("stubborn\n"): await stubbornness.wait()
            default: try await echoLines(reader, writer)
            }
        } client: { server in
            var clients: [StreamEnd] = []
            for line in ["echo", "echo", "echo", "sleep", "sleep", "stubborn"] {
                let client = try await server.connect()
                try await client.writer.send(line + "\n")
                if line == "echo" { try await client.echo("idle now") }
                clients.append(client)
            }
            try await waitUntil { stubbornness.count == 1 }
            let before = server.loop.now()
            let counts = await server.shutdown(grace: .seconds(10))
            #expect(counts.all == [3, 2, 1])
            #expect(server.loop.now() - before >= 11_000_000_000)
            #expect(server.loop.now() - before <= 11_200_000_000)
            for client in clients[..<5] {
                #expect(try await client.reader.read() == nil)
            }
            await #expect(throws: StreamError.reset(errno: ECONNRESET)) {
                try await clients[5].reader.read()
            }
            for client in clients { await client.writer.close() }
            // Its connection has gone; the handler is over when it wants to be.
            #expect(await server.statistics().current == 1)
            stubbornness.letGo()
            try await server.waitClosed()
        }
        #expect(reports.value.isEmpty)
    }

    @Test func `B39: a busy connection answers within the grace, then sees the end`() async throws {
        try await withServer(isVirtual: true) { reader, writer in
            while let line = try await reader.readLine() {
                try await sleep(for: .seconds(2))
                try await writer.send(line)
            }
        } client: { server in
            let client = try await server.connect()
            try await client.writer.send("question\n")
            await settle()
            async let counts = server.shutdown(grace: .seconds(10))
            #expect(try await client.reader.readToEnd() == bytes("question\n"))
            await client.writer.close()
            let all = await counts.all
            #expect(all == [1, 0, 0])
        }
    }

    @Test func `B39: nobody is accepted any more, and the error names the address`() async throws {
        try await withLoop(faults: FaultTable()) { _ in
            let (error, address) = try await connectToClosedServer(host: "127.0.0.1")
            guard case .connectFailed("127.0.0.1", address.port, let attempts) = error else {
                throw error
            }
            #expect(attempts.map(\.address) == [address])
            #expect(
                attempts.map(\.error) == [SystemError(call: "connect", errno: ECONNREFUSED)])
            #expect("\(error)".contains("\(address): connect: Connection refused"))
        }
    }

    @Test func `a shutdown without connections returns at once, also the second time`() async throws
    {
        try await withEchoServer { server in
            for _ in 0..<3 {
                #expect(await server.shutdown(grace: .seconds(3_600)).all == [0, 0, 0])
            }
        }
    }

    @Test func `cancelling who waits for a shutdown ends the grace`() async throws {
        try await withServer { _, _ in
            try await sleep(for: .seconds(3_600))
        } client: { server in
            let client = try await server.connect()
            try await waitUntil { await server.statistics().current == 1 }
            let shutdown = await started { await server.shutdown(grace: .seconds(3_600)) }
            shutdown.cancel()
            let counts = try await shutdown.value
            #expect(counts.finished == 0)
            #expect(counts.cancelled + counts.aborted == 1)
            await client.writer.close()
        }
    }

    @Test func `a peer that does not close is not waited for longer than the grace`() async throws {
        try await withEchoServer(isVirtual: true) { server in
            let client = try await server.connect()
            try await client.echo("hello")
            let before = server.loop.now()
            let counts = await server.shutdown(grace: .seconds(2))
            #expect(counts.all == [1, 0, 0])
            #expect(server.loop.now() - before <= 3_000_000_000)
            #expect(await server.statistics().current == 0)
            await client.writer.close()
        }
    }

    @Test func `shutdown off the loop works`() async throws {
        try await withEchoServer { server in
            let client = try await server.connect()
            try await client.echo("hello")
            let shutdown = Task.detached { await server.shutdown(grace: .seconds(5)) }
            #expect(try await client.reader.read() == nil)
            await client.writer.close()
            #expect(await shutdown.value.all == [1, 0, 0])
        }
    }
}

@Suite struct ServerWaitTests {
    @Test func `cancelling one who waits for the close does not disturb the others`() async throws {
        try await withEchoServer { server in
            let client = try await server.connect()
            try await client.echo("hello")
            let one = await started { try await server.waitClosed() }
            let two = await started { try await server.waitClosed() }
            let three = await started {
                try await withTimeout(.milliseconds(1)) { try await server.waitClosed() }
            }
            one.cancel()
            await #expect(throws: StreamError.cancelled) { try await one.value }
            await #expect(throws: StreamError.timedOut) { try await three.value }
            await server.close()
            await client.writer.close()
            try await two.value
        }
    }

    @Test func `serveForever returns when the server is closed and its last client has left`()
        async throws
    {
        try await withEchoServer { server in
            let client = try await server.connect()
            try await client.echo("hello")
            let isOver = Shared(false)
            let serving = await started {
                try await server.serveForever()
                isOver.set(true)
            }
            await server.close()
            await settle()
            #expect(!isOver.value)
            try await client.echo("still here")
            await client.writer.close()
            try await serving.value
        }
    }

    @Test func `cancelling serveForever closes the server, its connections go on`() async throws {
        try await withEchoServer { server in
            let client = try await server.connect()
            try await client.echo("hello")
            let serving = await started { try await server.serveForever() }
            serving.cancel()
            await #expect(throws: StreamError.cancelled) { try await serving.value }
            // The port may be somebody else's by now; it is not the server's.
            await (try? server.connect())?.writer.abort()
            await settle()
            #expect(await server.statistics().accepted == 1)
            try await client.echo("still here")
            await client.writer.close()
            try await server.waitClosed()
        }
    }

    @Test func `serveForever is ended by its loop's stop`() async throws {
        try await withDeadline {
            let loop = try EventLoop.start()
            let serving = loop.spawn {
                let server = try await startServer(port: 0, handler: echoLines)
                try await server.serveForever()
            }
            try await waitUntil { await loop.statistics().members > 0 }
            await loop.stop()
            _ = await serving.result
        }
    }
}
