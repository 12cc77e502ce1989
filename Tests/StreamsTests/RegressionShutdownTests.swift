// What a review broke at the end of served connections: replies cut by a shutdown, by a close that
// counted slow as dead, or by a handler that throws. Where time has to pass, the clock is virtual.

import Glibc
import Sluice
import SluiceTestKit
import Testing

/// A handler's own error.
private struct Refusal: Error {}

@Suite struct RegressionShutdownTests {
    /// The reply lies in the kernel when the connection ends, and the client asks on before it
    /// reads: closing with that unread would make the kernel send a reset.
    @Test(arguments: [true, false])
    func `a flushed reply arrives whole though the client asks on`(
        isShutDown: Bool
    ) async throws {
        let total = 1 << 20
        let isFlushed = Shared(false)
        let isOver = Shared(false)
        try await withServer { reader, writer in
            _ = try await reader.readLine()
            try await writer.send(TestBytes.make(count: total))
            try await writer.flush()
            isFlushed.set(true)
            if isShutDown { #expect(try await reader.readLine() == nil) }
            isOver.set(true)
        } client: { server in
            let client = try await server.connect()
            try await client.writer.send("request\n")
            var reply: [UInt8] = []
            while !isFlushed.value { reply += try await client.reader.read(upTo: 65_536) ?? [] }
            #expect(reply.count < total, "the rest lies in the kernel")
            async let counts = isShutDown ? server.shutdown(grace: .seconds(5)) : nil
            try await waitUntil("the handler is over") { isOver.value }
            try await client.say("next request\n")
            reply += try await client.reader.readToEnd()
            await client.writer.close()
            #expect(reply.count == total)
            #expect(TestBytes.match(reply, from: 0))
            _ = await counts
        }
    }

    @Test func `a request that lies in the kernel when the shutdown begins is answered`()
        async throws
    {
        try await withEchoServer(isVirtual: true) { server in
            let client = try await server.connect()
            try await client.echo("one")
            try client.writer.write("two\n")
            // The kernel has it; the loop has not looked since.
            try await client.writer.flush()
            let counts = await server.shutdown(grace: .seconds(1))
            #expect(counts.all == [1, 0, 0])
            #expect(try await client.reader.readToEnd() == bytes("two\n"))
            await client.writer.close()
        }
    }

    /// Large reads go straight into the caller's array, past the buffer and its flags.
    @Test func `the end that a shutdown told stays the end, whatever the client sends`()
        async throws
    {
        let hasEnded = Shared(false)
        let hasMore = Shared(false)
        let later = Shared<[[UInt8]?]>([])
        try await withServer { reader, writer in
            while let piece = try await reader.read() { try await writer.send(piece) }
            hasEnded.set(true)
            try await waitUntil("more has arrived") { hasMore.value }
            for _ in 0..<3 { later.append(try await reader.read()) }
        } client: { server in
            let client = try await server.connect()
            for _ in 0..<4 {
                try await client.writer.send(TestBytes.make(count: 16_384))
                _ = try await client.reader.readExactly(16_384)
            }
            await settle()
            async let counts = server.shutdown(grace: .seconds(5))
            try await waitUntil("the handler sees the end") { hasEnded.value }
            try await client.say("more\n")
            hasMore.set(true)
            #expect(try await client.reader.readToEnd() == [])
            await client.writer.close()
            #expect(await counts.finished == 1)
        }
        #expect(later.value == [nil, nil, nil])
    }

    /// The reply takes the client far longer than the limit of a close, which counts from the
    /// client's last progress.
    @Test func `a slow client gets all of a reply whose handler has returned`() async throws {
        let total = 1 << 20
        var options = ServerOptions()
        options.stream.outputCap = 2 * total
        try await withServer(isVirtual: true, options: options) { _, writer in
            try writer.write(TestBytes.make(count: total))
        } client: { server in
            let client = try await server.connect()
            try client.writer.setSocketOption(
                level: SOL_SOCKET, name: SO_RCVBUF, value: 65_536)
            let before = server.loop.now()
            var reply: [UInt8] = []
            while let piece = try await client.reader.read(upTo: 32_768) {
                reply += piece
                try await sleep(for: .seconds(1))
            }
            #expect(reply.count == total)
            #expect(TestBytes.match(reply, from: 0))
            #expect(server.loop.now() - before > 10_000_000_000)
            await client.writer.close()
        }
    }

    /// More than one connection may send in one turn, and less than the kernel has room for.
    @Test func `what the kernel takes at once of a throwing handler's reply leaves`() async throws {
        let total = 300_000
        let room = Shared<Int32>(0)
        let reports = Shared<[Report]>([])
        var options = ServerOptions()
        options.socket.sendBuffer = 1 << 20
        try await withServer(options: options, reports: reports) { reader, writer in
            _ = try await reader.readLine()
            room.set(try writer.socketOption(level: SOL_SOCKET, name: SO_SNDBUF))
            try writer.write(TestBytes.make(count: total))
            throw Refusal()
        } client: { server in
            let client = try await server.connect()
            try await client.writer.send("request\n")
            var reply: [UInt8] = []
            do {
                while let piece = try await client.reader.read() { reply += piece }
            } catch StreamError.reset where room.value < 400_000 {
                // A system with small buffers: some was lost, and the client was told.
            }
            #expect(TestBytes.match(reply, from: 0))
            if room.value >= 400_000 { #expect(reply.count == total) }
            await client.writer.close()
        }
        #expect(reports.value.count == 1)
    }
}
