// A server whose peers may vanish without a word: short keep-alive and user timeout, and a line on
// standard output for each connection that is lost.

import Glibc
import Sluice

var options = ServerOptions()
options.socket.keepAlive?.idle = .seconds(1)
options.socket.keepAlive?.interval = .seconds(1)
options.socket.keepAlive?.count = 2
options.socket.userTimeout = .seconds(2)
options.report = { _ in }
let server = try await startServer(host: "0.0.0.0", port: 0, options: options) { reader, writer in
    guard let word = try await reader.readLine(strippingTerminator: true) else { return }
    let name = String(decoding: word, as: UTF8.self)
    do {
        try await writer.send("ready\n")
        if name == "idle" { _ = try await reader.readLine() }
        while name == "data" {
            try await writer.send("tick\n")
            try await sleep(for: .milliseconds(100))
        }
        print("ended \(name)")
    } catch {
        print("lost \(name): \(error)")
    }
    fflush(nil)
}
print("listening on 127.0.0.1:\(server.port)")
fflush(nil)
try await server.serveForever()
