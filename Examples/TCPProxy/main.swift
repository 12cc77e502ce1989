// TCPProxy: passes every connection on to another address, both ways, with half-closes.
//
//   swift run TCPProxy [port] [host:port]    prints "listening on 127.0.0.1:8890"; passes on to
//                                            127.0.0.1:8888 unless told otherwise
//   swift run EchoServer                     something to pass on to
//   nc 127.0.0.1 8890                        type a line: it comes back, through the proxy
//
// A slow side slows the other; nothing is gathered here. SIGTERM or Ctrl-C lets connections
// finish, a second one does not.

import Glibc
import Sluice

/// Where connections are passed on to.
struct Target {
    let host: String
    let port: Int

    /// From `host:port`; an IPv6 address stands in brackets.
    init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":"),
            let port = Int(text[text.index(after: colon)...]), (1...65_535).contains(port)
        else { return nil }
        host = text[..<colon].trimmingBrackets()
        self.port = port
        if host.isEmpty { return nil }
    }

    /// One client. When either side breaks the connection, both ends of it are broken.
    func serve(_ reader: StreamReader, _ writer: StreamWriter) async throws {
        let target = try await openConnection(host: host, port: port, timeout: .seconds(10))
        do {
            _ = try await copyBothWays((reader, writer), target)
        } catch {
            writer.startAborting()
            target.writer.startAborting()
            throw error
        }
        await target.writer.close()
    }
}

extension Substring {
    func trimmingBrackets() -> String {
        hasPrefix("[") && hasSuffix("]") ? String(dropFirst().dropLast()) : String(self)
    }
}

let arguments = CommandLine.arguments.dropFirst()
guard let port = Int(arguments.first ?? "8890"),
    let target = Target(arguments.dropFirst().first ?? "127.0.0.1:8888")
else {
    print("usage: TCPProxy [port] [host:port]")
    exit(2)
}
let server = try await startServer(port: port, handler: target.serve)
print("listening on \(server.addresses[0])")
fflush(nil)  // standard output may be a pipe
let counts = try await server.serveForever(until: [.terminate, .interrupt])
exit(counts?.allFinished == false ? 1 : 0)
