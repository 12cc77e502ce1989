// What encoders do to the output: append, go back, fill in, look; against a plain array.

import Glibc
import SluiceReactor
import SluiceStreams
import SluiceTestKit
import Testing

@Suite struct OutputPacketTests {
    @Test func `packets are appended, changed and taken back anywhere, between those that leave`() {
        for _ in 0..<(isLongRun ? 250 : 25) {
            var model = Model()
            for _ in 0..<60 {
                model.packet()
                model.leave()
                guard model.isRight() else {
                    Issue.record("seed \(model.random.seed)")
                    break
                }
            }
            model.end()
        }
    }
}

private struct Model {
    var random = SeededGenerator()
    var queue = OutputQueue()
    var pool = BlockPool()
    var expected: [UInt8] = []
    /// Arrays that the caller still holds: they must stay as they were.
    var held: [[UInt8]] = []
    var copies: [[UInt8]] = []

    mutating func packet() {
        let start = expected.count
        for _ in 0..<Int.random(in: 1...6, using: &random) {
            let size = expected.count - start
            switch Int.random(in: 0...9, using: &random) {
            case 0...3: append(some(random.size(bits: 12)))
            case 4: append(byte: .random(in: 0...255, using: &random))
            case 5, 6: refer(to: some(4_096 + random.size(bits: 13)))
            case 7, 8:
                guard size > 0 else { continue }
                let place = Int.random(in: 0..<size, using: &random)
                overwrite(start + place, some(min(8, size - place)))
            default: removeLast(Int.random(in: 0...size, using: &random))
            }
        }
        if Int.random(in: 0...4, using: &random) == 0 { removeLast(expected.count - start) }
    }

    private mutating func some(_ count: Int) -> [UInt8] {
        let first = UInt8.random(in: 0...255, using: &random)
        return (0..<count).map { first &+ UInt8(truncatingIfNeeded: $0 &* 7) }
    }

    private mutating func append(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { queue.append($0, pool: &pool) }
        expected += bytes
    }

    private mutating func append(byte: UInt8) {
        queue.append(byte: byte, pool: &pool)
        expected.append(byte)
    }

    private mutating func refer(to bytes: [UInt8]) {
        queue.append(referencing: bytes)
        expected += bytes
        guard Bool.random(using: &random) else { return }
        held.append(bytes)
        copies.append(bytes.map { $0 })
    }

    private mutating func overwrite(_ place: Int, _ bytes: [UInt8]) {
        bytes.withUnsafeBytes { queue.overwrite(at: place, with: $0) }
        expected.replaceSubrange(place..<(place + bytes.count), with: bytes)
    }

    private mutating func removeLast(_ count: Int) {
        queue.removeLast(count, pool: &pool)
        expected.removeLast(count)
    }

    mutating func leave() {
        let taken = Int.random(in: 0...expected.count, using: &random)
        queue.consume(taken, pool: &pool)
        expected.removeFirst(taken)
    }

    mutating func isRight() -> Bool {
        let place = Int.random(in: 0...expected.count, using: &random)
        var seen: [UInt8] = []
        queue.forEachPiece(from: place) { piece in
            seen += piece
            return true
        }
        let byte = UInt8.random(in: 0...255, using: &random)
        return seen == Array(expected[place...]) && queue.count == expected.count
            && queue.contains(byte, from: place) == expected[place...].contains(byte)
            && held == copies
    }

    mutating func end() {
        queue.removeAll(to: &pool)
        #expect(pool.blocksInUse == 0, "seed \(random.seed)")
        pool.deallocate()
    }
}
