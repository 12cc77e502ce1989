// Peers that vanish, half-close or never read, by their rows in docs/RELIABILITY-TESTS.md.

import Glibc
import Sluice
import SluiceTestKit
import Testing

@Suite struct ReliabilityPeerTests {
    /// Nobody reads these connections, so nothing takes their hang-ups back.
    @Test(arguments: ["tcp", "unix"], [true, false])
    func `RELIABILITY 13: peers that vanish while nobody reads cost no wake-ups`(
        kind: String, isReset: Bool
    ) async throws {
        let faults = FaultTable()
        let count = isLongRun ? 1_000 : 50
        try await withLoop(faults: faults) { loop in
            var pairs: [(StreamEnd, StreamEnd)] = []
            for _ in 0..<count {
                pairs.append(
                    kind == "tcp"
                        ? try await makeTCPPair()
                        : try await AdoptedKind.socketPair.makePair())
            }
            let closings = LoopBound(0)
            for (near, _) in pairs {
                loop.spawn {
                    _ = try? await near.writer.waitPeerClosed()
                    closings.withValue { $0 += 1 }
                }
            }
            await settle()
            for (_, far) in pairs {
                if isReset { far.writer.startAborting() } else { far.writer.startClosing() }
            }
            try await waitUntil { closings.withValue { $0 } == count }
            // On virtual time, which stands still as long as anything is ready. The first minute is
            // for the far ends, which close in order.
            faults.setClock(nanoseconds: loop.now())
            try await sleep(for: .seconds(60))
            faults.resetCounts()
            try await sleep(for: .seconds(10))
            #expect(faults.waits <= 4, "\(faults)")
            for (near, far) in pairs {
                near.writer.startAborting()
                far.writer.startAborting()
            }
        }
    }

    @Test func `RELIABILITY 14: a request cut by a half-close at any byte is answered as it is`()
        async throws
    {
        let request = bytes("first line\nsecond line\nthird line\n")
        try await withEchoServer { server in
            for length in 0...request.count {
                let client = try await server.connect()
                try await client.writer.send(Array(request[..<length]))
                try client.writer.finishWriting()
                #expect(try await client.reader.readToEnd() == Array(request[..<length]))
                await client.writer.close()
            }
            // Nothing of them is left.
            try await waitUntil { await server.statistics().current == 0 }
            #expect(await server.statistics().accepted == request.count + 1)
        }
    }

    /// The reset may come before, with or after the news that the connection stands.
    @Test func `RELIABILITY 16: a connection that is reset at once is an error or none yet`()
        async throws
    {
        try await withServer { _, writer in
            writer.startAborting()
        } client: { server in
            for _ in 0..<(isLongRun ? 2_000 : 50) {
                guard let client = try? await server.connect() else { continue }
                await #expect(throws: StreamError.self) { try await client.reader.read() }
                await client.writer.close()
            }
        }
    }

    /// Linear: what is done for each of them does not depend on how many they are.
    @Test func `RELIABILITY 30: a mass of connections that break at once are closed one by one`()
        async throws
    {
        let count = isLongRun ? 5_000 : 300
        try await withEchoServer { server in
            let clients = try await EventLoop.background.spawn {
                var clients: [StreamEnd] = []
                for _ in 0..<count {
                    let client = try await server.connect()
                    try await client.echo("hello")
                    clients.append(client)
                }
                return clients
            }.value
            let before = await server.loop.statistics()
            await EventLoop.background.hop { for client in clients { await client.writer.abort() } }
            try await waitUntil { await server.statistics().current == 0 }
            let after = await server.loop.statistics()
            #expect(await server.statistics().closed == count)
            // A job for each handler, and those of this task, which looks every millisecond.
            let turns = after.turns - before.turns
            #expect(after.jobs - before.jobs <= UInt64(2 * count) + 2 * turns + 100)
        }
    }

    /// The kernel has all of the reply and the peer takes no more: closed here, the socket would
    /// stay in the kernel for minutes if it were not told when to give up. Takes three seconds.
    @Test(.enabled(if: isLongRun))
    func `RELIABILITY 56: a peer that never reads leaves no socket in the kernel`()
        async throws
    {
        var options = ServerOptions()
        options.socket.sendBuffer = 1 << 20
        options.socket.userTimeout = .seconds(3)
        options.stream.closeTimeout = .milliseconds(20)
        try await withServer(options: options) { _, writer in
            try await writer.send(TestBytes.make(count: 900_000))
            try await writer.flush()
        } client: { server in
            let client = try await server.connect()
            try await waitUntil {
                let statistics = await server.statistics()
                return statistics.accepted == 1 && statistics.current == 0
            }
            #expect(orphans(of: server.port) == 1, "the peer took all of it")
            try await waitUntil(deadline: .seconds(30)) { orphans(of: server.port) == 0 }
            await client.writer.abort()
        }
    }
}

/// Sockets of this port on which something is still to be sent, of which no process has the
/// descriptor any more; proc(5), /proc/net/tcp: local address, state, inode.
private func orphans(of port: Int) -> Int {
    guard let file = fopen("/proc/net/tcp", "r") else { return -1 }
    defer { fclose(file) }
    let finWait1 = "04"
    let hex = String(port, radix: 16, uppercase: true)
    let suffix = ":" + String(repeating: "0", count: 4 - hex.count) + hex
    var line = [CChar](repeating: 0, count: 512)
    var count = 0
    while fgets(&line, Int32(line.count), file) != nil {
        let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8($0) }, as: UTF8.self)
        let fields = text.split(separator: " ")
        if fields.count > 9, fields[1].hasSuffix(suffix), fields[3] == finWait1 { count += 1 }
    }
    return count
}
