// EchoServer: sends every line back to the client who sent it.
//
//   swift run EchoServer [port]     prints "listening on 127.0.0.1:8888"; port 0 takes a free one
//   nc 127.0.0.1 8888               type a line: it comes back
//
// SIGTERM or Ctrl-C lets the clients' requests finish, a second one does not.

import Glibc
import Sluice

guard let port = Int(CommandLine.arguments.dropFirst().first ?? "8888") else {
    print("usage: EchoServer [port]")
    exit(2)
}
let server = try await startServer(host: "127.0.0.1", port: port) { reader, writer in
    while let line = try await reader.readLine() {
        try await writer.send(line)
    }
}
print("listening on \(server.addresses[0])")
fflush(nil)  // standard output may be a pipe
let counts = try await server.serveForever(until: [.terminate, .interrupt])
exit(counts?.allFinished == false ? 1 : 0)
