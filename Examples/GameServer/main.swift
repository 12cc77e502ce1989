// GameServer: players log in, talk and move, and each sees what the others do.
//
//   swift run GameServer [port] [seconds]   prints "listening on 127.0.0.1:8892"
//
// The packets stand in GameProtocol, in two versions: each player gets what the others do in its
// own. Every so many seconds, 15 unless told otherwise, a player is asked for a sign of life, and
// is cut off if none comes within as many. Port 0 takes a free one. SIGTERM or Ctrl-C lets players
// finish, a second one does not.

import GameProtocol
import Glibc
import Sluice

let words = CommandLine.arguments.dropFirst()
guard let port = Int(words.first ?? "8892"), let seconds = Double(words.dropFirst().first ?? "15"),
    (0.01...3_600).contains(seconds)
else {
    print("usage: GameServer [port] [seconds]")
    exit(2)
}
let world = World(patience: .seconds(seconds))
let server = try await startServer(port: port, packets: gamePackets, handler: world.serve)
print("listening on \(server.addresses[0])")
fflush(nil)  // standard output may be a pipe
let counts = try await server.serveForever(until: [.terminate, .interrupt])
exit(counts?.allFinished == false ? 1 : 0)
