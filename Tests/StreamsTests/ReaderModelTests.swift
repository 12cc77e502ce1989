// Random operation scripts on the real reader against the reference model, under random chunking. A
// failure prints its seed; SLUICE_SEED repeats it.

import Sluice
import SluiceTestKit
import Testing

/// The reader answered otherwise than the model.
private struct Mismatch: Error, CustomStringConvertible {
    let description: String
}

/// One run of a script.
private struct Script {
    let reader: StreamReader
    let writer: StreamWriter
    var model: ReferenceReader
    var random: SeededGenerator

    /// Few different bytes, so that separators and their beginnings are everywhere.
    static func makeBytes(_ count: Int, _ random: inout SeededGenerator) -> [UInt8] {
        let alphabet = bytes("aaabbc\r\n")
        return (0..<count).map { _ in alphabet.randomElement(using: &random) ?? 0 }
    }

    /// Sends everything in pieces of random size, with random pauses, then the end.
    static func send(_ all: [UInt8], _ writer: StreamWriter, seed: UInt64) async throws {
        var random = SeededGenerator(seed: seed)
        var sent = 0
        while sent < all.count {
            let size = min(all.count - sent, 1 + random.size(bits: 9))
            try writer.write(Array(all[sent..<sent + size]))
            sent += size
            for _ in 0..<Int.random(in: 0...3, using: &random) { await EventLoop.yield() }
            if Bool.random(using: &random) { try await writer.flush() }
        }
        try writer.finishWriting()
    }

    mutating func run() async throws {
        var steps = 0
        while !model.rest.isEmpty || steps < 20 {
            let before = model
            do {
                try await step()
            } catch let mismatch as Mismatch {
                throw Mismatch(
                    description: "seed \(random.seed), step \(steps): \(mismatch); before it "
                        + "\(before.rest.count) bytes were left: "
                        + String(decoding: before.rest.prefix(60), as: UTF8.self).debugDescription)
            }
            steps += 1
        }
        try same(try await reader.read(), nil, "read at the end")
    }

    private mutating func step() async throws {
        let count = random.size(bits: 8)
        let limit = count + 1
        let separators = [
            ["\n"], ["ab"], ["\r\n"], ["aab", "b"], ["\r\n", "\n", "\r"], ["aaa", "ca"],
        ]
        .randomElement(using: &random)!.map(bytes)
        switch Int.random(in: 0..<16, using: &random) {
        case 0: try await available { [reader] in try await reader.read(upTo: limit) }
        case 1:
            try await available { [reader] in
                try await reader.withAvailable(upTo: limit) { $0.withUnsafeBytes { Array($0) } }
            }
        case 2: try await exactly(count) { [reader] in try await reader.readExactly(count) }
        case 3:
            try await exactly(count) { [reader] in
                try await reader.withExactly(count) { $0.withUnsafeBytes { Array($0) } }
            }
        case 4, 5: try await line(limit) { [reader] in try await reader.readLine(limit: limit) }
        case 6:
            try await line(limit) { [reader] in
                try await reader.withLine(limit: limit) { $0.withUnsafeBytes { Array($0) } }
            }
        case 7, 8: try await until(separators, limit)
        case 9: try await strippedLine()
        case 10:
            try same(try await reader.peek(count), Array(model.rest.prefix(count)), "peek \(count)")
        case 11: try same(try await reader.skip(count), model.take(count).count, "skip \(count)")
        case 12:
            try same(
                try await reader.skip(through: separators[0]), model.skip(through: separators[0]),
                "skip through \(separators[0])")
        case 13: unread(Script.makeBytes(count % 20, &random))
        case 14: try same(try await reader.hasMore(), !model.rest.isEmpty, "hasMore")
        default: try await cancelled(count)
        }
    }

    // MARK: The steps

    private mutating func available(_ read: () async throws -> [UInt8]?) async throws {
        let got = try await read()
        guard let got else { return try same(true, model.rest.isEmpty, "the end") }
        if got.isEmpty { throw Mismatch(description: "an empty read") }
        try same(got, model.take(got.count), "available")
    }

