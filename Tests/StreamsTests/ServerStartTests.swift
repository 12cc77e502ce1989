// Starting servers: addresses, ports, families, what cannot be bound, options out of range.

import Glibc
import Sluice
import SluiceTestKit
import Testing

@Suite struct ServerStartTests {
    @Test func `B37: the address is known and answers before the first accept`() async throws {
        try await withEchoServer { server in
            let address = try #require(server.addresses.first)
            #expect(server.addresses.count == 1)
            #expect(address.host == "127.0.0.1")
            #expect(server.port > 0 && address.port == server.port)
            #expect(await server.statistics().accepted == 0)
            let client = try await server.connect()
            #expect(client.writer.remoteAddress == address)
            try await client.echo("hello")
            await client.writer.close()
        }
    }

    @Test func `a server on IPv6 serves and shows its addresses`() async throws {
        try await withLoop(faults: FaultTable()) { _ in
            let server = try await startServer(host: "::1", port: 0, handler: echoLines)
            #expect("\(try #require(server.addresses.first))" == "[::1]:\(server.port)")
            let client = try await server.connect()
            #expect(client.writer.localAddress?.host == "::1")
            try await client.echo("hello")
            await client.writer.close()
            await server.close()
            try await server.waitClosed()
        }
    }

    @Test func `B37: port 0 on all addresses of a name gives one port`() async throws {
        try await withLoop(faults: FaultTable()) { _ in
            for _ in 0..<10 {
                let server = try await startServer(host: "localhost", port: 0, handler: echoLines)
                #expect(server.port > 0)
                #expect(server.addresses.allSatisfy { $0.port == server.port })
                for address in server.addresses {
                    let host = try #require(address.host)
                    let client = StreamEnd(
                        try await openConnection(host: host, port: server.port))
                    try await client.echo("hello")
                    await client.writer.close()
                }
                await server.close()
                try await server.waitClosed()
            }
        }
    }

    @Test func `the peers know each other's addresses, after the close too`() async throws {
        let seen = Shared<[SocketAddress?]>([])
        try await withServer { reader, writer in
            seen.set([writer.remoteAddress, writer.localAddress])
            _ = try await reader.readLine()
        } client: { server in
            let client = try await server.connect()
            try await client.writer.send("x\n")
            #expect(try await client.reader.read() == nil)
            await client.writer.close()
            #expect(seen.value == [client.writer.localAddress, client.writer.remoteAddress])
            #expect(client.writer.remoteAddress == server.addresses.first)
        }
    }

