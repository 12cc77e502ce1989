// How many connections a server takes: at once, and in one wake-up.

import Sluice
import SluiceTestKit
import Testing

@Suite struct ServerLimitTests {
    @Test func `B41: client N+1 waits in the backlog and is served when one leaves`() async throws {
        var options = ServerOptions()
        options.maxConnections = 3
        let faults = FaultTable()
        try await withEchoServer(faults: faults, options: options) { server in
            var clients: [StreamEnd] = []
            for number in 0..<5 {
                // The kernel answers those that wait, too.
                let client = try await server.connect()
                try await client.writer.send("\(number)\n")
                clients.append(client)
            }
            for number in 0..<3 {
                #expect(try await clients[number].reader.readLine() == bytes("\(number)\n"))
            }
            await settle()
            #expect(await server.statistics().accepted == 3)
            #expect(clients[3].reader.buffered == 0)
            // Waiting costs nothing: no call of accept as long as there is no room.
            let accepts = faults.calls(CF_ACCEPT4)
            await settle()
            #expect(faults.calls(CF_ACCEPT4) == accepts)
            for number in 3..<5 {
                await clients[number - 3].writer.close()
                #expect(try await clients[number].reader.readLine() == bytes("\(number)\n"))
                #expect(await server.statistics().current <= 3)
            }
            for client in clients { await client.writer.close() }
        }
    }

    @Test func `under a cap of one, clients are served one after the other`() async throws {
        var options = ServerOptions()
        options.maxConnections = 1
        let most = Shared(0)
        let now = Shared(0)
        try await withServer(options: options) { reader, writer in
            let count = now.withLock { count in
                count += 1
                return count
            }
            most.withLock { $0 = max($0, count) }
            while let line = try await reader.readLine() { try await writer.send(line) }
            now.withLock { $0 -= 1 }
        } client: { server in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<20 {
                    group.addTask {
                        let client = try await server.connect()
                        try await client.echo("\(number)")
                        await client.writer.close()
                    }
                }
                try await group.waitForAll()
            }
            #expect(await server.statistics().accepted == 20)
        }
        #expect(most.value == 1)
    }

    /// The server's thread is held until the kernel has finished twenty handshakes.
    @Test func `no more clients are accepted in one wake-up than the option says`() async throws {
        var options = ServerOptions()
        options.acceptsPerWakeUp = 3
        try await withEchoServer(options: options) { server in
            let areConnected = Shared(false)
            let connecting = EventLoop.background.spawn {
                var clients: [StreamEnd] = []
                for _ in 0..<20 { clients.append(try await server.connect()) }
                areConnected.set(true)
                return clients
            }
            areConnected.block { $0 }
            var before = 0
            var most = 0
            while before < 20 {
                await EventLoop.yield()
                let accepted = await server.statistics().accepted
                most = max(most, accepted - before)
                before = accepted
            }
            #expect(most == 3)
            for client in try await connecting.value { await client.writer.close() }
        }
    }

    @Test func `a full server that is closed resets those who wait, and ends`() async throws {
        var options = ServerOptions()
        options.maxConnections = 1
        try await withEchoServer(options: options) { server in
            let first = try await server.connect()
            try await first.echo("first")
            let second = try await server.connect()
            await settle()
            await server.close()
            await #expect(throws: StreamError.self) {
                while try await second.reader.read() != nil {}
                throw StreamError.closed
            }
            await second.writer.abort()
            try await first.echo("still served")
            await first.writer.close()
            try await server.waitClosed()
            #expect(await server.statistics().accepted == 1)
        }
    }

    /// The flood never lets its connection run dry; the others must have their turns all the same.
    @Test func `B42: one client that floods does not keep others from being served`() async throws {
        try await withServer { reader, writer in
            guard try await reader.readLine() == bytes("flood\n") else {
                return try await echoLines(reader, writer)
            }
            while try await reader.read() != nil {}
        } client: { server in
            let isOver = Shared(false)
            let flood = EventLoop.background.spawn {
                let client = try await server.connect()
                try await client.writer.send("flood\n")
                let piece = TestBytes.make(count: 262_144)
                while !isOver.value { try await client.writer.send(piece) }
                await client.writer.close()
                return client.writer.description
            }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<20 {
                    group.addTask {
                        let client = try await server.connect()
                        try await client.writer.send("first\n")
                        for round in 0..<20 { try await client.echo("\(number) \(round)") }
                        await client.writer.close()
                    }
                }
                try await group.waitForAll()
            }
            isOver.set(true)
            _ = try await flood.value
        }
    }
}
