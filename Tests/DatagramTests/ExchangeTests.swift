// Datagram sockets: what goes in comes out, whole, with its sender. The numbers are those of the
// behaviours an endpoint must show.

import Glibc
import Sluice
import SluiceTestKit
import Testing

@Suite struct ExchangeTests {
    // ENDPOINTS, header of 6: IPv6 loopback is probed for, and skipped visibly.
    @Test(.enabled(if: hasLoopback6, "this machine has no ::1"))
    func `IPv6 is among the kinds tested`() {
        #expect(DatagramKind.here.contains(.v6))
    }

    @Test(arguments: DatagramKind.here)
    func `a datagram arrives whole, with its sender, and is answered`(
        _ kind: DatagramKind
    ) async throws {
        try await withDatagrams(kind) { server, client in
            try await client.send(bytes("question"))
            let datagram = try await server.receive()
            #expect(datagram == Datagram(bytes("question"), from: client.localAddress))
            try await server.send(bytes("answer"), to: datagram.source)
            let answer = try await client.receive()
            #expect(answer == Datagram(bytes("answer"), from: server.localAddress))
            #expect(client.remoteAddress == server.localAddress)
            #expect(server.remoteAddress == nil)
        }
    }

    // ENDPOINTS 43; RELIABILITY 75.
    @Test(arguments: DatagramKind.here)
    func `an empty datagram is one`(_ kind: DatagramKind) async throws {
        try await withDatagrams(kind) { server, client in
            for content in [[], [1], []] as [[UInt8]] { try await client.send(content) }
            for content in [[], [1], []] as [[UInt8]] {
                #expect(try await server.receive().bytes == content)
            }
        }
    }

