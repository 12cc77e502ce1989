// The end of a served connection: nothing of a reply is lost, whatever the client still sends, and
// no descriptor stays. Broadcasts over stored writers.

import Sluice
import SluiceTestKit
import Testing

private struct Oops: Error {}

@Suite struct ServerClosingTests {
    /// 1,000 rounds with SLUICE_LONG=1. The handler never reads what the client sends after its
    /// request: a close with that unread would reset the connection and destroy the reply's tail.
    @Test func `B34: an 8 MB reply is complete for a client that sends 1 MB more meanwhile`()
        async throws
    {
        let count = 8_000_000
        let rounds = isLongRun ? 1_000 : 3
        let reply = TestBytes.make(count: count)
        try await withServer { reader, writer in
            _ = try await reader.readLine()
            try writer.write(reply)
        } client: { server in
            for round in 0..<rounds {
                let client = try await server.connect()
                try await client.writer.send("request\n")
                async let sending: Void = {
                    for _ in 0..<10 {
                        try await client.writer.send([UInt8](repeating: 120, count: 100_000))
                    }
                    try client.writer.finishWriting()
                }()
                var received = 0
                while let piece = try await client.reader.read(upTo: 1 << 20) {
                    #expect(TestBytes.match(piece, from: received))
                    received += piece.count
                }
                #expect(received == count, "round \(round)")
                try? await sending
                await client.writer.close()
            }
        }
    }

    @Test func `of 300 clients that half-close after their last line, each gets it back`()
        async throws
    {
        try await withEchoServer { server in
            var complete = 0
            for number in 0..<300 {
                let client = try await server.connect()
                try await client.writer.send("one\ntwo\nlast \(number)")
                try client.writer.finishWriting()
                if try await client.reader.readToEnd() == bytes("one\ntwo\nlast \(number)") {
                    complete += 1
                }
                await client.writer.close()
            }
            #expect(complete == 300)
        }
    }

    @Test func `what was written before the handler threw is on its way, and the error reported`()
        async throws
    {
        let reports = Shared<[Report]>([])
        try await withServer(reports: reports) { reader, writer in
            _ = try await reader.readLine()
            try writer.write("sorry\n")
            throw Oops()
        } client: { server in
            for _ in 0..<20 {
                let client = try await server.connect()
                try await client.writer.send("x\n")
                #expect(try await client.reader.readToEnd() == bytes("sorry\n"))
                await client.writer.close()
            }
            #expect(await server.statistics().handlerFailures == 20)
        }
        #expect(reports.value.count == 20)
        #expect(reports.value.allSatisfy { $0.kind == .handlerThrew && $0.error is Oops })
    }

    /// Each of these is how a task learns of its cancellation.
    @Test func `B38: errors that mean cancellation are not reported`() async throws {
        let errors: [any Error] = [
            CancellationError(), StreamError.cancelled, ReactorError.cancelled,
        ]
        let reports = Shared<[Report]>([])
        let next = Shared(0)
        try await withServer(reports: reports) { _, _ in
            let index = next.withLock { index in
                defer { index += 1 }
                return index
            }
            throw errors[index]
        } client: { server in
            for _ in errors {
                let client = try await server.connect()
                _ = try? await client.reader.read()
                await client.writer.close()
            }
            #expect(await server.statistics().handlerFailures == 0)
        }
        #expect(reports.value.isEmpty)
    }

    @Test func `a handler's failure does not touch the others`() async throws {
        let reports = Shared<[Report]>([])
        try await withServer(reports: reports) { reader, writer in
            while let line = try await reader.readLine() {
                if line == bytes("throw\n") { throw Oops() }
                try await writer.send(line)
            }
        } client: { server in
            let steady = try await server.connect()
            for round in 0..<30 {
                let client = try await server.connect()
                try await client.writer.send("throw\n")
                while let _ = try? await client.reader.read() {}
                await client.writer.close()
                try await steady.echo("\(round)")
            }
            await steady.writer.close()
        }
        #expect(reports.value.count == 30)
    }

    /// The table's ledger, which `withEchoServer` audits, knows each descriptor.
    @Test func `B36: a thousand connections at twenty a time leave no descriptor`() async throws {
        let faults = FaultTable()
        let reports = Shared<[Report]>([])
        try await withServer(faults: faults, reports: reports) { reader, writer in
            switch try await reader.readLine() {
            case bytes("throw\n"): throw Oops()
            case bytes("abort\n"): await writer.abort()
            case let line?: try await writer.send(line)
            case nil: break
            }
        } client: { server in
            let before = faults.ledger.open
            try await withThrowingTaskGroup(of: Void.self) { group in
                for worker in 0..<20 {
                    group.addTask {
                        for round in 0..<50 {
                            let lines = ["echo\n", "throw\n", "abort\n", "", "reset"]
                            try await Self.visit(server, lines[(worker + round) % lines.count])
                        }
                    }
                }
                try await group.waitForAll()
            }
            try await waitUntil { await server.statistics().current == 0 }
            #expect(await server.statistics().accepted == 1_000)
            #expect(faults.ledger.open == before)
            #expect(faults.ledger.opened - 3 == 2_000)
        }
        #expect(faults.ledger.double_closes == 0)
        #expect(reports.value.count { $0.error is Oops } == 200)
    }

    private static func visit(_ server: Server, _ line: String) async throws {
        let client = try await server.connect()
        if line == "reset" { return await client.writer.abort() }
        try? await client.writer.send(line)
        if line.isEmpty { try client.writer.finishWriting() }
        while let _ = try? await client.reader.read() {}
        await client.writer.close()
    }
}

@Suite struct ServerBroadcastTests {
    @Test func `a line goes to every client over stored writers`() async throws {
        try await withLoop(faults: FaultTable()) { _ in
            let writers = LoopBound<[ObjectIdentifier: StreamWriter]>([:])
            let server = try await startServer(port: 0) { reader, writer in
                writers.withValue { $0[ObjectIdentifier(writer)] = writer }
                defer { writers.withValue { $0[ObjectIdentifier(writer)] = nil } }
                while let line = try await reader.readLine() {
                    for other in writers.withValue({ Array($0.values) }) { try other.write(line) }
                }
            }
            var clients: [StreamEnd] = []
            for _ in 0..<10 { clients.append(try await server.connect()) }
            try await waitUntil { writers.withValue { $0.count } == 10 }
            for (number, client) in clients.enumerated() {
                try await client.writer.send("from \(number)\n")
                for other in clients {
                    #expect(try await other.reader.readLine() == bytes("from \(number)\n"))
                }
            }
            for client in clients { await client.writer.close() }
            try await waitUntil { writers.withValue { $0.isEmpty } }
            await server.close()
            try await server.waitClosed()
        }
    }

    @Test func `a broadcast from elsewhere than the loop sends to all of them`() async throws {
        let writers = Shared<[StreamWriter]>([])
        try await withServer { reader, writer in
            writers.append(writer)
            try await echoLines(reader, writer)
        } client: { server in
            var clients: [StreamEnd] = []
            for _ in 0..<5 { clients.append(try await server.connect()) }
            try await waitUntil { writers.value.count == 5 }
            let broadcast = Task.detached {
                for number in 0..<20 {
                    for writer in writers.value { try await writer.send("\(number)\n") }
                }
            }
            for client in clients {
                for number in 0..<20 {
                    #expect(try await client.reader.readLine() == bytes("\(number)\n"))
                }
            }
            try await broadcast.value
            writers.set([])
            for client in clients { await client.writer.close() }
        }
    }
}
