// B30 and the server rows of asyncio's tests: the handler's scope owns the connection. Over TCP.

import Sluice
import SluiceTestKit
import Synchronization
import Testing

private struct Oops: Error {}

/// Collects reports.
private final class Reports: Sendable {
    private let list = Mutex<[Report]>([])
    var all: [Report] { list.withLock { $0 } }
    func add(_ report: Report) { list.withLock { $0.append(report) } }
}

@Suite struct HandlerScopeTests {
    /// Runs a server with this handler, a client against it, and closes everything.
    private func serve(
        _ handler: @escaping ClientHandler,
        client: @escaping @Sendable (StreamEnd, Server) async throws -> Void
    ) async throws -> [Report] {
        let reports = Reports()
        try await withLoop(faults: FaultTable()) { _ in
            var options = ServerOptions()
            options.stream.closeTimeout = .milliseconds(500)
            options.report = { reports.add($0) }
            let server = try await startServer(port: 0, options: options, handler: handler)
            let end = StreamEnd(try await openConnection(host: "127.0.0.1", port: server.port))
            try await client(end, server)
            await end.writer.close()
            await server.close()
            try await server.waitClosed()
        }
        return reports.all
    }

    @Test func `B30: a handler that returns has its output flushed, then the client sees the end`()
        async throws
    {
        let count = 300_000
        let reports = try await serve { _, writer in
            try writer.write(TestBytes.make(count: count))
        } client: { end, _ in
            let all = try await end.reader.readToEnd()
            #expect(all.count == count)
            #expect(TestBytes.match(all, from: 0))
        }
        #expect(reports.isEmpty)
    }

    @Test func `B30: test_unhandled_exception: a throw is reported once, the client sees a close`()
        async throws
    {
        let peer = Handover<SocketAddress?>()
        let reports = try await serve { reader, _ in
            _ = try await reader.readLine()
            throw Oops()
        } client: { end, server in
            peer.give(end.writer.localAddress)
            try await end.writer.send("x\n")
            while let piece = try? await end.reader.read() { #expect(!piece.isEmpty) }
            #expect(await server.statistics().handlerFailures == 1)
        }
        #expect(reports.count == 1)
        #expect(reports.first?.kind == .handlerThrew)
        #expect(reports.first?.error is Oops)
        #expect(reports.first?.peer == peer.take())
    }

    @Test func `B30: a handler that throws at once does the server no harm`() async throws {
        let reports = try await serve { _, _ in
            throw Oops()
        } client: { end, server in
            while let _ = try? await end.reader.read() {}
            for _ in 0..<3 {
                let again = StreamEnd(
                    try await openConnection(host: "127.0.0.1", port: server.port))
                while let _ = try? await again.reader.read() {}
                await again.writer.close()
            }
        }
        #expect(reports.count == 4)
    }

    @Test func `B30: test_unhandled_cancel: a cancelled handler closes and is not reported`()
        async throws
    {
        let reports = try await serve { reader, _ in
            // Not idle: a byte was received and is not answered.
            _ = try await reader.readExactly(100)
        } client: { end, server in
            try await end.writer.send("x")
            await settle()
            let counts = await server.shutdown(grace: .zero)
            #expect([counts.finished, counts.cancelled, counts.aborted] == [0, 1, 0])
            while let _ = try? await end.reader.read() {}
        }
        #expect(reports.isEmpty)
    }

    @Test func `test_wait_closed_basic: waitClosed waits for close and for the last connection`()
        async throws
    {
        _ = try await serve { reader, writer in
            while let line = try await reader.readLine() { try await writer.send(line) }
        } client: { end, server in
            let isOver = Handover<Bool>()
            let waiting = await started {
                try await server.waitClosed()
                isOver.give(true)
            }
            #expect(!isOver.hasValue)
            await server.close()
            await settle()
            #expect(!isOver.hasValue, "a connection is open")
            try await end.writer.send("still served\n")
            #expect(try await end.reader.readLine() == bytes("still served\n"))
            await end.writer.close()
            try await waiting.value
            await server.close()
            try await server.waitClosed()
        }
    }

    @Test func `test_wait_closed_race: closing while the last connection closes ends the wait`()
        async throws
    {
        _ = try await serve { reader, _ in
            _ = try await reader.read()
        } client: { end, server in
            let waiting = await started { try await server.waitClosed() }
            try await end.writer.send("x")
            async let closing: Void = end.writer.close()
            await server.close()
            await closing
            try await waiting.value
        }
    }

    @Test func `test_open_connection: write, read a line, read to the end, no report`()
        async throws
    {
        let reports = try await serve { reader, writer in
            guard let line = try await reader.readLine() else { return }
            try await writer.send("HTTP/1.0 200 OK\r\n")
            try await writer.send(contentsOf: [bytes("\r\nTest message for "), line])
        } client: { end, _ in
            try await end.writer.send("GET / HTTP/1.0\r\n\r\n")
            #expect(try await end.reader.readLine() == bytes("HTTP/1.0 200 OK\r\n"))
            let rest = try await end.reader.readToEnd()
            #expect(rest == bytes("\r\nTest message for GET / HTTP/1.0\r\n"))
        }
        #expect(reports.isEmpty)
    }

    @Test func `test_start_server: a plain handler's connection lives until it is closed`()
        async throws
    {
        try await withLoop(faults: FaultTable()) { _ in
            let accepted = Handover<StreamEnd>()
            let server = try await startServer(port: 0) {
                (reader: StreamReader, writer: StreamWriter) -> Void in
                accepted.give(StreamEnd((reader, writer)))
            }
            let end = StreamEnd(try await openConnection(host: "127.0.0.1", port: server.port))
            try await eventually("accepted") { accepted.hasValue }
            let served = accepted.take()
            try await served.writer.send("hello\n")
            #expect(try await end.reader.readLine() == bytes("hello\n"))
            #expect(await server.statistics().current == 1)
            async let closed: Void = served.writer.close()
            #expect(try await end.reader.read() == nil)
            await end.writer.close()
            await closed
            await server.close()
            try await server.waitClosed()
        }
    }

    @Test func `a full-duplex handler reads and writes in two child tasks`() async throws {
        _ = try await serve { reader, writer in
            async let echoing: Void = {
                while let line = try await reader.readLine() { try await writer.send(line) }
            }()
            async let counting: Void = {
                for count in 0..<50 {
                    try await writer.send("count \(count)\n")
                    await EventLoop.yield()
                }
            }()
            _ = try await (echoing, counting)
        } client: { end, _ in
            for line in 0..<50 { try await end.writer.send("echo \(line)\n") }
            try end.writer.finishWriting()
            var next = ["echo": 0, "count": 0]
            for try await line in end.reader.lines {
                let words = String(decoding: line, as: UTF8.self).split(separator: " ")
                let kind = String(words[0])
                #expect(Int(words[1]) == next[kind])
                next[kind, default: 0] += 1
            }
            #expect(next == ["echo": 50, "count": 50])
        }
    }
}
