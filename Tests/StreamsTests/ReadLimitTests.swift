// B5 to B7: limits are by position, an error over the limit consumes nothing, and the reader finds
// the next line again. Both kinds of pair.

import Sluice
import SluiceTestKit
import Testing

@Suite struct ReadLimitTests {
    /// Sends `text` whole or byte by byte, as two tests in one.
    private func inBothWays(
        _ kind: PairKind, _ text: String, limit: Int? = nil,
        _ body: @escaping @Sendable (StreamReader) async throws -> Void
    ) async throws {
        for isWhole in [true, false] {
            var options = StreamOptions()
            if let limit { options.limit = limit }
            try await withPair(kind, options: options) { near, far in
                let reading = await started { try await body(near.reader) }
                if isWhole {
                    try await far.say(text)
                } else {
                    for byte in bytes(text) { try await far.say([byte]) }
                }
                try await far.finish()
                try await reading.value
            }
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B5: exactly limit bytes before the separator pass, one more fails`(
        _ kind: PairKind
    ) async throws {
        try await inBothWays(kind, "abc\nabcd\n", limit: 3) { reader async throws in
            #expect(try await reader.readLine() == bytes("abc\n"))
            await expectOverLimit(3) { _ = try await reader.readLine() }
            #expect(try await reader.readLine(limit: 4) == bytes("abcd\n"))
        }
        try await inBothWays(kind, "abcXYabcdXY") { reader async throws in
            #expect(try await reader.readUntil(bytes("XY"), limit: 3) == bytes("abcXY"))
            await expectOverLimit(3) { _ = try await reader.readUntil(bytes("XY"), limit: 3) }
            #expect(try await reader.readUntil(bytes("XY"), limit: 4) == bytes("abcdXY"))
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B5: an unfinished last line of limit bytes passes, one more fails`(
        _ kind: PairKind
    ) async throws {
        try await inBothWays(kind, "abc", limit: 3) { reader async throws in
            #expect(try await reader.readLine() == bytes("abc"))
        }
        try await inBothWays(kind, "abcd", limit: 3) { reader async throws in
            await expectOverLimit(3) { _ = try await reader.readLine() }
            #expect(try await reader.readToEnd() == bytes("abcd"))
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B5: test_readuntil_multi_separator_limit: the shortest match that ends first counts`(
        _ kind: PairKind
    ) async throws {
        try await inBothWays(kind, "some dataAAA") { reader async throws in
            let separators = ["A", "dataA"].map(bytes)
            await expectOverLimit(8) {
                _ = try await reader.readUntil(anyOf: separators, limit: 8)
            }
            #expect(try await reader.readUntil(anyOf: separators, limit: 9) == bytes("some dataA"))
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B6: test_readuntil_limit_found_sep: found says where the separator is`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            try await far.say("some dataAAA")
            _ = try await near.reader.peek(12)
            let found = StreamError.limitExceeded(limit: 8, scanned: 9, separatorFound: true)
            for _ in 0..<2 {
                await #expect(throws: found) {
                    try await near.reader.readUntil(bytes("AAA"), limit: 8)
                }
            }
            #expect(near.reader.buffered == 12)
            #expect(try await near.reader.skip(9) == 9)
            #expect(try await near.reader.readUntil(bytes("AAA"), limit: 8) == bytes("AAA"))
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B6: not found says how many bytes hold no separator`(_ kind: PairKind) async throws {
        try await withPair(kind) { near, far in
            try await far.say("some dataAA")
            do {
                _ = try await near.reader.readUntil(bytes("AAA"), limit: 8)
                Issue.record("nine bytes passed a limit of eight")
            } catch StreamError.limitExceeded(let limit, let scanned, let separatorFound) {
                #expect(limit == 8)
                #expect(scanned == 9, "the two last ones may belong to a separator")
                #expect(!separatorFound)
            }
            #expect(near.reader.buffered == 11)
            try await far.say("Arest")
            #expect(try await near.reader.readUntil(bytes("AAA")) == bytes("some dataAAA"))
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B6: skip(through:) goes to the next separator, buffered or to come`(
        _ kind: PairKind
    ) async throws {
        try await inBothWays(kind, "an endless line\nshort\n", limit: 5) { reader async throws in
            await expectOverLimit(5) { _ = try await reader.readLine() }
            #expect(try await reader.skip(through: bytes("\n")))
            #expect(try await reader.readLine() == bytes("short\n"))
            #expect(try await !reader.skip(through: bytes("\n")))
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B7: test_readline_limit_with_existing_data: one error per long line, then the next line`(
        _ kind: PairKind
    ) async throws {
        try await inBothWays(kind, "li\nthis is long\nne1\n\nalso long\nx", limit: 3) {
            reader async throws in
            var lines: [[UInt8]] = []
            var errors = 0
            while true {
                do {
                    guard let line = try await reader.readLine() else { break }
                    lines.append(line)
                } catch StreamError.limitExceeded {
                    errors += 1
                    #expect(try await reader.skip(through: bytes("\n")))
                }
            }
            #expect(errors == 2)
            #expect(lines == ["li\n", "ne1\n", "\n", "x"].map(bytes))
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B6: an endless line fails at the limit, with bounded memory`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            let endless = Array(repeating: UInt8(ascii: "x"), count: 50_000)
            let sending = EventLoop.current!.spawn {
                while true { try await far.writer.send(endless) }
            }
            await expectOverLimit(65_536) { _ = try await near.reader.readLine() }
            #expect(near.reader.buffered <= 4 * 65_536)
            await near.writer.abort()
            await #expect(throws: StreamError.self) { try await sending.value }
        }
    }
}

/// Expects `limitExceeded` of this limit, whatever was known of the separator.
private func expectOverLimit(
    _ limit: Int, sourceLocation: SourceLocation = #_sourceLocation,
    _ body: () async throws -> Void
) async {
    do {
        try await body()
        Issue.record("passed a limit of \(limit)", sourceLocation: sourceLocation)
    } catch StreamError.limitExceeded(let given, let scanned, _) {
        #expect(given == limit, sourceLocation: sourceLocation)
        #expect(scanned > limit, sourceLocation: sourceLocation)
    } catch {
        Issue.record(error, sourceLocation: sourceLocation)
    }
}