    @Test(arguments: DatagramKind.here)
    func `borders and order stay, whatever is sent in a turn`(_ kind: DatagramKind) async throws {
        var options = DatagramOptions()
        options.receiveBuffer = 4 << 20
        try await withDatagrams(kind, server: options) { server, client in
            // Runs of one size, shorter ends and odd ones between them.
            let sizes = [100, 100, 100, 40, 40, 1, 0, 100, 100, 1_200, 1_200, 7, 7, 7, 8]
            let sent = (0..<10).flatMap { round in
                sizes.map { [UInt8](repeating: UInt8(round), count: $0) }
            }
            let loop = client.loop
            let sending = loop.spawn { for content in sent { try await client.send(content) } }
            for content in sent { #expect(try await server.receive().bytes == content) }
            try await sending.value
            #expect(await client.statistics().sent == sent.count)
            #expect(await server.statistics().received == sent.count)
        }
    }

    // ENDPOINTS 65.
    @Test(arguments: DatagramKind.here)
    func `65: too long a datagram is refused at the call, and the longest one passes`(
        _ kind: DatagramKind
    ) async throws {
        var options = DatagramOptions()
        options.maxReceiveSize = 1 << 20
        options.receiveBuffer = 4 << 20
        try await withDatagrams(kind, server: options) { server, client in
            let limit = client.sizeMax
            switch kind {
            case .v4: #expect(limit == 65_507)
            case .v6: #expect(limit == 65_527)
            default: #expect(limit > 4_096)
            }
            await #expect(throws: StreamError.datagramTooLarge(size: limit + 1, limit: limit)) {
                try await client.send([UInt8](repeating: 1, count: limit + 1))
            }
            #expect(throws: StreamError.datagramTooLarge(size: 10 << 20, limit: limit)) {
                try client.write([UInt8](repeating: 1, count: 10 << 20))
            }
            let longest = [UInt8](repeating: 2, count: limit)
            try await client.send(longest)
            #expect(same(try await server.receive().bytes, longest))
            #expect(await client.statistics().sent == 1)
        }
    }

    // ENDPOINTS 5 row 12; RELIABILITY 69.
    @Test(arguments: DatagramKind.here)
    func `a datagram longer than the receive size is an error, and the next one comes`(
        _ kind: DatagramKind
    ) async throws {
        var options = DatagramOptions()
        options.maxReceiveSize = 10
        try await withDatagrams(kind, server: options) { server, client in
            try await client.send([UInt8](repeating: 1, count: 10))
            try await client.send([UInt8](repeating: 2, count: 11))
            try await client.send([UInt8](repeating: 3, count: 3))
            #expect(try await server.receive().bytes.count == 10)
            await #expect(
                throws: StreamError.datagramTruncated(
                    size: 11, limit: 10, source: client.localAddress)
            ) { try await server.receive() }
            #expect(try await server.receive().bytes == [3, 3, 3])
            #expect(await server.statistics().truncated == 1)
        }
    }

    @Test func `a queue that holds one datagram of the longest size holds it`() async throws {
        var options = DatagramOptions()
        options.maxReceiveSize = 1_000
        options.queueBytes = 1_000
        options.overflow = .dropOldest
        try await withDatagrams(server: options) { server, client in
            for number in 1...2 as ClosedRange<UInt8> {
                try client.write([UInt8](repeating: number, count: 1_000))
            }
            try await client.flush()
            try await waitUntil { await server.statistics().received == 2 }
            #expect(await server.statistics().dropped == 1)
            let datagram = try await withTimeout(.seconds(10)) { try await server.receive() }
            #expect(datagram.bytes == [UInt8](repeating: 2, count: 1_000))
        }
    }

    @Test(arguments: DatagramKind.internet)
    func `66: a short queue stays short when the kernel joins datagrams`(
        _ kind: DatagramKind
    ) async throws {
        var options = DatagramOptions()
        options.queueCount = 10
        try await withDatagrams(kind, server: options) { server, client in
            for number in 0..<60 as Range<UInt8> { try client.write([number, number]) }
            try await client.flush()
            #expect(try await server.receive().bytes == [0, 0])
            #expect(await server.statistics().waiting < 10)
            for number in 1..<60 as Range<UInt8> {
                #expect(try await server.receive().bytes == [number, number])
            }
        }
    }

    // ENDPOINTS 64, its first half.
    @Test(arguments: DatagramKind.internet)
    func `64: a connected socket does not hear others`(_ kind: DatagramKind) async throws {
        try await withDatagrams(kind) { server, client in
            let stranger = try await bindDatagramSocket(kind.makeAddress())
            try await stranger.send(bytes("psst"), to: client.localAddress)
            try await stranger.flush()
            try await server.send(bytes("hello"), to: client.localAddress)
            #expect(try await client.receive().bytes == bytes("hello"))
            await stranger.close()
        }
    }

    // ENDPOINTS 64, its second half.
    @Test(arguments: DatagramKind.internet)
    func `64: a dead peer is an error at the next receive, and the socket lives on`(
        _ kind: DatagramKind
    ) async throws {
        try await withLoop { _ in
            let dead = try await deadAddress(kind)
            let client = try await connectDatagramSocket(to: dead.place)
            for _ in 1...2 {
                try await client.send(bytes("anybody?"))
                await #expect(throws: StreamError.peerFailed(dead, errno: ECONNREFUSED)) {
                    try await client.receive()
                }
            }
            let server = try await bindDatagramSocket(dead.place)
            try await client.send(bytes("now?"))
            #expect(try await server.receive().bytes == bytes("now?"))
            await client.close()
            await server.close()
        }
    }

    @Test(arguments: DatagramKind.internet)
    func `a dead peer is an error at the next send, of which nothing is queued`(
        _ kind: DatagramKind
    ) async throws {
        try await withLoop { _ in
            let dead = try await deadAddress(kind)
            let client = try await connectDatagramSocket(to: dead.place)
            try await client.send(bytes("anybody?"))
            try await client.flush()
            let failures = Shared(0)
            try await waitUntil("ICMP has answered") {
                do throws(StreamError) { try await client.send([]) } catch {
                    #expect(error == .peerFailed(dead, errno: ECONNREFUSED))
                    failures.withLock { $0 += 1 }
                }
                return failures.value == 1
            }
            await client.close()
        }
    }

    @Test(arguments: DatagramKind.internet)
    func `an unconnected socket is told which peer is dead, and goes on with the others`(
        _ kind: DatagramKind
    ) async throws {
        try await withDatagrams(kind) { server, client in
            let dead = try await deadAddress(kind)
            try await server.send(bytes("anybody?"), to: dead)
            await #expect(throws: StreamError.peerFailed(dead, errno: ECONNREFUSED)) {
                try await server.receive()
            }
            // A send to another peer is not bothered by it.
            try await server.send(bytes("anybody?"), to: dead)
            try await server.flush()
            await settle()
            try await server.send(bytes("hello"), to: client.localAddress)
            #expect(try await client.receive().bytes == bytes("hello"))
            await #expect(throws: StreamError.peerFailed(dead, errno: ECONNREFUSED)) {
                try await server.receive()
            }
        }
    }

    @Test(arguments: [DatagramKind.unixPath, .abstract])
    func `a Unix peer that is gone is an error, and the socket lives on`(
        _ kind: DatagramKind
    ) async throws {
        try await withDatagrams(kind) { server, client in
            let dead = try await deadAddress(kind)
            let errno = kind == .abstract ? ECONNREFUSED : ENOENT
            try await server.send(bytes("anybody?"), to: dead)
            await #expect(throws: StreamError.peerFailed(dead, errno: errno)) {
                try await server.receive()
            }
            #expect(await server.statistics().notSent == 1)
            try await client.send(bytes("here"))
            #expect(try await server.receive().bytes == bytes("here"))
        }
    }

    // RELIABILITY 74: what Python says to it is what it says to Python.
    @Test func `a peer of another make is heard and answered`() async throws {
        try await withDatagrams { server, _ in
            let script = """
                import socket, sys
                s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                s.settimeout(20)
                s.connect(("127.0.0.1", \(server.localAddress.port ?? 0)))
                for size in 0, 1, 1000, 65507:
                    s.send(b"x" * size)
                    assert s.recv(70000) == b"x" * size, size
                """
            let python = await started { try await runPython(script) }
            for _ in 1...4 {
                let datagram = try await server.receive()
                try await server.send(datagram.bytes, to: datagram.source)
            }
            #expect(try await python.value == 0)
        }
    }
}

/// Runs a script and returns its exit status.
func runPython(_ script: String) async throws -> Int32 {
    try await offload {
        var words: [UnsafeMutablePointer<CChar>?] =
            (["/usr/bin/env", "python3", "-c", script] as [String]).map { strdup($0) } + [nil]
        defer { for word in words { free(word) } }
        var number = pid_t()
        let result = posix_spawn(&number, "/usr/bin/env", nil, nil, &words, environ)
        guard result == 0 else { throw SystemError(call: "posix_spawn", errno: result) }
        var status: Int32 = 0
        while waitpid(number, &status, 0) < 0, errno == EINTR {}
        return status
    }
}
