// The modes that answer: echo, lines, frames.

import Sluice

/// Writes back what it reads.
func echo(_ reader: StreamReader, _ writer: StreamWriter) async throws {
    while let chunk = try await reader.read() {
        try await writer.send(chunk)
    }
}

func echoSpans(_ reader: StreamReader, _ writer: StreamWriter) async throws {
    while try await reader.withAvailable({ try writer.write($0) }) != nil {
        try await writer.drain()
    }
}

/// Writes back each line.
func lines(_ reader: StreamReader, _ writer: StreamWriter) async throws {
    while let line = try await reader.readLine() {
        try await writer.send(line)
    }
}

func lineSpans(_ reader: StreamReader, _ writer: StreamWriter) async throws {
    while try await reader.withLine({ try writer.write($0) }) != nil {
        try await writer.drain()
    }
}

/// Bytes in one frame that a peer may ask for.
private let frameLimit: UInt32 = 1 << 20

private struct FrameTooLong: Error {}

/// Writes back each frame: four bytes of length, big-endian, and as many bytes.
func frames(_ reader: StreamReader, _ writer: StreamWriter) async throws {
    while try await reader.hasMore() {
        let count = try await reader.readInteger(as: UInt32.self)
        guard count <= frameLimit else { throw FrameTooLong() }
        let body = try await reader.readExactly(Int(count))
        try writer.write(integer: count)
        try await writer.send(body)
    }
}

func frameSpans(_ reader: StreamReader, _ writer: StreamWriter) async throws {
    while try await reader.hasMore() {
        let count = try await reader.readInteger(as: UInt32.self)
        guard count <= frameLimit else { throw FrameTooLong() }
        try writer.write(integer: count)
        try await reader.withExactly(Int(count)) { try writer.write($0) }
        try await writer.drain()
    }
}
