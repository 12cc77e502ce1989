// B3 and B4: separators, one or several, split over any arrivals. Both kinds of pair.

import Sluice
import SluiceTestKit
import Testing

@Suite struct ReadUntilTests {
    /// Says the text in every possible pair of pieces, and whole, and byte by byte; runs `body` on
    /// a fresh pair each time.
    private func forEveryCut(
        _ kind: PairKind, _ text: String,
        _ body: @escaping @Sendable (StreamReader) async throws -> Void
    ) async throws {
        let all = bytes(text)
        var cuts = (0..<all.count).map { [Array(all.prefix($0)), Array(all.dropFirst($0))] }
        cuts.append(all.map { [$0] })
        let ways = cuts
        try await withLoop { _ in
            for pieces in ways {
                let (near, far) = try await kind.makePair()
                try await releasing(near, far) {
                    let reading = await started { try await body(near.reader) }
                    for piece in pieces where !piece.isEmpty { try await far.say(piece) }
                    try await far.finish()
                    try await reading.value
                }
            }
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B3: test_readuntil_multi_chunks: a separator is found however it is cut`(
        _ kind: PairKind
    ) async throws {
        try await forEveryCut(kind, "onexxxtwoxxxrest") { reader async throws in
            #expect(try await reader.readUntil(bytes("xxx")) == bytes("onexxx"))
            #expect(try await reader.readUntil(bytes("xxx")) == bytes("twoxxx"))
            #expect(try await reader.readToEnd() == bytes("rest"))
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B3: test_readuntil_multi_chunks_1: near-matches before the separator deceive nobody`(
        _ kind: PairKind
    ) async throws {
        try await forEveryCut(kind, "QWERTYaaXYaaaDaaaabdataAAAaab") { reader async throws in
            #expect(try await reader.readUntil(bytes("XYaa")) == bytes("QWERTYaaXYaa"))
            #expect(try await reader.readUntil(bytes("aab")) == bytes("aDaaaab"))
            #expect(try await reader.readUntil(bytes("aAAAaab")) == bytes("dataAAAaab"))
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B3: test_readuntil_eof: the end leaves a partial separator in what was received`(
        _ kind: PairKind
    ) async throws {
        try await forEveryCut(kind, "dataAA") { reader async throws in
            let error = StreamError.truncated(received: bytes("dataAA"), expected: nil)
            await #expect(throws: error) { try await reader.readUntil(bytes("AAA")) }
            #expect(reader.buffered == 0)
            #expect(reader.atEOF)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B4: test_readuntil_multi_separator: the earliest end wins, whoever began first`(
        _ kind: PairKind
    ) async throws {
        try await forEveryCut(kind, "xxABCDyyCyy") { reader async throws in
            let separators = ["ABCDyyC", "CD", "D"].map(bytes)
            // "CD" and "D" end at the same place, before the longest one does.
            #expect(try await reader.readUntil(anyOf: separators) == bytes("xxABCD"))
            #expect(
                try await reader.readUntil(anyOf: separators.reversed() + [bytes("C")])
                    == bytes("yyC"))
            #expect(try await reader.readToEnd() == bytes("yy"))
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B4: one separator may be the start of another, and the shorter one wins`(
        _ kind: PairKind
    ) async throws {
        try await forEveryCut(kind, "a\r\nb\rc\n") { reader async throws in
            let separators = ["\r\n", "\r", "\n"].map(bytes)
            var pieces: [String] = []
            for _ in 0..<4 {
                let piece = try await reader.readUntil(anyOf: separators)
                pieces.append(String(decoding: piece, as: UTF8.self))
            }
            #expect(pieces == ["a\r", "\n", "b\r", "c\n"])
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B4: test_readuntil_multi_separator_negative_offset: short data, long separator`(
        _ kind: PairKind
    ) async throws {
        try await forEveryCut(kind, "data") { reader async throws in
            let separators = ["long separator", "a"].map(bytes)
            #expect(try await reader.readUntil(anyOf: separators) == bytes("da"))
            #expect(try await reader.readUntil(anyOf: separators) == bytes("ta"))
        }
    }

    @Test(arguments: [[], [[]], [[1], []]] as [[[UInt8]]])
    func `test_readuntil_separator: no separator, or an empty one, is a caller's error`(
        _ separators: [[UInt8]]
    ) async {
        await #expect(processExitsWith: .failure) { [separators = separators as [[UInt8]]] in
            let (near, _) = try await PairKind.memory.makePair()
            _ = try await near.reader.readUntil(anyOf: separators)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `a separator of every single byte value is found`(_ kind: PairKind) async throws {
        try await withPair(kind) { near, far in
            try await far.say((0...255).map { UInt8($0) })
            for value: UInt8 in [0, 10, 127, 128, 255] {
                #expect(try await near.reader.readUntil([value]).last == value)
            }
            #expect(near.reader.buffered == 0)
        }
    }
}
