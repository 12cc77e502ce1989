// What a kernel may do at any time: short reads and writes, EAGAIN first, readiness that is not
// there, EINTR. Both directions at once, every byte compared: 2 MB for each kind, 100 MB with
// SLUICE_LONG=1.

import Sluice
import SluiceTestKit
import Testing

/// One way to be nasty.
struct Nastiness: Sendable, CustomTestStringConvertible {
    var testDescription: String
    /// Of the 2 MB: what goes byte by byte is slow.
    var share = 1.0
    var change: @Sendable (inout cf_quirks) -> Void

    static let all = [
        Nastiness(testDescription: "one byte at a time", share: 0.005) {
            $0.read_bytes_max = 1
            $0.write_bytes_max = 1
        },
        Nastiness(testDescription: "short writes") { $0.write_bytes_max = 777 },
        Nastiness(testDescription: "short reads") { $0.read_bytes_max = 777 },
        Nastiness(testDescription: "EAGAIN before every success") { $0.would_block_every = 1 },
        Nastiness(testDescription: "random short reads and writes") {
            $0.short_read_odds = 500
            $0.short_write_odds = 500
        },
        Nastiness(testDescription: "spurious readiness") { $0.spurious_every = 1 },
        Nastiness(testDescription: "interrupted calls") { $0.interrupt_odds = 300 },
        Nastiness(testDescription: "everything, at random") {
            $0.would_block_odds = 300
            $0.interrupt_odds = 100
            $0.short_read_odds = 300
            $0.short_write_odds = 300
            $0.spurious_odds = 300
        },
    ]
}

@Suite struct FaultyTransferTests {
    @Test(arguments: Nastiness.all)
    func `B47: no byte is lost, repeated or changed under this kernel, both ways at once`(
        _ nastiness: Nastiness
    ) async throws {
        let faults = FaultTable()
        let total = Double(isLongRun ? 100 << 20 : 2 << 20)
        let count = Int(total * nastiness.share / 2)
        let seed = SeededGenerator().seed
        try await withLoop(faults: faults, deadline: .seconds(500)) { _ in
            let (near, far) = try await makeTCPPair()
            var quirks = cf_quirks()
            quirks.seed = seed
            nastiness.change(&quirks)
            faults.set(quirks)
            try await releasing(near, far) {
                async let a: Void = sendPieces(near.writer, count: count, seed: seed)
                async let b: Void = sendPieces(far.writer, count: count, seed: seed &+ 1)
                async let c = receivePieces(near.reader, seed: seed &+ 2)
                async let d = receivePieces(far.reader, seed: seed &+ 3)
                #expect(try await c == count, "seed \(seed)")
                #expect(try await d == count, "seed \(seed)")
                _ = try await (a, b)
                async let one: Void = near.writer.close()
                async let two: Void = far.writer.close()
                _ = await (one, two)
            }
            faults.set(cf_quirks())
        }
    }

    @Test(arguments: Nastiness.all)
    func `lines, frames and half-closes are right under this kernel`(
        _ nastiness: Nastiness
    ) async throws {
        let faults = FaultTable()
        let seed = SeededGenerator().seed
        try await withPair(.tcp, faults: faults) { near, far in
            var quirks = cf_quirks()
            quirks.seed = seed
            nastiness.change(&quirks)
            faults.set(quirks)
            let serving = EventLoop.current!.spawn {
                while let line = try await near.reader.readLine(strippingTerminator: true) {
                    try near.writer.write([UInt8(line.count)])
                    try await near.writer.send(line)
                }
                try near.writer.finishWriting()
            }
            for index in 0..<30 {
                let text = String(repeating: "x", count: index * 7)
                try await far.writer.send(text + "\n")
                #expect(try await far.reader.readExactly(1) == [UInt8(index * 7)])
                #expect(try await far.reader.readExactly(index * 7) == bytes(text))
            }
            try far.writer.finishWriting()
            #expect(try await far.reader.readToEnd() == [], "seed \(seed)")
            try await serving.value
            faults.set(cf_quirks())
        }
    }
}
