// Faults around listening and accepting, by their rows in docs/RELIABILITY-TESTS.md.

import Glibc
import Sluice
import SluiceTestKit
import Testing

@Suite struct ReliabilityAcceptTests {
    /// The errors hit whichever call they like, so that many clients are between two of them.
    @Test(arguments: [ECONNABORTED, EPROTO, EPERM, EINTR, ENOBUFS, ENOMEM])
    func `RELIABILITY 2: every seventh accept fails, and all clients are served`(
        errno: Int32
    ) async throws {
        let faults = FaultTable()
        try await withEchoServer(faults: faults) { server in
            // The listener rests on virtual time, or a rest of 0.1 s would follow each seventh.
            faults.setClock(nanoseconds: server.loop.now())
            faults.failSometimes(CF_ACCEPT4, with: errno, odds: 143)
            for number in 0..<(isLongRun ? 2_000 : 100) {
                let client = try await server.connect()
                try await client.echo("\(number)")
                await client.writer.close()
            }
            #expect(faults.counts(CF_ACCEPT4).injected > 0)
            faults.failNone()
        }
    }

    /// While the server's thread is held, a storm of clients fills the backlog and the one that is
    /// served already sends a line. It is read before the storm has been accepted.
    @Test func `RELIABILITY 3: a storm of clients does not keep a live one waiting`()
        async throws
    {
        let waiting = isLongRun ? 2_000 : 200
        let acceptedMeanwhile = Shared<[Int]>([])
        let serverBox = Shared<Server?>(nil)
        try await withServer { reader, writer in
            while let line = try await reader.readLine() {
                if line == bytes("now\n"), let server = serverBox.value {
                    acceptedMeanwhile.append(await server.statistics().accepted)
                }
                try await writer.send(line)
            }
        } client: { server in
            serverBox.set(server)
            let live = try await EventLoop.background.spawn {
                let live = try await server.connect()
                try await live.echo("before")
                return live
            }.value
            let storm = try await self.storm(of: waiting, at: server) {
                try await live.writer.send("now\n")
            }
            try await EventLoop.background.spawn {
                let answer = try await live.reader.readLine()
                #expect(answer == bytes("now\n"))
                await live.writer.close()
                for client in storm { await client.writer.close() }
            }.value
            serverBox.set(nil)
        }
        let before = try #require(acceptedMeanwhile.value.first)
        #expect(before < waiting / 2, "\(before) were accepted first")
    }

    /// The same storm, after which everyone is served.
    @Test func `RELIABILITY 4: who connects while the server stands still is served after it`()
        async throws
    {
        try await withEchoServer { server in
            let storm = try await self.storm(of: isLongRun ? 4_000 : 300, at: server) {}
            try await EventLoop.background.spawn {
                for (number, client) in storm.enumerated() {
                    try await client.echo("\(number)")
                    await client.writer.close()
                }
            }.value
        }
    }

    /// Holds the calling loop's thread until so many clients are connected, as far as they can see,
    /// and `last` is done.
    private func storm(
        of count: Int, at server: Server, last: @escaping @Sendable () async throws -> Void
    ) async throws -> [StreamEnd] {
        let isDone = Shared(false)
        let connecting = EventLoop.background.spawn {
            defer { isDone.set(true) }
            var clients: [StreamEnd] = []
            for _ in 0..<count { clients.append(try await server.connect()) }
            try await last()
            return clients
        }
        isDone.block { $0 }
        return try await connecting.value
    }

    /// Both listeners are readable all the time; neither may be asked about it.
    @Test func `RELIABILITY 7: a full server costs nothing on any of its listeners`()
        async throws
    {
        let faults = FaultTable()
        try await withLoop(faults: faults) { loop in
            var options = ServerOptions()
            options.maxConnections = 10
            let server = try await startServer(
                .hosts(["127.0.0.1", "127.0.0.2"], port: 0), options: options, handler: echoLines)
            let clients = try await EventLoop.background.spawn {
                var clients: [StreamEnd] = []
                for number in 0..<50 {
                    let client = StreamEnd(
                        try await openConnection(
                            host: "127.0.0.\(1 + number % 2)", port: server.port))
                    try await client.writer.send("\(number)\n")
                    clients.append(client)
                }
                return clients
            }.value
            try await waitUntil { await server.statistics().current == 10 }
            // On virtual time, which stands still as long as anything is ready.
            faults.setClock(nanoseconds: loop.now())
            faults.resetCounts()
            try await sleep(for: .seconds(10))
            #expect(faults.waits <= 4, "\(faults)")
            #expect(faults.calls(CF_ACCEPT4) == 0)
            // As they leave, those that wait at either listener come in, in any order.
            try await EventLoop.background.spawn {
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for (number, client) in clients.enumerated() {
                        group.addTask {
                            let answer = try await client.reader.readLine()
                            #expect(answer == bytes("\(number)\n"))
                            await client.writer.close()
                        }
                    }
                    try await group.waitForAll()
                }
            }.value
            #expect(await server.statistics().accepted == 50)
            await server.shutdown(grace: .zero)
        }
    }

    /// Somebody else still holds the listening socket, so closing a number does not end it.
    @Test func `RELIABILITY 8: a shared listener's events stop with the server's close`()
        async throws
    {
        let faults = FaultTable()
        try await withLoop(faults: faults) { loop in
            let original = try listeningSocket()
            let copy = fcntl(original, F_DUPFD_CLOEXEC, 0)
            let server = try await startServer(.descriptor(copy), handler: echoLines)
            let first = try await server.connect()
            try await first.echo("served")
            await first.writer.close()
            await server.shutdown(grace: .seconds(10))
            // These are for the original's owner.
            let clients = try await EventLoop.background.spawn {
                var clients: [StreamEnd] = []
                for _ in 0..<20 { clients.append(try await server.connect()) }
                return clients
            }.value
            faults.setClock(nanoseconds: loop.now())
            faults.resetCounts()
            try await sleep(for: .seconds(10))
            #expect(faults.waits <= 4, "\(faults)")
            #expect(faults.calls(CF_ACCEPT4) == 0)
            await EventLoop.background.hop { for client in clients { await client.writer.abort() } }
            close(original)
        }
    }

    /// Of all sockets of this process, those that have to do with the server, its clients' too.
    @Test func `RELIABILITY 9: every socket of a server is closed in a program it starts`()
        async throws
    {
        try await withEchoServer { server in
            let client = try await server.connect()
            try await client.echo("hello")
            var found = 0
            for fd in 0..<Int32(4_096) where ports(of: fd).contains(server.port) {
                found += 1
                #expect(fcntl(fd, F_GETFD) & FD_CLOEXEC != 0)
            }
            #expect(found == 3)
            await client.writer.close()
        }
    }
}

/// A socket that listens on 127.0.0.1.
private func listeningSocket() throws -> Int32 {
    let fd = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    let size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let isBound = withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(fd, $0, size) == 0 }
    }
    try #require(isBound && listen(fd, 64) == 0)
    return fd
}

/// The ports of an IPv4 socket's two ends, as far as it has them.
private func ports(of fd: Int32) -> [Int] {
    [getsockname, getpeername].compactMap { name in
        var address = sockaddr_in()
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { name(fd, $0, &size) }
        }
        guard result == 0, address.sin_family == sa_family_t(AF_INET) else { return nil }
        return Int(UInt16(bigEndian: address.sin_port))
    }
}
