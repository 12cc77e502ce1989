// A handler that reads and writes at once, in two child tasks: of a group, and by `async let`.
// Prints where each of the two servers listens.

import Glibc
import Sluice

func tick(_ writer: StreamWriter) async throws {
    for number in 0..<1_000 {
        try await writer.send("tick \(number)\n")
    }
}

func answer(_ reader: StreamReader, _ writer: StreamWriter) async throws {
    for try await line in reader.lines {
        try await writer.send("heard " + String(decoding: line, as: UTF8.self) + "\n")
    }
}

let grouped = try await startServer(port: 0) { reader, writer in
    try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await tick(writer) }
        group.addTask { try await answer(reader, writer) }
        try await group.waitForAll()
    }
}

let bound = try await startServer(port: 0) { reader, writer in
    async let ticks: Void = tick(writer)
    try await answer(reader, writer)
    try await ticks
}

print("listening on \(grouped.addresses[0])")
print("listening on \(bound.addresses[0])")
fflush(nil)
try await grouped.serveForever()
