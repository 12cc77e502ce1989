// A server over several loops: where connections live, and what is asked of all of them together.

import Sluice
import SluiceTestKit
import Synchronization
import Testing

/// Runs the body on a loop of its own, with a group of two beside it that is stopped afterwards.
private func withGroup(
    sourceLocation: SourceLocation = #_sourceLocation,
    _ body: @escaping @Sendable (EventLoopGroup) async throws -> Void
) async throws {
    let group = try EventLoopGroup(loops: 2)
    do {
        try await withLoop(sourceLocation: sourceLocation) { _ in try await body(group) }
    } catch {
        Task { await group.stop() }
        throw error
    }
    try await withDeadline(sourceLocation: sourceLocation) { await group.stop() }
}

/// Clients that connect one after the other and stay.
private func connect(_ count: Int, to server: Server) async throws -> [StreamEnd] {
    var ends: [StreamEnd] = []
    for _ in 0..<count { ends.append(try await server.connect()) }
    return ends
}

@Suite struct GroupServerTests {
    @Test func `200 connections spread evenly over two loops, and each lives on one`()
        async throws
    {
        try await withGroup { group in
            let homes = Shared<[Int]>([0, 0])
            let server = try await startServer(port: 0, loops: group) { reader, writer in
                let home = try #require(EventLoop.current)
                let index = try #require(group.loops.firstIndex { $0 === home })
                homes.withLock { $0[index] += 1 }
                #expect(reader.loop === home && writer.loop === home)
                while let line = try await reader.readLine() {
                    #expect(EventLoop.current === home)
                    try await writer.send(line)
                    #expect(EventLoop.current === home)
                }
            }
            #expect(server.loop === group.loops[0])
            let ends = try await connect(200, to: server)
            for end in ends { try await end.echo("one") }
            for end in ends.reversed() { try await end.echo("two") }
            #expect(homes.value == [100, 100])
            for end in ends { await end.writer.abort() }
            await server.shutdown(grace: .seconds(5))
        }
    }

    @Test func `statistics and the list of connections cover all loops`() async throws {
        try await withGroup { group in
            let server = try await startServer(port: 0, loops: group, handler: echoLines)
            let ends = try await connect(6, to: server)
            for end in ends { try await end.echo("hello") }
            let statistics = await server.statistics()
            #expect(statistics.accepted == 6)
            #expect(statistics.current == 6)
            try await eventually("all wait for input") {
                await server.connections().allSatisfy { $0.waitsFor == .input }
            }
            let connections = await server.connections()
            #expect(
                Set(connections.map(\.remoteAddress)) == Set(ends.map(\.writer.localAddress)))
            for connection in connections {
                #expect(connection.state == .open)
                #expect(connection.bytesIn == 6 && connection.bytesOut == 6)
                #expect(connection.bufferedIn == 0 && connection.bufferedOut == 0)
                #expect(connection.localAddress == server.addresses.first)
                #expect(connection.closeReason == nil)
            }
            for end in ends { await end.writer.close() }
            try await eventually("all are gone") { await server.statistics().current == 0 }
            #expect(await server.statistics().closed == 6)
            #expect(await server.connections().isEmpty)
            await server.shutdown(grace: .zero)
        }
    }

    @Test func `shutdown ends idle handlers on every loop in order`() async throws {
        try await withGroup { group in
            let server = try await startServer(port: 0, loops: group, handler: echoLines)
            let ends = try await connect(6, to: server)
            for end in ends { try await end.echo("hello") }
            async let counts = server.shutdown(grace: .seconds(10))
            for end in ends {
                #expect(try await end.reader.read() == nil)
                await end.writer.close()
            }
            #expect(await counts.all == [6, 0, 0])
            try await server.waitClosed()
        }
    }

    @Test func `shutdown without grace cancels handlers on every loop`() async throws {
        try await withGroup { group in
            let server = try await startServer(port: 0, loops: group) { reader, writer in
                try await writer.send("x")
                try await sleep(for: .seconds(60))
            }
            let ends = try await connect(4, to: server)
            for end in ends { #expect(try await end.reader.readExactly(1) == bytes("x")) }
            #expect(await server.shutdown(grace: .zero).all == [0, 4, 0])
            for end in ends { await end.writer.abort() }
        }
    }

    @Test func `the limit of connections counts all loops, and room on any lets the next in`()
        async throws
    {
        try await withGroup { group in
            var options = ServerOptions()
            options.maxConnections = 2
            let server = try await startServer(
                port: 0, loops: group, options: options, handler: echoLines)
            let ends = try await connect(3, to: server)
            for end in ends.prefix(2) { try await end.echo("hello") }
            #expect(await server.statistics().accepted == 2)
            await ends[1].writer.close()
            try await ends[2].echo("let in")
            for end in ends { await end.writer.abort() }
            await server.shutdown(grace: .seconds(5))
        }
    }

    @Test func `a group's loops are named by number and stop together`() async throws {
        var options = EventLoop.Options()
        options.name = "many"
        let group = try EventLoopGroup(loops: 3, options: options)
        #expect(Set(group.loops.map(ObjectIdentifier.init)).count == 3)
        try await withDeadline {
            await group.stop()
            await group.stop()
        }
        for loop in group.loops {
            #expect(throws: ReactorError.stopped) { try loop.post {} }
        }
    }
}
