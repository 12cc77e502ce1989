// PacketProxy: stands between players and a GameServer, and prints the packets that pass.
//
//   swift run PacketProxy [port] [server's port]   prints "listening on 127.0.0.1:8893"; passes on
//                                                  to port 8892 unless told otherwise
//   swift run GameServer                           something to pass on to
//
// A line is, for example, `> Login(name: "ann")`: to the server; `<` is from it. A slow side slows
// the other one, and when either ends, so does the other. SIGTERM or Ctrl-C lets players finish, a
// second one does not.

import GameProtocol
import Glibc
import Sluice

let words = CommandLine.arguments.dropFirst()
guard let port = Int(words.first ?? "8893"), let target = Int(words.dropFirst().first ?? "8892"),
    (1...65_535).contains(target)
else {
    print("usage: PacketProxy [port] [server's port]")
    exit(2)
}
let server = try await startServer(port: port, packets: gamePackets) { player in
    let game = try await openPacketConnection(
        host: "127.0.0.1", port: target, packets: gamePackets.reversed, timeout: .seconds(10))
    try await linkPackets(player, game) { packet, direction in
        print(direction == .forth ? ">" : "<", packet.description(in: player.context))
        fflush(nil)  // standard output may be a pipe
        if let hello = packet as? Hello, player.context == nil {
            // What follows is read as the two of them read it.
            try player.setContext(Game(version: hello.version))
            try game.setContext(Game(version: hello.version))
        }
        return .forward
    }
}
print("listening on \(server.addresses[0])")
fflush(nil)
let counts = try await server.serveForever(until: [.terminate, .interrupt])
exit(counts?.allFinished == false ? 1 : 0)
