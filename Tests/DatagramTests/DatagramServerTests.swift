// Datagram servers: one conversation for each source. The numbers are those of the behaviours an
// endpoint must show.

import Glibc
import Sluice
import SluiceTestKit
import Testing

typealias TextConversation = DatagramConversation<String, String>

/// Runs a text server on a loop of its own; shut down and audited afterwards.
func withTextServer(
    _ kind: DatagramKind = .v4, options: DatagramServerOptions = .init(),
    handler: @escaping DatagramHandler<String, String>,
    body: @escaping @Sendable (DatagramServer) async throws -> Void
) async throws {
    try await withLoop { _ in
        let server = try await startDatagramServer(
            kind.makeAddress(), sending: TextSerializer(), receiving: TextSerializer(),
            options: options, handler: handler)
        let result: Result<Void, any Error>
        do { result = .success(try await body(server)) } catch { result = .failure(error) }
        await server.shutdown(grace: .milliseconds(100))
        try result.get()
    }
}

/// A client of that server.
struct TextClient: Sendable {
    let endpoint: DatagramEndpoint<String, String>

    init(_ server: DatagramServer) async throws {
        let socket = try await connectDatagramSocket(to: server.address.place)
        endpoint = DatagramEndpoint(socket, TextSerializer())
    }

    func ask(_ text: String) async throws -> String {
        try await endpoint.send(text)
        return try await endpoint.receive()
    }

    func say(_ text: String) async throws {
        try await endpoint.send(text)
        try await endpoint.socket.flush()
    }
}

@Sendable func echoPackets(_ peer: TextConversation) async throws {
    while let packet = try await peer.receive() { try await peer.send(packet) }
}

@Suite struct DatagramServerTests {
    @Test(arguments: DatagramKind.here)
    func `each source has a conversation of its own, with its state`(
        _ kind: DatagramKind
    ) async throws {
        try await withTextServer(kind) { peer in
            var seen = ""
            while let packet = try await peer.receive() {
                seen += packet
                try await peer.send(seen)
            }
        } body: { server in
            let (ann, bob) = (try await TextClient(server), try await TextClient(server))
            #expect(try await ann.ask("a") == "a")
            #expect(try await bob.ask("x") == "x")
            #expect(try await ann.ask("b") == "ab")
            #expect(try await bob.ask("y") == "xy")
            let counts = await server.statistics()
            #expect(counts.conversations == 2)
            #expect(counts.peers == 2)
            #expect(counts.socket.received == 4)
            for client in [ann, bob] { await client.endpoint.close() }
        }
    }

    // ENDPOINTS 60.
    @Test func `60: what comes while the handler is busy waits in order; leftovers begin anew`()
        async throws
    {
        let isFree = Shared(false)
        try await withTextServer { peer in
            // Three packets a conversation.
            var seen: [String] = []
            for _ in 0..<3 {
                guard let packet = try await peer.receive() else { return }
                try await waitUntil { isFree.value }
                seen.append(packet)
            }
            try await peer.send(seen.joined(separator: " "))
        } body: { server in
            let client = try await TextClient(server)
            for number in 0..<9 { try await client.say("\(number)") }
            try await waitUntil { await server.statistics().waiting == 8 }
            isFree.set(true)
            for answer in ["0 1 2", "3 4 5", "6 7 8"] {
                #expect(try await client.endpoint.receive() == answer)
            }
            #expect(await server.statistics().conversations == 3)
            try await waitUntil { await server.statistics().peers == 0 }
            await client.endpoint.close()
        }
    }

    // ENDPOINTS 61.
    @Test func `61: a handler that returns before it receives drops that one datagram`()
        async throws
    {
        let calls = Shared(0)
        try await withTextServer { peer in
            let number = calls.withLock {
                $0 += 1; return $0
            }
            if number <= 3 { return }
            try await echoPackets(peer)
        } body: { server in
            let client = try await TextClient(server)
            for number in 1...5 { try await client.say("\(number)") }
            #expect(try await client.endpoint.receive() == "4")
            #expect(try await client.endpoint.receive() == "5")
            #expect(calls.value == 4)
            await client.endpoint.close()
        }
    }

