// A mode is a codec with packets for it. Each knows how to serve and to ask.

import Glibc
import Sluice

struct Mode: Sendable {
    /// Serves at a port, or at a path.
    let serve: @Sendable (_ place: String) async throws -> Void
    /// Asks there, and returns how many packets came back.
    let ask: @Sendable (_ place: String) async throws -> Int

    /// Packets that come back as they were sent.
    init<C: Codec, Packet: Equatable & Sendable>(
        _ codec: C, _ packets: [Packet]
    ) where C.Sent == Packet, C.Received == Packet {
        serve = { try await serveEcho(port($0), codec) }
        ask = { try await askForEcho(port($0), codec, packets) }
    }

    /// The same, each in a datagram of its own.
    init<S: Serializer>(
        datagrams serializer: S, _ packets: [S.Packet]
    ) where S.Packet: Equatable {
        serve = { try await serveDatagrams(port($0), serializer) }
        ask = { try await askForDatagrams(port($0), serializer, packets) }
    }

    /// Requests of every type, on these channels.
    init(requestsOn channels: Range<UInt64>) {
        serve = { try await serveRequests(port($0)) }
        ask = { try await askForRequests(port($0), channels: channels) }
    }

    /// A session of packets that both sides watch for.
    init(_ game: Game) {
        serve = { try await game.serve(port($0)) }
        ask = { try await game.ask(port($0)) }
    }

    /// Lines over a Unix socket, some with descriptors beside them.
    init(descriptorsBeside codec: LineCodec) {
        serve = { try await serveDescriptors($0, codec) }
        ask = { try await askForDescriptors($0, codec) }
    }
}

/// For whatever is waited for: it judges nothing, it ends what hangs.
let patience = Duration.seconds(30)

struct NoPort: Error {
    let place: String
}

private func port(_ place: String) throws -> Int {
    guard let port = Int(place) else { throw NoPort(place: place) }
    return port
}

private func serveEcho<C: Codec>(_ port: Int, _ codec: C) async throws where C.Sent == C.Received {
    let server = try await startServer(port: port, codec: codec) { endpoint in
        while true {
            do {
                guard let packet = try await endpoint.receive() else { return }
                try await endpoint.send(packet)
            } catch let error as PacketError {
                // Behind one that is wrong the next is received, or it is said that none can be.
                guard error.isOfOnePacket else { throw error }
            }
        }
    }
    announce(server)
    try await server.serveForever()
}

/// Says where it listens, which the scripts wait for.
func announce(_ server: Server) {
    print("listening on \(server.addresses[0])")
    fflush(nil)
}

extension PacketError {
    fileprivate var isOfOnePacket: Bool {
        switch self {
        case .malformed, .limitExceeded: true
        default: false
        }
    }
}

struct WrongPacket<Packet: Sendable>: Error, CustomStringConvertible {
    let sent: Packet
    let received: Packet?

    var description: String {
        let answer = received.map { "\($0)".prefix(100) } ?? "the end"
        return "\("\(sent)".prefix(100)) came back as \(answer)"
    }
}

private func askForEcho<C: Codec>(
    _ port: Int, _ codec: C, _ packets: [C.Sent]
) async throws -> Int where C.Sent == C.Received, C.Sent: Equatable {
    let peer = try await openConnection(host: "127.0.0.1", port: port, codec: codec)
    var count = 0
    func expect(_ sent: C.Sent) async throws {
        let received = try await peer.receive()
        guard received == sent else { throw WrongPacket(sent: sent, received: received) }
        count += 1
    }
    for packet in packets {
        try await peer.send(packet)
        try await expect(packet)
    }
    // In a row: the small ones many times, then the large ones among them.
    let row = Array(repeating: packets.prefix(4), count: 100).flatMap(\.self) + packets
    try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask {
            for packet in row { try await peer.send(packet) }
        }
        for packet in row { try await expect(packet) }
        try await group.waitForAll()
    }
    // EasyNetwork answers the end of a stream with a reset, so the end is not waited for.
    await peer.close()
    return count
}
