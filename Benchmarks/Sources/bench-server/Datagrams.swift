// The modes that answer datagrams: by the socket itself, and by a server with conversations.

import Sluice

/// Sends back each datagram.
func datagramEcho(port: Int) async throws {
    let socket = try await bindDatagramSocket(port: port)
    while true {
        do {
            let datagram = try await socket.receive()
            try await socket.send(datagram.bytes, to: datagram.source)
        } catch StreamError.peerFailed {
            continue  // a client that has gone
        }
    }
}

/// The same by one conversation for each client.
func datagramServer(port: Int) async throws {
    let server = try await startDatagramServer(port: port, serializer: BytesSerializer()) { peer in
        do {
            while let packet = try await peer.receive() { try await peer.send(packet) }
        } catch PacketError.stream(.peerFailed) {
            return
        }
    }
    try await server.serveForever()
}
