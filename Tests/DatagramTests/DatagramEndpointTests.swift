// Datagram endpoints: one packet in each datagram. The numbers are those of the behaviours an
// endpoint must show.

import Glibc
import Sluice
import SluiceTestKit
import Testing

@Suite struct DatagramEndpointTests {
    private typealias TextEndpoint = DatagramEndpoint<String, String>

    @Test(arguments: DatagramKind.here)
    func `packets go both ways, each in a datagram, the empty one too`(
        _ kind: DatagramKind
    ) async throws {
        try await withDatagrams(kind) { server, client in
            let near = TextEndpoint(client, TextSerializer())
            let far = TextEndpoint(server, TextSerializer())
            for text in ["hello", "", "grüße"] {
                try await near.send(text)
                let (packet, source) = try await far.receiveWithSource()
                #expect(packet == text)
                #expect(source == client.localAddress)
                try await far.send(packet + "!", to: source)
                #expect(try await near.receive() == text + "!")
            }
            try near.write("last")
            for try await packet in far.packets {
                #expect(packet == "last")
                break
            }
        }
    }

    // ENDPOINTS 62, of the endpoint; 1.3.
    @Test
    func `62: a datagram that makes no packet is an error with its sender, and the next comes`()
        async throws
    {
        try await withDatagrams { server, client in
            let far = DatagramReceiver(server, TextSerializer())
            try await client.send([0xFF])
            try await client.send(bytes("fine"))
            await #expect(
                throws: PacketError.malformedDatagram(
                    from: client.localAddress, reason: "not UTF-8")
            ) { try await far.receive() }
            #expect(try await far.receive() == "fine")
        }
    }

    /// Refuses what is marked.
    private struct Picky: Serializer {
        func deserialize(_ bytes: RawSpan) throws(PacketError) -> String {
            try TextSerializer().deserialize(bytes)
        }

        func serialize(_ packet: String, into output: inout PacketOutput) throws(PacketError) {
            output.append(packet)
            if packet == "no" { throw .unencodable("no") }
        }
    }

    // ENDPOINTS 8, 65.
    @Test func `8, 65: what cannot be encoded, or is too long, sends nothing`() async throws {
        try await withDatagrams { server, client in
            let near = DatagramSender(client, Picky())
            let far = DatagramReceiver(server, TextSerializer())
            await #expect(throws: PacketError.unencodable("no")) { try await near.send("no") }
            let long = String(repeating: "x", count: 65_508)
            await #expect(
                throws: PacketError.stream(.datagramTooLarge(size: 65_508, limit: 65_507))
            ) { try await near.send(long) }
            try await near.send("yes")
            #expect(try await far.receive() == "yes")
            #expect(await client.statistics().sent == 1)
        }
    }

    @Test func `directions may have serializers of their own`() async throws {
        try await withDatagrams { server, client in
            let near = DatagramEndpoint<String, [UInt8]>(
                client, sending: TextSerializer(), receiving: BytesSerializer())
            let far = DatagramEndpoint<[UInt8], String>(
                server, sending: BytesSerializer(), receiving: TextSerializer())
            try await near.send("text")
            let (packet, source) = try await far.receiveWithSource()
            #expect(packet == "text")
            try await far.send([0xFF, 0], to: source)
            #expect(try await near.receive() == [0xFF, 0])
        }
    }

    // ENDPOINTS 15, 16.
    @Test func `15, 16: a second receive is refused; close ends the first`() async throws {
        try await withDatagrams { server, _ in
            let far = TextEndpoint(server, TextSerializer())
            let receiving = await started { try await far.receive() }
            await #expect(throws: PacketError.busy) { try await far.receive() }
            await far.close()
            await #expect(throws: PacketError.stream(.closed)) { try await receiving.value }
            await #expect(throws: PacketError.stream(.closed)) { try await far.receive() }
        }
    }

    @Test func `calls from other threads do the right thing`() async throws {
        let socket = try await bindDatagramSocket(port: 0)
        let loop = try EventLoop.start()
        let peer = try await connectDatagramSocket(
            host: "127.0.0.1", port: socket.localAddress.port ?? 0, on: loop)
        let near = TextEndpoint(peer, TextSerializer())
        let far = TextEndpoint(socket, TextSerializer())
        for round in 0..<50 {
            try await near.send("\(round)")
            #expect(try await far.receive() == "\(round)")
        }
        await near.close()
        await far.close()
        await loop.stop()
    }

    // ENDPOINTS 71.
    @Test func `71: a datagram socket knows its addresses and options, also after the close`()
        async throws
    {
        try await withLoop { _ in
            let socket = try await bindDatagramSocket(port: 0)
            let peer = try await connectDatagramSocket(
                host: "127.0.0.1", port: socket.localAddress.port ?? 0)
            let endpoint = TextEndpoint(peer, TextSerializer())
            #expect(try endpoint.attribute(.remoteAddress) == socket.localAddress)
            #expect(try socket.attribute(.localAddress) == socket.localAddress)
            #expect(try socket.attribute(.family) == .v4)
            #expect(throws: StreamError.unavailable("remoteAddress")) {
                try socket.attribute(.remoteAddress)
            }
            #expect(throws: PacketError.stream(.unavailable("peerCredentials"))) {
                try endpoint.attribute(.peerCredentials)
            }
            let view = try socket.attribute(.socket)
            try view.setOption(level: SOL_SOCKET, name: SO_BROADCAST, value: 1)
            #expect(try view.option(level: SOL_SOCKET, name: SO_BROADCAST) == 1)
            await socket.close()
            #expect(try socket.attribute(.localAddress) == view.localAddress)
            #expect(socket.attribute(.tlsVersion, default: "none") == "none")
            #expect(throws: StreamError.closed) {
                try view.option(level: SOL_SOCKET, name: SO_BROADCAST)
            }
            await endpoint.close()
        }
    }
}
