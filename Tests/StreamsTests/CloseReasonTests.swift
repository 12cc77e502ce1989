// Counters: each connection of a server ends for one reason, and they add up.

import Sluice
import SluiceTestKit
import Testing

@Suite struct CloseReasonTests {
    @Test func `the peer's end, and its reset`() async throws {
        try await withEchoServer { server in
            let polite = try await server.connect()
            try await polite.echo("polite")
            await polite.writer.close()
            let rude = try await server.connect()
            try await rude.echo("rude")
            await rude.writer.abort()
            #expect(await server.closings(2) == [.peerEnd: 1, .reset: 1])
        }
    }

    @Test func `this side's close, abort and detach`() async throws {
        try await withServer { reader, writer in
            switch try await reader.readLine() {
            case bytes("close\n"): break
            case bytes("abort\n"): await writer.abort()
            case bytes("detach\n"):
                let detached = try await writer.detach()
                reader.loop.closeDescriptor(detached.descriptor)
            default: Issue.record("an unknown word")
            }
        } client: { server in
            for word in ["close", "abort", "detach"] {
                let client = try await server.connect()
                try await client.writer.send(word + "\n")
                _ = try? await client.reader.read()
                await client.writer.close()
            }
            #expect(await server.closings(3) == [.local: 1, .aborted: 1, .detached: 1])
        }
    }

    @Test func `what the handler threw`() async throws {
        struct Strange: Error {}
        let reports = Shared<[Report]>([])
        var options = ServerOptions()
        options.stream.outputCap = 70_000
        try await withServer(options: options, reports: reports) { reader, writer in
            switch try await reader.readExactly(1) {
            case bytes("t"): _ = try await reader.readExactly(100)
            case bytes("l"): _ = try await reader.readLine(limit: 10)
            case bytes("o"):
                while true { try writer.write(TestBytes.make(count: 50_000)) }
            default: throw Strange()
            }
        } client: { server in
            for word in ["t", "l too long a line", "o", "s"] {
                let client = try await server.connect()
                try await client.writer.send(word)
                try client.writer.finishWriting()
                while let _ = try? await client.reader.read() {}
                await client.writer.close()
            }
            #expect(
                await server.closings(4)
                    == [.truncated: 1, .limitExceeded: 1, .overflow: 1, .handlerThrew: 1])
            #expect(await server.statistics().handlerFailures == 4)
        }
        #expect(reports.value.count == 4)
    }

    @Test func `a stalled peer, and a close that takes too long`() async throws {
        var options = ServerOptions()
        options.socket.sendBuffer = 8_192
        try await withServer(isVirtual: true, options: options) { reader, writer in
            let word = try await reader.readLine()
            try writer.write(TestBytes.make(count: 900_000))
            if word == bytes("stall\n") { try await writer.flush() }
        } client: { server in
            let stalled = try await server.connect()
            try await stalled.writer.send("stall\n")
            #expect(await server.closings(1, step: .seconds(1)) == [.stalled: 1])
            let slow = try await server.connect()
            try await slow.writer.send("close\n")
            try await waitUntil { await server.statistics().accepted == 2 }
            #expect(
                await server.closings(2, step: .seconds(1)) == [.stalled: 1, .closeTimeout: 1])
            await stalled.writer.abort()
            await slow.writer.abort()
        }
    }

    @Test func `a shutdown's cancelled handlers, and its forced connections`() async throws {
        try await withServer(isVirtual: true) { reader, writer in
            let word = try await reader.readLine()
            try await writer.send("ready\n")
            guard word == bytes("deaf\n") else { return try await sleep(for: .seconds(1_000)) }
            while !Task.isCancelled || !writer.isClosing { try? await sleepDeaf() }
        } client: { server in
            let loop = server.loop
            var clients: [StreamEnd] = []
            for word in ["cancelled", "deaf"] {
                let client = try await server.connect()
                try await client.writer.send(word + "\n")
                #expect(try await client.reader.readLine() == bytes("ready\n"))
                clients.append(client)
            }
            let counts = await server.shutdown(grace: .seconds(1))
            #expect(counts.all == [0, 1, 1])
            #expect(await server.closings(2) == [.cancelled: 1, .forced: 1])
            #expect(loop.isCurrent)
            for client in clients { await client.writer.abort() }
        }
    }
}

/// A wait that no cancellation ends.
private func sleepDeaf() async throws {
    guard let loop = EventLoop.current else { return }
    try await loop.spawn { try await sleep(for: .milliseconds(10)) }.value
}
