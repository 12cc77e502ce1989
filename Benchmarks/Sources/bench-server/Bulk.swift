// The modes that go one way: sink, source.

import Sluice

/// Reads to the end, then writes the count of the bytes: eight bytes, big-endian.
func sink(_ reader: StreamReader, _ writer: StreamWriter) async throws {
    var count: UInt64 = 0
    while let chunk = try await reader.read(upTo: 262_144) {
        count += UInt64(chunk.count)
    }
    try await writer.send(bigEndian(count))
}

func sinkSpans(_ reader: StreamReader, _ writer: StreamWriter) async throws {
    var count: UInt64 = 0
    while let shown = try await reader.withAvailable(upTo: 262_144, { $0.byteCount }) {
        count += UInt64(shown)
    }
    try await writer.send(bigEndian(count))
}

private func bigEndian(_ count: UInt64) -> [UInt8] {
    withUnsafeBytes(of: count.bigEndian) { Array($0) }
}

/// 00 01 .. ff, over and over, 64 KiB of it.
private let pattern: [UInt8] = (0..<65_536).map { UInt8(truncatingIfNeeded: $0) }

/// Writes the pattern for ever, with flow control.
func source(_ reader: StreamReader, _ writer: StreamWriter) async throws {
    while true { try await writer.send(pattern) }
}

func sourceSpans(_ reader: StreamReader, _ writer: StreamWriter) async throws {
    while true {
        try writer.write(pattern.span.bytes)
        try await writer.drain()
    }
}
