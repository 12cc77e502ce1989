// A server whose handlers are packet endpoints: each line comes back.

import Glibc
import Sluice

let server = try await startServer(port: 0, codec: LineCodec.lines()) { endpoint in
    for try await line in endpoint.packets { try await endpoint.send(line) }
}

print("listening on \(server.addresses[0])")
fflush(nil)
try await server.serveForever()
