// What the kernel is told about sockets, and what it cannot hold. RELIABILITY rows 57, 61, 94.

import Glibc
import Sluice
@testable import SluiceStreams
import SluiceTestKit
import Testing

@Suite struct SocketOptionTests {
    @Test func `row 57: accepted and opened connections both find a dead peer by default`()
        async throws
    {
        let accepted = Shared<[Int32]>([])
        try await withServer { reader, writer in
            accepted.set(try values(of: writer))
            try await echoLines(reader, writer)
        } client: { server in
            let client = try await server.connect()
            try await client.echo("there")
            // On, 60 s, 15 s, 4 times; 30 s; and no delay.
            let wanted: [Int32] = [1, 60, 15, 4, 30_000, 1]
            #expect(try values(of: client.writer) == wanted)
            #expect(accepted.value == wanted)
            await client.writer.close()
        }
    }

    @Test func `an opened connection has the options it was given`() async throws {
        var socket = SocketOptions()
        socket.keepAlive?.idle = .milliseconds(9_500)
        socket.keepAlive?.count = 7
        socket.userTimeout = nil
        socket.noDelay = false
        socket.sendBuffer = 50_000
        try await withEchoServer { [socket] server in
            let address = try #require(server.addresses.first?.host)
            let (_, writer) = try await openConnection(
                host: address, port: server.port, socket: socket)
            #expect(try values(of: writer) == [1, 10, 15, 7, 0, 0])
            // The kernel doubles it, socket(7).
            #expect(try writer.socketOption(level: SOL_SOCKET, name: SO_SNDBUF) == 100_000)
            await writer.close()
        }
    }

    @Test func `an option out of its range is refused before anything is opened`() async throws {
        var socket = SocketOptions()
        socket.keepAlive?.count = 128
        let error = await #expect(throws: StreamError.self) {
            _ = try await openConnection(host: "127.0.0.1", port: 1, socket: socket)
        }
        #expect(error == .invalidOption(name: "keepAlive.count", rule: "1 to 127"))
        var options = ServerOptions()
        options.socket.userTimeout = .zero
        await #expect(throws: StreamError.self) {
            _ = try await startServer(port: 0, options: options, handler: echoLines)
        }
    }

    @Test func `row 94: a cap that the descriptor limit cannot hold names the limit to set`()
        async throws
    {
        var options = ServerOptions()
        options.maxConnections = 1 << 40
        let error = await #expect(throws: StreamError.self) {
            _ = try await startServer(port: 0, options: options, handler: echoLines)
        }
        guard case .invalidOption("maxConnections", let rule) = error else {
            Issue.record("\(error.debugDescription)")
            return
        }
        #expect(rule.contains("need a limit of \((1 << 40) + 128)"), "\(rule)")
    }

    @Test(arguments: [(1, 1), (200, 100), (255, 127), (256, 128), (1_024, 896), (20_000, 19_872)])
    func `a descriptor limit holds so many connections`(_ limit: Int, _ connections: Int) {
        #expect(DescriptorLimit(descriptors: limit).connections == connections)
        #expect(DescriptorLimit.needed(for: connections) <= max(2, limit))
        let enough = DescriptorLimit(descriptors: DescriptorLimit.needed(for: connections))
        #expect(enough.connections >= connections)
    }

    @Test func `no number of connections overflows the reckoning`() {
        #expect(DescriptorLimit.needed(for: .max) == .max)
        #expect(DescriptorLimit(descriptors: .max).connections == .max - 128)
    }
}

/// Keep-alive and its three times, user timeout, no delay.
private func values(of writer: StreamWriter) throws -> [Int32] {
    let tcp = Int32(IPPROTO_TCP)
    return try [
        writer.socketOption(level: SOL_SOCKET, name: SO_KEEPALIVE),
        writer.socketOption(level: tcp, name: TCP_KEEPIDLE),
        writer.socketOption(level: tcp, name: TCP_KEEPINTVL),
        writer.socketOption(level: tcp, name: TCP_KEEPCNT),
        writer.socketOption(level: tcp, name: TCP_USER_TIMEOUT),
        writer.socketOption(level: tcp, name: TCP_NODELAY),
    ]
}
