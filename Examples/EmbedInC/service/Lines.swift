// EmbedInC's service: each client gets its lines back, numbered. Runs inside the C program's turns.
//
// It is built and started by ../main/main.c: swift run EmbedInC [port [milliseconds]]

import Sluice
import SluiceC

/// Called by `main`, once: from then on the C program can start the service by its name.
@c(register_lines)
public func registerLines() {
    registerService("lines") { loop, host, port in
        try await startServer(host: host, port: port, on: loop) { reader, writer in
            var number = 0
            for try await line in reader.lines {
                number += 1
                try writer.write("\(number) ")
                try writer.write(line)
                try await writer.send("\n")
            }
        }
    }
}
