// copyBothWays between two streams, and openConnection's parameters beside host and port.

import Glibc
import Sluice
import SluiceTestKit
import Testing

/// Runs the body with a client's end and a service's end and a copy between them.
private func withProxy(
    _ kind: PairKind, sourceLocation: SourceLocation = #_sourceLocation,
    _ body:
        @escaping @Sendable (
            _ client: StreamEnd, _ service: StreamEnd, _ copying: Task<CopiedBytes, any Error>
        ) async throws -> Void
) async throws {
    try await withLoop(sourceLocation: sourceLocation) { _ in
        let (client, front) = try await kind.makePair()
        let (back, service) = try await kind.makePair()
        try await releasing(front, back) {
            try await releasing(client, service) {
                let copying = await started {
                    try await copyBothWays(
                        (front.reader, front.writer), (back.reader, back.writer))
                }
                try await body(client, service, copying)
                copying.cancel()
                _ = await copying.result
            }
        }
    }
}

@Suite struct CopyTests {
    @Test(arguments: PairKind.allCases)
    func `bytes go both ways, each end passes as a half-close, and both are counted`(
        _ kind: PairKind
    ) async throws {
        try await withProxy(kind) { client, service, copying in
            try await client.writer.send("question")
            try client.writer.finishWriting()
            #expect(try await service.reader.readToEnd() == bytes("question"))
            try await service.writer.send("the ")
            #expect(try await client.reader.readExactly(4) == bytes("the "))
            try await service.writer.send("answer")
            try service.writer.finishWriting()
            #expect(try await client.reader.readToEnd() == bytes("answer"))
            let copied = try await copying.value
            #expect(copied.forth == 8)
            #expect(copied.back == 10)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `a lot of bytes both ways at once arrive whole`(_ kind: PairKind) async throws {
        let (count, seed) = (1 << 18, SeededGenerator().seed)
        try await withProxy(kind) { client, service, copying in
            async let forth: Void = sendPieces(client.writer, count: count, seed: seed)
            async let back: Void = sendPieces(service.writer, count: count / 2, seed: seed &+ 1)
            async let there = receivePieces(service.reader, seed: seed &+ 2)
            async let here = receivePieces(client.reader, seed: seed &+ 3)
            _ = try await (forth, back)
            #expect(try await there == count, "seed \(seed)")
            #expect(try await here == count / 2, "seed \(seed)")
            let copied = try await copying.value
            #expect(copied.forth == UInt64(count) && copied.back == UInt64(count / 2))
        }
    }

    @Test(arguments: PairKind.allCases)
    func `a broken side ends the copy with its error, though the other one is silent`(
        _ kind: PairKind
    ) async throws {
        try await withProxy(kind) { client, service, copying in
            await service.writer.abort()
            await #expect(throws: StreamError.reset(errno: ECONNRESET)) {
                try await copying.value
            }
            #expect(!client.writer.isClosing)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `a cancelled copy ends as cancelled and closes neither stream`(
        _ kind: PairKind
    ) async throws {
        try await withProxy(kind) { client, service, copying in
            try await client.say("there")
            copying.cancel()
            await #expect(throws: StreamError.cancelled) { try await copying.value }
            #expect(try await service.reader.read() == bytes("there"))
            #expect(!client.writer.isClosing && !service.reader.atEOF)
        }
    }
}

@Suite struct OpenConnectionTests {
    @Test func `a refused connection names every address that was tried`() async throws {
        try await withLoop { _ in
            let (error, address) = try await connectToClosedServer(host: "localhost")
            guard case .connectFailed(let host, let port, let attempts) = error else {
                throw error
            }
            #expect(host == "localhost" && port == address.port)
            #expect(!attempts.isEmpty)
            #expect(attempts.allSatisfy { $0.error.errno == ECONNREFUSED })
            #expect(Set(attempts.map(\.address)).count == attempts.count)
            for attempt in attempts { #expect("\(error)".contains("\(attempt)")) }
        }
    }

    @Test func `a connection comes from the local address asked for`() async throws {
        try await withEchoServer { server in
            let end = StreamEnd(
                try await openConnection(
                    host: "127.0.0.1", port: server.port, from: "127.0.0.5"))
            #expect(end.writer.localAddress?.host == "127.0.0.5")
            try await end.echo("hello")
            #expect(await server.connections().map(\.remoteAddress?.host) == ["127.0.0.5"])
            await end.writer.close()
        }
    }

    @Test func `a local address that is not this machine's is named by its call`() async throws {
        try await withEchoServer { server in
            do throws(StreamError) {
                _ = try await openConnection(
                    host: "127.0.0.1", port: server.port, from: "192.0.2.1")
                Issue.record("connected")
            } catch {
                guard case .connectFailed(_, _, let attempts) = error else { throw error }
                #expect(
                    attempts.map(\.error) == [SystemError(call: "bind", errno: EADDRNOTAVAIL)])
            }
        }
    }

    @Test func `a timeout of nothing ends at the first wait, with no socket left`()
        async throws
    {
        let faults = FaultTable()
        try await withEchoServer(faults: faults) { server in
            let before = faults.ledger.open
            await #expect(throws: StreamError.timedOut) {
                _ = try await openConnection(host: "localhost", port: server.port, timeout: .zero)
            }
            try await eventually("the server has noticed") {
                await server.statistics().current == 0
            }
            #expect(faults.ledger.open == before)
        }
    }

    @Test func `a Unix path without a server names the path and the call`() async throws {
        try await withLoop { _ in
            try await withDirectory { directory in
                do throws(StreamError) {
                    _ = try await openUnixConnection(path: directory + "/none")
                    Issue.record("connected")
                } catch {
                    guard case .connectFailed(_, _, let attempts) = error else { throw error }
                    #expect(attempts.map(\.address.path) == [directory + "/none"])
                    #expect(
                        attempts.map(\.error) == [SystemError(call: "connect", errno: ENOENT)])
                }
            }
        }
    }
}
