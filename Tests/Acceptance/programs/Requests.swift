// A server of requests: each payload comes back.

import Glibc
import Sluice

let server = try await startServer(port: 0) { request, _ in .bytes(request.payload) }

print("listening on \(server.addresses[0])")
fflush(nil)
try await server.serveForever()