    // ENDPOINTS 62; RELIABILITY 72.
    @Test func `62: a bad datagram is an error in the handler; the first one begins nothing`()
        async throws
    {
        try await withTextServer { peer in
            while true {
                do {
                    guard let packet = try await peer.receive() else { return }
                    try await peer.send(packet)
                } catch PacketError.malformedDatagram(let source, _) {
                    #expect(source == peer.peer)
                    try await peer.send("what?")
                }
            }
        } body: { server in
            let client = try await TextClient(server)
            for _ in 0..<10 { try await client.endpoint.socket.send([0xFF]) }
            #expect(try await client.ask("a") == "a")
            #expect(await server.statistics().malformed == 10)
            #expect(await server.statistics().conversations == 1)
            try await client.endpoint.socket.send([0xFF])
            #expect(try await client.endpoint.receive() == "what?")
            #expect(try await client.ask("b") == "b")
            await client.endpoint.close()
        }
    }

    // ENDPOINTS 62, its second half; 47.
    @Test func `62: a handler that throws is reported once, and the next datagram served`()
        async throws
    {
        struct Broken: Error {}
        let reports = Shared<[Report]>([])
        var options = DatagramServerOptions()
        options.report = { reports.append($0) }
        try await withTextServer(options: options) { peer in
            guard let packet = try await peer.receive() else { return }
            if packet == "break" { throw Broken() }
            try await peer.send(packet)
        } body: { server in
            let client = try await TextClient(server)
            try await client.say("break")
            #expect(try await client.ask("fine") == "fine")
            #expect(reports.value.map(\.kind) == [.handlerThrew])
            #expect(reports.value.first?.peer == client.endpoint.socket.localAddress)
            #expect(await server.statistics().handlerFailures == 1)
            await client.endpoint.close()
        }
    }

