// System calls and enqueues per message, exactly. What starts the meter is still to be answered and
// what stops it is not, so those two are one message together.

import Sluice
import SluiceTestKit
import Testing

@Suite struct SystemCallTests {
    private static let rounds = isLongRun ? 20_000 : 1_000

    @Test func `an unpipelined echo is one wait, one receive and one send, and nothing else`()
        async throws
    {
        let spent = try await spending { server in
            let client = try await connect(server)
            for _ in 0..<10 { try await client.exchange(message) }
            try await client.exchange(startLine)
            for _ in 0..<Self.rounds { try await client.exchange(message) }
            try await client.exchange(stopLine)
            await client.writer.close()
        }
        let messages = Self.rounds + 1
        // No eventfd: it would show as "write" and "read".
        #expect(
            spent.calls == ["epoll_wait": messages, "recv": messages, "sendmsg": messages])
        #expect(spent.enqueues == messages, "one enqueue per wake-up")
        #expect(spent.jobs == messages)
        #expect(spent.inboxItems == 0)
    }

    @Test func `by the span calls it is the same`() async throws {
        let spent = try await spending(handler: meteredSpanEcho) { server in
            let client = try await connect(server)
            for _ in 0..<10 { try await client.exchange(message) }
            try await client.exchange(startLine)
            for _ in 0..<Self.rounds { try await client.exchange(message) }
            try await client.exchange(stopLine)
            await client.writer.close()
        }
        let messages = Self.rounds + 1
        #expect(
            spent.calls == ["epoll_wait": messages, "recv": messages, "sendmsg": messages])
        #expect(spent.enqueues == messages)
    }

    @Test func `sixteen pipelined lines, answered one await at a time, leave in one send`()
        async throws
    {
        let batch = Array(repeatElement(message, count: 16).joined())
        let spent = try await spending { server in
            let client = try await connect(server)
            for _ in 0..<10 { try await client.exchange(batch) }
            try await client.exchange(startLine)
            for _ in 0..<Self.rounds { try await client.exchange(batch) }
            try await client.exchange(stopLine)
            await client.writer.close()
        }
        let batches = Self.rounds + 1
        #expect(
            spent.calls == ["epoll_wait": batches, "recv": batches, "sendmsg": batches])
        #expect(spent.enqueues == batches, "1/16 per line")
    }

    /// The server's thread is held until all fifty have sent, so one wait finds them all.
    @Test func `fifty connections that are ready together share one wait`() async throws {
        let rounds = 20
        let areSent = Shared(false)
        let spent = try await spending { meter in
            { reader, writer in
                while let line = try await reader.readLine() {
                    if line == startLine { await meter.start(reader.loop) }
                    if line == stopLine { await meter.stop(reader.loop) }
                    if line == bytes("hold\n") {
                        areSent.block { $0 }
                        areSent.set(false)
                    }
                    try await writer.send(line)
                }
            }
        } client: { server in
            let control = try await connect(server)
            var clients: [StreamEnd] = []
            for _ in 0..<50 { clients.append(try await connect(server)) }
            for client in clients { try await client.exchange(message) }
            try await control.exchange(startLine)
            for _ in 0..<rounds {
                try await control.writer.send("hold\n")
                try await control.writer.flush()
                for client in clients {
                    try await client.writer.send(message)
                    try await client.writer.flush()
                }
                areSent.set(true)
                for client in clients { _ = try await client.reader.readExactly(message.count) }
                _ = try await control.reader.readLine()
            }
            try await control.exchange(stopLine)
            for client in clients + [control] { await client.writer.close() }
        }
        let messages = rounds * 51 + 1
        #expect(spent.calls["recv"] == messages)
        #expect(spent.calls["sendmsg"] == messages)
        #expect(spent.enqueues == messages)
        // The hold, and all the others together; now and then one that came before the hold.
        #expect(spent.waits <= 4 * rounds + 1, "\(spent)")
        #expect(
            Set(spent.calls.keys).subtracting(["epoll_pwait2"]) == [
                "epoll_wait", "recv", "sendmsg",
            ])
    }

    /// From accept to close; the client closes first.
    @Test func `a connection costs one epoll_ctl, and one at its close`() async throws {
        let visits = 100
        let spent = try await spending { server in
            let control = try await connect(server)
            try await control.exchange(startLine)
            for _ in 0..<visits {
                let client = try await connect(server)
                try await client.exchange(message)
                await client.writer.close()
            }
            try await control.exchange(stopLine)
            await control.writer.close()
        }
        #expect(spent.calls["epoll_ctl"] == 2 * visits)
        #expect(spent.calls["close"] == visits)
        #expect(spent.calls["shutdown"] == visits)
        #expect(spent.calls["sendmsg"] == visits + 1)
        // The line, and the end.
        #expect(spent.calls["recv"] == 2 * visits + 1)
        // One that finds somebody and one that finds nobody else.
        #expect((visits...2 * visits).contains(spent.calls["accept4", default: 0]))
        // Addresses and options come from the listener, sockets inherit them.
        #expect(
            Set(spent.calls.keys).subtracting(["epoll_pwait2"]) == [
                "accept4", "close", "epoll_ctl", "epoll_wait", "recv", "sendmsg", "shutdown",
            ])
    }

    @Test func `idle connections own no buffer`() async throws {
        let spent = try await spending { server in
            var clients: [StreamEnd] = []
            for _ in 0..<100 { clients.append(try await connect(server)) }
            for client in clients { try await client.exchange(message) }
            for client in clients {
                try await client.exchange(Array(repeatElement(message, count: 100).joined()))
            }
            let control = try await connect(server)
            try await control.exchange(startLine)
            let blocks = try await server.loop.spawn {
                await server.loop.statistics()
            }.value
            #expect(blocks.blocksInUse == 0 && blocks.blockBytesInUse == 0, "\(blocks)")
            try await control.exchange(stopLine)
            for client in clients + [control] { await client.writer.close() }
        }
        // The meter's own connection holds the line it is reading, at most.
        #expect(spent.blocksInUse <= 1)
    }
}
