// Packets in datagrams that come back as they were sent.

import Glibc
import Sluice

func serveDatagrams<S: Serializer>(_ port: Int, _ serializer: S) async throws {
    let server = try await startDatagramServer(port: port, serializer: serializer) { peer in
        while true {
            do {
                guard let packet = try await peer.receive() else { return }
                try await peer.send(packet)
            } catch PacketError.malformedDatagram {
                // Wrong input is never answered; behind it the next is received.
            }
        }
    }
    print("listening on \(server.address)")
    fflush(nil)
    try await server.serveForever()
}

func askForDatagrams<S: Serializer>(
    _ port: Int, _ serializer: S, _ packets: [S.Packet]
) async throws -> Int where S.Packet: Equatable {
    let socket = try await connectDatagramSocket(host: "127.0.0.1", port: port)
    let peer = DatagramEndpoint<S.Packet, S.Packet>(socket, serializer)
    var count = 0
    func exchange(_ sent: some Collection<S.Packet> & Sendable) async throws {
        for packet in sent { try await peer.send(packet) }
        for packet in sent {
            let received = try await withTimeout(patience) { try await peer.receive() }
            guard received == packet else { throw WrongPacket(sent: packet, received: received) }
            count += 1
        }
    }
    for packet in packets { try await exchange([packet]) }
    // In rows, no longer than what every buffer on the way holds: loopback loses nothing else.
    for _ in 0..<100 { try await exchange(packets.prefix(10)) }
    await peer.close()
    return count
}
