// A server whose handlers are packet connections: each packet comes back, a line with its line feed
// taken for an id of one byte and the rest.

import Glibc
import Sluice

let lines = PacketFormat(SeparatorFraming([10]), .big, receiving: [])
let server = try await startServer(port: 0, packets: lines) { connection in
    for try await packet in connection.packets { try await connection.send(packet) }
}

print("listening on \(server.addresses[0])")
fflush(nil)
try await server.serveForever()
