// openConnection: what it throws, and that it leaves nothing behind.

import Glibc
import Sluice
import SluiceTestKit
import Testing

/// A listening socket that never accepts and whose backlog is full: further connects hang.
private final class FullBacklog {
    private var descriptors: [Int32] = []
    let port: Int

    init() throws {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        descriptors = [listener]
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let size = length
        try withUnsafeMutablePointer(to: &address) { address in
            try address.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                try #require(bind(listener, address, size) == 0)
                try #require(listen(listener, 0) == 0)
                try #require(getsockname(listener, address, &length) == 0)
            }
        }
        port = Int(UInt16(bigEndian: address.sin_port))
        // One more than the backlog is let in; the kernel drops what comes after.
        for _ in 0..<4 {
            let client = socket(
                AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
            descriptors.append(client)
            withUnsafePointer(to: &address) { address in
                address.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    _ = connect(client, $0, size)
                }
            }
        }
    }

    deinit {
        for descriptor in descriptors { close(descriptor) }
    }
}

@Suite struct ServerConnectTests {
    @Test func `a refused connection names the address and the call`() async throws {
        try await withLoop(faults: FaultTable()) { _ in
            let (error, address) = try await connectToClosedServer(host: "::1")
            #expect("\(address)".hasPrefix("[::1]:"))
            #expect("\(error)".contains("\(address): connect: Connection refused"))
        }
    }

    @Test(arguments: [
        (CF_SOCKET, "socket", EMFILE), (CF_CONNECT, "connect", ENETUNREACH),
        (CF_CONNECT, "connect", EADDRNOTAVAIL), (CF_CONNECT, "connect", ETIMEDOUT),
    ])
    func `each call that fails is named, and no descriptor stays open`(
        call: cf_call, name: String, errno: Int32
    ) async throws {
        let faults = FaultTable()
        try await withEchoServer(faults: faults) { server in
            let before = faults.ledger.open
            faults.fail(call, with: errno)
            do {
                _ = try await server.connect()
                Issue.record("connected")
            } catch let error as StreamError {
                guard case .connectFailed(_, _, let attempts) = error else { throw error }
                #expect(attempts.map(\.error) == [SystemError(call: name, errno: errno)])
                #expect(attempts.map(\.address) == server.addresses)
            }
            #expect(faults.ledger.open == before)
            let client = try await server.connect()
            try await client.echo("hello")
            await client.writer.close()
        }
    }

    @Test func `registering the socket may fail too, before and after it is connected`()
        async throws
    {
        let faults = FaultTable()
        try await withEchoServer(faults: faults) { server in
            for n in 1...4 as ClosedRange<UInt64> {
                faults.fail(CF_EPOLL_CTL, with: ENOSPC, at: n)
                if let client = try? await server.connect() {
                    _ = try? await client.writer.send("x\n")
                    _ = try? await client.reader.readLine()
                    await client.writer.abort()
                }
                faults.failNone()
                try await waitUntil { await server.statistics().current == 0 }
                #expect(faults.ledger.open == loopDescriptors + 1, "call \(n): \(faults)")
            }
        }
    }

    @Test func `an interrupted connect goes on`() async throws {
        let faults = FaultTable()
        try await withEchoServer(faults: faults) { server in
            faults.fail(CF_CONNECT, with: EINTR)
            let client = try await server.connect()
            try await client.echo("hello")
            await client.writer.close()
        }
    }

    @Test func `a name's addresses are tried until one answers`() async throws {
        try await withEchoServer { server in
            // The server listens on 127.0.0.1 alone, "localhost" may mean ::1 as well.
            let client = StreamEnd(
                try await openConnection(host: "localhost", port: server.port))
            try await client.echo("hello")
            await client.writer.close()
        }
    }

    @Test func `a connect that hangs ends at the deadline and when cancelled, and leaves nothing`()
        async throws
    {
        let backlog = try FullBacklog()
        let port = backlog.port
        let faults = FaultTable()
        try await withLoop(faults: faults) { loop in
            await #expect(throws: StreamError.timedOut) {
                try await withTimeout(.milliseconds(20)) {
                    _ = try await openConnection(host: "127.0.0.1", port: port)
                }
            }
            #expect(faults.ledger.open == loopDescriptors)
            let connecting = await started {
                _ = try await openConnection(host: "127.0.0.1", port: port)
            }
            #expect(await loop.statistics().members == 1)
            connecting.cancel()
            await #expect(throws: StreamError.cancelled) { try await connecting.value }
            #expect(faults.ledger.open == loopDescriptors)
        }
        withExtendedLifetime(backlog) {}
    }

    @Test func `stopping the loop ends a connect that hangs`() async throws {
        let backlog = try FullBacklog()
        let port = backlog.port
        let faults = FaultTable()
        try await withDeadline {
            let loop = try startLoop(faults: faults)
            let connecting = loop.spawn {
                _ = try await openConnection(host: "127.0.0.1", port: port)
            }
            try await waitUntil { await loop.statistics().members == 1 }
            await loop.stop()
            await #expect(throws: StreamError.self) { try await connecting.value }
        }
        #expect(faults.ledger.open <= loopDescriptors)
        withExtendedLifetime(backlog) {}
    }

    @Test func `a port out of range and a name that does not exist say so`() async throws {
        try await withLoop { _ in
            for port in [-1, 65_536] {
                do {
                    _ = try await openConnection(host: "127.0.0.1", port: port)
                    Issue.record("connected")
                } catch {
                    #expect("\(error)".contains("\(port)"))
                }
            }
            do {
                _ = try await openConnection(host: "no-such-host.invalid", port: 80)
                Issue.record("connected")
            } catch {
                #expect("\(error)".contains("no-such-host.invalid"))
            }
        }
    }

    @Test func `a connection whose halves are dropped closes by itself`() async throws {
        try await withEchoServer { server in
            for _ in 0..<20 { _ = try await server.connect() }
            try await waitUntil {
                let statistics = await server.statistics()
                return statistics.accepted == 20 && statistics.current == 0
            }
        }
    }
}
