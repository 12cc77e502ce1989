// Answers requests of a line each: "whole" and "pieces" by 8 MB, after which it closes without
// reading on; others by themselves.

import Glibc
import Sluice

let reply = (0..<8_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ ($0 >> 8)) }

let server = try await startServer(port: 0) { reader, writer in
    for try await request in reader.lines {
        switch String(decoding: request, as: UTF8.self) {
        case "whole":
            return try await writer.send(reply)
        case "pieces":
            for start in stride(from: 0, to: reply.count, by: 50_000) {
                try await writer.send(Array(reply[start..<(start + 50_000)]))
            }
            return
        default:
            try await writer.send(request + [10])
        }
    }
}

print("listening on \(server.addresses[0])")
fflush(nil)
try await server.serveForever()