    private mutating func exactly(_ count: Int, _ read: () async throws -> [UInt8]) async throws {
        let got = await outcome(read)
        let expected = await outcome { () throws(StreamError) in try model.readExactly(count) }
        try same(got, expected, "exactly \(count)")
    }

    private mutating func line(_ limit: Int, _ read: () async throws -> [UInt8]?) async throws {
        let got = await outcome(read)
        let expected = await outcome { () throws(StreamError) in try model.readLine(limit: limit) }
        try sameButArrival(got, expected, "line of \(limit)")
    }

    private mutating func until(_ separators: [[UInt8]], _ limit: Int) async throws {
        let got = await outcome { try await reader.readUntil(anyOf: separators, limit: limit) }
        let expected = await outcome { () throws(StreamError) in
            try model.readUntil(separators, limit: limit)
        }
        try sameButArrival(got, expected, "until \(separators) of \(limit)")
    }

    private mutating func strippedLine() async throws {
        let got = try await reader.readLine(limit: 1 << 20, strippingTerminator: true)
        var expected = try model.readLine(limit: 1 << 20)
        if expected?.last == 10 {
            expected?.removeLast()
            if expected?.last == 13 { expected?.removeLast() }
        }
        try same(got, expected, "stripped line")
    }

    private mutating func unread(_ bytes: [UInt8]) {
        reader.unread(bytes)
        model.unread(bytes)
    }

    /// A read that is cancelled at some time: either it took its bytes or it took none.
    private mutating func cancelled(_ count: Int) async throws {
        let reading = reader.loop.spawn { [reader] in try await reader.readExactly(count) }
        for _ in 0..<Int.random(in: 0...4, using: &random) { await EventLoop.yield() }
        reading.cancel()
        let got = await outcome { try await reading.value }
        if got == .failure(.cancelled) { return }
        let expected = await outcome { () throws(StreamError) in try model.readExactly(count) }
        try same(got, expected, "cancelled exactly \(count)")
    }

    // MARK: Comparing

    private func outcome<R: Equatable>(
        _ read: () async throws -> R
    ) async -> Result<R, StreamError> {
        do {
            return .success(try await read())
        } catch let error as StreamError {
            return .failure(error)
        } catch {
            preconditionFailure("no other error is possible: \(error)")
        }
    }

    private func same<R: Equatable>(_ got: R, _ expected: R, _ what: String) throws {
        if got != expected { throw Mismatch(description: "\(what): \(got), not \(expected)") }
    }

    /// How far a search came when it gave up depends on what had arrived.
    private func sameButArrival<R: Equatable>(
        _ got: Result<R, StreamError>, _ expected: Result<R, StreamError>, _ what: String
    ) throws {
        guard case .failure(.limitExceeded(let limit, let scanned, let isFound)) = got,
            case .failure(.limitExceeded(limit, let most, let isThere)) = expected
        else { return try same(got, expected, what) }
        let isRight = isFound ? isThere && scanned == most : scanned > limit && scanned <= most
        if !isRight { throw Mismatch(description: "\(what): \(got), not \(expected)") }
    }
}

@Suite struct ReaderModelTests {
    @Test(arguments: PairKind.allCases, 1...4)
    func `random scripts give what the reference model gives`(
        _ kind: PairKind, _ run: Int
    ) async throws {
        for _ in 0..<(isLongRun ? 200 : 4) {
            var random = SeededGenerator()
            let seed = random.seed
            let all = Script.makeBytes(3_000, &random)
            let numbers = random
            try await withPair(kind) { near, far in
                let sending = near.reader.loop.spawn {
                    try await Script.send(all, far.writer, seed: seed &+ 1)
                }
                var script = Script(
                    reader: near.reader, writer: far.writer, model: ReferenceReader(all),
                    random: numbers)
                try await script.run()
                try await sending.value
            }
        }
    }
}
