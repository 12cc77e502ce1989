// Heap allocations per message, counted on the server's thread.

import Sluice
import SluiceTestKit
import Testing

/// Echoes lines by the span calls, under the meter. Nothing is copied out; the lines of the meter
/// are told from messages by their length.
func meteredSpanEcho(_ meter: Meter) -> ClientHandler {
    { reader, writer in
        while true {
            let length = try await reader.withLine { line in
                try writer.write(line)
                return line.byteCount
            }
            guard let length else { return }
            if length == startLine.count { await meter.start(reader.loop) }
            if length == stopLine.count { await meter.stop(reader.loop) }
            try await writer.drain()
        }
    }
}

// What a build without optimisation allocates in each turn besides.
#if DEBUG
    private let allocationsPerTurn = 1
#else
    private let allocationsPerTurn = 0
#endif

@Suite(.enabled(if: cf_malloc_counting(), "a sanitizer has the allocator"))
struct AllocationTests {
    private static let rounds = 1_000
    /// What starts the meter is still to be answered, what stops it is not: one message together.
    private static let messages = rounds + 1

    private func allocations(
        _ sent: [UInt8], _ handler: (Meter) -> ClientHandler
    ) async throws -> Int {
        try await spending(handler: handler) { server in
            let client = try await connect(server)
            for _ in 0..<50 { try await client.exchange(sent) }
            try await client.exchange(startLine)
            for _ in 0..<Self.rounds { try await client.exchange(sent) }
            try await client.exchange(stopLine)
            await client.writer.close()
        }.allocations
    }

    @Test func `the span calls allocate nothing for a message`() async throws {
        let count = try await allocations(message, meteredSpanEcho)
        #expect(count <= allocationsPerTurn * Self.messages)
    }

    @Test func `the array calls allocate the array of a message and nothing else`() async throws {
        let count = try await allocations(message, meteredEcho)
        #expect(count <= (1 + allocationsPerTurn) * Self.messages)
    }

    @Test func `sixteen pipelined lines allocate sixteen arrays, or nothing by the span calls`()
        async throws
    {
        let batch = Array(repeatElement(message, count: 16).joined())
        let arrays = try await allocations(batch, meteredEcho)
        let spans = try await allocations(batch, meteredSpanEcho)
        #expect(arrays <= 16 * Self.rounds + 1 + allocationsPerTurn * Self.messages)
        #expect(spans <= allocationsPerTurn * Self.messages)
    }
}