    @Test func `a port that is taken says so, with the address`() async throws {
        try await withEchoServer { server in
            let port = server.port
            let address = try #require(server.addresses.first)
            do throws(StreamError) {
                let second = try await startServer(port: port, handler: echoLines)
                await second.close()
                Issue.record("bound twice")
            } catch {
                #expect(
                    error
                        == .listenFailed(
                            address: address, SystemError(call: "bind", errno: EADDRINUSE)))
                #expect("\(error)".contains("127.0.0.1:\(port)"))
                #expect("\(error)".contains("Address already in use"))
            }
        }
    }

    @Test func `an address of somebody else says so`() async throws {
        try await withLoop(faults: FaultTable()) { _ in
            do throws(StreamError) {
                let server = try await startServer(host: "192.0.2.1", port: 0, handler: echoLines)
                await server.close()
                Issue.record("bound")
            } catch {
                #expect("\(error)".contains("192.0.2.1:0"))
                #expect("\(error)".contains("bind"))
            }
        }
    }

    /// Each call of the way fails once, for each address; nothing may stay open.
    @Test(arguments: [
        (CF_SOCKET, "socket", EMFILE), (CF_BIND, "bind", EACCES), (CF_LISTEN, "listen", EADDRINUSE),
        (CF_EPOLL_CTL, "epoll_ctl", ENOSPC),
    ])
    func `each call that fails is named, and nothing stays open`(
        call: cf_call, name: String, errno: Int32
    ) async throws {
        let faults = FaultTable()
        try await withLoop(faults: faults) { _ in
            faults.fail(call, with: errno)
            do throws(StreamError) {
                let server = try await startServer(port: 0, handler: echoLines)
                await server.close()
                Issue.record("started")
            } catch {
                guard case .listenFailed(let address, let system) = error else {
                    Issue.record("\(error)")
                    return
                }
                #expect("\(address)" == "127.0.0.1:0")
                #expect(system == SystemError(call: name, errno: errno))
            }
            #expect(faults.ledger.open == loopDescriptors)
        }
    }

    @Test func `a name that does not resolve says so`() async throws {
        try await withLoop { _ in
            do throws(StreamError) {
                let server = try await startServer(
                    host: "no-such-host.invalid", port: 0, handler: echoLines)
                await server.close()
                Issue.record("started")
            } catch .reactor(.resolution(let host, _)) {
                #expect(host == "no-such-host.invalid")
            }
        }
    }

    /// Somebody else on this machine may take the port in between, though hardly ten times.
    @Test func `a port may be bound again as soon as its server has closed`() async throws {
        try await withLoop(faults: FaultTable()) { _ in
            var isBoundAgain = false
            for _ in 0..<10 where !isBoundAgain {
                let port = try await Self.serveOnce()
                guard let again = try? await startServer(port: port, handler: echoLines) else {
                    continue
                }
                isBoundAgain = true
                await again.close()
            }
            #expect(isBoundAgain)
        }
    }

    /// The server closes first, so its side is the one that stays in TIME_WAIT. Returns its port.
    private static func serveOnce() async throws -> Int {
        let server = try await startServer(port: 0, handler: echoLines)
        let client = try await server.connect()
        try await client.echo("hello")
        async let counts = server.shutdown(grace: .seconds(5))
        #expect(try await client.reader.read() == nil)
        await client.writer.close()
        _ = await counts
        return server.port
    }

    @Test func `a server that nobody keeps goes on serving`() async throws {
        try await withDeadline {
            let loop = try EventLoop.start()
            let port = try await loop.spawn {
                try await startServer(port: 0, handler: echoLines).port
            }.value
            try await loop.spawn {
                for _ in 0..<3 {
                    let client = StreamEnd(try await openConnection(host: "127.0.0.1", port: port))
                    try await client.echo("hello")
                    await client.writer.close()
                }
            }.value
            await loop.stop()
        }
    }
}

@Suite struct ServerOptionTests {
    /// One option out of range each.
    private static let wrong: [(name: String, change: @Sendable (inout ServerOptions) -> Void)] = [
        ("backlog", { $0.backlog = 0 }), ("backlog", { $0.backlog = Int(Int32.max) + 1 }),
        ("maxConnections", { $0.maxConnections = 0 }),
        ("acceptsPerWakeUp", { $0.acceptsPerWakeUp = 0 }),
        ("limit", { $0.stream.limit = 0 }), ("highWaterMark", { $0.stream.highWaterMark = -1 }),
        ("lowWaterMark", { $0.stream.lowWaterMark = -1 }),
        ("lowWaterMark", { $0.stream.lowWaterMark = 65_537 }),
        ("outputCap", { $0.stream.outputCap = 65_535 }),
        ("outputCap", { $0.stream.outputCap = .max }),
        ("writeStallTimeout", { $0.stream.writeStallTimeout = .zero }),
        ("closeTimeout", { $0.stream.closeTimeout = .seconds(-1) }),
    ]

    @Test(arguments: wrong.indices) func `an option out of range throws at start`(
        index: Int
    ) async throws {
        let (name, change) = Self.wrong[index]
        try await withLoop(faults: FaultTable()) { _ in
            var options = ServerOptions()
            change(&options)
            do throws(StreamError) {
                let server = try await startServer(port: 0, options: options, handler: echoLines)
                await server.close()
                Issue.record("started")
            } catch .invalidOption(let option, let rule) {
                #expect(option == name)
                #expect(!rule.isEmpty)
            }
        }
    }

    @Test func `a port out of range throws at start`() async throws {
        try await withLoop { _ in
            for port in [-1, 65_536] {
                await #expect(throws: StreamError.self) {
                    _ = try await startServer(port: port, handler: echoLines)
                }
            }
        }
    }

    @Test func `options at the ends of their ranges work`() async throws {
        var options = ServerOptions()
        options.backlog = 1
        options.maxConnections = 1
        options.acceptsPerWakeUp = 1
        options.stream.limit = 1
        options.stream.highWaterMark = 0
        options.stream.outputCap = 0
        options.stream.writeStallTimeout = nil
        options.stream.closeTimeout = .seconds(Int64.max)
        try await withEchoServer(options: options) { server in
            for _ in 0..<3 {
                let client = try await server.connect()
                try await client.echo("x")
                await client.writer.close()
            }
        }
    }
}
