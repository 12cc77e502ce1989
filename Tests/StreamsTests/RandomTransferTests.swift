// B47: both directions at the same time in pieces of random size, seeded.

import Sluice
import SluiceTestKit
import Testing

@Suite struct RandomTransferTests {
    @Test(arguments: PairKind.allCases)
    func `B47: 1 MiB each way at the same time, random pieces, arrives as it was sent`(
        _ kind: PairKind
    ) async throws {
        let seed = SeededGenerator().seed
        try await withPair(kind) { near, far in
            let count = 1 << 20
            async let a: Void = sendPieces(near.writer, count: count, seed: seed)
            async let b: Void = sendPieces(far.writer, count: count, seed: seed &+ 1)
            async let c = receivePieces(near.reader, seed: seed &+ 2)
            async let d = receivePieces(far.reader, seed: seed &+ 3)
            #expect(try await c == count, "seed \(seed)")
            #expect(try await d == count, "seed \(seed)")
            _ = try await (a, b)
            #expect(near.writer.bytesSent == UInt64(count))
            #expect(near.reader.bytesReceived == UInt64(count))
        }
    }

    @Test(arguments: [1, 2, 7, 64, 1_000])
    func `B47: the memory pair moves every byte at any capacity and chunk`(
        _ size: Int
    ) async throws {
        let seed = SeededGenerator().seed
        try await withLoop { _ in
            for (capacity, chunk) in [(size, Int.max), (size, size), (4_096, size), (size, 1)] {
                let pair = try await makeMemoryPair(capacity: capacity, chunk: chunk)
                let (near, far) = (StreamEnd(pair.0), StreamEnd(pair.1))
                try await releasing(near, far) {
                    let count = min(6_000, size * 700)
                    async let a: Void = sendPieces(near.writer, count: count, seed: seed)
                    async let b: Void = sendPieces(far.writer, count: count, seed: seed &+ 1)
                    async let c = receivePieces(near.reader, seed: seed &+ 2)
                    async let d = receivePieces(far.reader, seed: seed &+ 3)
                    #expect(try await c == count, "seed \(seed)")
                    #expect(try await d == count, "seed \(seed)")
                    _ = try await (a, b)
                }
            }
        }
    }

    @Test func `B47: the two ends on two loops, both ways at the same time`() async throws {
        let seed = SeededGenerator().seed
        let count = isLongRun ? 64 << 20 : 1 << 20
        try await withLoop(deadline: .seconds(300)) { one in
            try await withLoop(deadline: .seconds(300)) { two in
                let served = Handover<Bool>()
                let server = try await startServer(port: 0, on: one) { reader, writer in
                    async let sent: Void = sendPieces(writer, count: count, seed: seed)
                    let received = try await receivePieces(reader, seed: seed &+ 2)
                    try await sent
                    #expect(received == count, "seed \(seed)")
                    served.give(true)
                }
                let (reader, writer) = try await openConnection(
                    host: "127.0.0.1", port: server.port, on: two)
                async let sent: Void = sendPieces(writer, count: count, seed: seed &+ 1)
                #expect(try await receivePieces(reader, seed: seed &+ 3) == count, "seed \(seed)")
                try await sent
                await writer.close()
                await server.close()
                try await server.waitClosed()
                #expect(served.hasValue)
            }
        }
    }
}
