// Every line goes to all clients, over their stored writers.

import Glibc
import Sluice

let writers = LoopBound<[StreamWriter]>([])

let server = try await startServer(port: 0) { reader, writer in
    writers.withValue { $0.append(writer) }
    defer { writers.withValue { $0.removeAll { $0 === writer } } }
    while let line = try await reader.readLine() {
        for writer in writers.withValue({ $0 }) {
            try await writer.send(line)
        }
    }
}

print("listening on \(server.addresses[0])")
fflush(nil)
try await server.serveForever()
