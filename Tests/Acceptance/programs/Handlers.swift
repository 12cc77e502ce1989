// A server whose clients are a service's, with a session each: every line comes back with its
// number.

import Glibc
import Sluice

struct Numbering: PacketHandler {
    func connected(_ connection: StreamEndpoint<String, String>) async throws -> Int { 0 }

    func handle(
        _ packet: String, _ connection: StreamEndpoint<String, String>, _ session: inout Int
    ) async throws {
        session += 1
        try await connection.send("\(session) \(packet)")
    }
}

let server = try await startServer(port: 0, codec: LineCodec.lines(), service: Numbering())

print("listening on \(server.addresses[0])")
fflush(nil)
try await server.serveForever()