    // ENDPOINTS 63.
    @Test func `63: shutdown with queued datagrams is clean`() async throws {
        let isFree = Shared(false)
        try await withLoop { _ in
            let server = try await startDatagramServer(port: 0, serializer: TextSerializer()) {
                peer in
                while let packet = try await peer.receive() {
                    try await waitUntil { isFree.value }
                    try await peer.send(packet)
                }
            }
            let client = try await TextClient(server)
            let idle = try await TextClient(server)
            for number in 0..<5 { try await client.say("\(number)") }
            try await waitUntil { await server.statistics().waiting == 4 }
            isFree.set(true)
            #expect(try await idle.ask("hello") == "hello")
            let counts = await server.shutdown(grace: .seconds(10))
            #expect(counts.finished == 2)
            #expect(counts.cancelled + counts.aborted == 0)
            // What had come was answered.
            for number in 0..<5 { #expect(try await client.endpoint.receive() == "\(number)") }
            try await server.waitClosed()
            for one in [client, idle] { await one.endpoint.close() }
        }
    }

    @Test func `a handler that goes on is cancelled after the grace`() async throws {
        try await withLoop { _ in
            let server = try await startDatagramServer(port: 0, serializer: TextSerializer()) { _ in
                try await sleep(for: .seconds(1_000))
            }
            let client = try await TextClient(server)
            try await client.say("hello")
            try await waitUntil { await server.statistics().conversations == 1 }
            let counts = await server.shutdown(grace: .milliseconds(1))
            #expect(counts.cancelled == 1)
            #expect(await server.statistics().handlerFailures == 0)
            await client.endpoint.close()
        }
    }

    // ENDPOINTS 68.
    @Test(arguments: [DatagramServerOptions.Unnamed.ignore, .handle])
    func `68: senders without an address are ignored, or handled datagram by datagram`(
        _ unnamed: DatagramServerOptions.Unnamed
    ) async throws {
        let seen = Shared<[String]>([])
        let refused = Shared<[PacketError]>([])
        let ends = Shared(0)
        var options = DatagramServerOptions()
        options.unnamed = unnamed
        // Conversations with nobody end by themselves and leave their places to others.
        options.maxPeers = 1
        try await withTextServer(.abstract, options: options) { peer in
            while let packet = try await peer.receive() {
                seen.append(packet)
                do throws(PacketError) { try await peer.send(packet) } catch {
                    refused.append(error)
                }
            }
            if peer.peer.isUnnamed { ends.set(ends.value + 1) }
        } body: { server in
            let socket = try await connectDatagramSocket(to: server.address.place, from: .unnamed)
            let nobody = DatagramSender(socket, TextSerializer())
            for text in ["a", "b"] { try await nobody.send(text) }
            try await socket.flush()
            let client = try await TextClient(server)
            #expect(try await client.ask("c") == "c")
            let counts = await server.statistics()
            if unnamed == .ignore {
                #expect(seen.value == ["c"])
                #expect(counts.unnamed == 2)
            } else {
                #expect(seen.value == ["a", "b", "c"])
                #expect(refused.value.count == 2)
                #expect(counts.conversations == 3)
                #expect(ends.value == 2)
            }
            await socket.close()
            await client.endpoint.close()
        }
    }

    @Test func `a conversation that outlives its handler is over, and takes nothing from the next`()
        async throws
    {
        let escaped = Shared<TextConversation?>(nil)
        try await withTextServer { peer in
            while let packet = try await peer.receive() {
                try await peer.send(packet)
                if escaped.value == nil { return escaped.set(peer) }
            }
        } body: { server in
            let client = try await TextClient(server)
            #expect(try await client.ask("a") == "a")
            let old = try #require(escaped.value)
            let receiving = await started { try await old.receive() }
            #expect(try await client.ask("b") == "b")
            #expect(try await receiving.value == nil)
            #expect(await server.statistics().conversations == 2)
            await client.endpoint.close()
        }
    }

    @Test func `a receive that waits when its handler returns is ended`() async throws {
        let receiving = Shared<Task<String?, any Error>?>(nil)
        try await withTextServer { peer in
            guard let packet = try await peer.receive() else { return }
            receiving.set(await started { try await peer.receive() })
            try await peer.send(packet)
        } body: { server in
            let client = try await TextClient(server)
            #expect(try await client.ask("a") == "a")
            let waiting = try #require(receiving.value)
            #expect(try await waiting.value == nil)
            await client.endpoint.close()
        }
    }

    // RFC 768. Only a forger sends so, and only root is one here.
    @Test(.enabled(if: geteuid() == 0))
    func `a datagram of a source without a port is nobody's`() async throws {
        try await withTextServer(handler: echoPackets) { server in
            let raw = RawSocket(socket(AF_INET, Int32(SOCK_RAW.rawValue), Int32(IPPROTO_UDP)))
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_addr.s_addr = inet_addr("127.0.0.1")
            let result = withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    connect(raw.fd, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
            try #require(result == 0)
            let port = UInt16(server.port)
            // Source 0, destination, length, no checksum.
            let header: [UInt8] = [0, 0, UInt8(port >> 8), UInt8(port & 0xFF), 0, 10, 0, 0]
            try raw.send(header + bytes("hi"))
            try await waitUntil { await server.statistics().unnamed == 1 }
            #expect(await server.statistics().conversations == 0)
        }
    }

    // ENDPOINTS 51, of datagrams.
    @Test func `a client that is gone is no failure of its handler's`() async throws {
        let reports = Shared<[Report]>([])
        var options = DatagramServerOptions()
        options.report = { reports.append($0) }
        try await withTextServer(options: options, handler: echoPackets) { server in
            let gone = try await TextClient(server)
            try await gone.say("bye")
            await gone.endpoint.close()
            try await waitUntil { await server.statistics().peerFailures == 1 }
            let counts = await server.statistics()
            #expect(counts.conversations == 1)
            #expect(counts.handlerFailures == 0)
            #expect(reports.value.map(\.kind) == [])
        }
    }

    // ENDPOINTS 64, of the server: ICMP's answer concerns one conversation alone.
    @Test(arguments: DatagramKind.internet)
    func `a client that is gone is told to its handler, and to nobody else`(
        _ kind: DatagramKind
    ) async throws {
        let failures = Shared<[PacketError]>([])
        try await withTextServer(kind) { peer in
            do throws(PacketError) {
                while let packet = try await peer.receive() { try await peer.send(packet) }
            } catch { failures.append(error) }
        } body: { server in
            let (gone, other) = (try await TextClient(server), try await TextClient(server))
            #expect(try await other.ask("a") == "a")
            let address = gone.endpoint.socket.localAddress
            try await gone.say("bye")
            await gone.endpoint.close()
            try await waitUntil { failures.value.count == 1 }
            #expect(failures.value == [.stream(.peerFailed(address, errno: ECONNREFUSED))])
            #expect(try await other.ask("b") == "b")
            await other.endpoint.close()
        }
    }
}
