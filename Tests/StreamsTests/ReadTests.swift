// B1 and B13: `read`, `readToEnd`, `hasMore`, and the end that stays the end. Both kinds of pair.

import Sluice
import SluiceTestKit
import Testing

@Suite struct ReadTests {
    @Test(arguments: PairKind.allCases)
    func `B1: read returns as soon as any byte is there`(_ kind: PairKind) async throws {
        try await withPair(kind) { near, far in
            let reading = await started { try await near.reader.read(upTo: 30) }
            try await far.say("eighteen bytes, so")
            #expect(try await reading.value == bytes("eighteen bytes, so"))
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B1: test_read_line_breaks: read(5) of two words leaves the second`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            try await far.say("line1line2")
            #expect(try await near.reader.read(upTo: 5) == bytes("line1"))
            #expect(try await near.reader.read(upTo: 100) == bytes("line2"))
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B1: test_read_eof: the end is nil, never an empty array`(_ kind: PairKind) async throws {
        try await withPair(kind) { near, far in
            let reading = await started { try await near.reader.read(upTo: 1_024) }
            try await far.finish()
            #expect(try await reading.value == nil)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B1: test_read_limit: read ignores the line limit`(_ kind: PairKind) async throws {
        var options = StreamOptions()
        options.limit = 3
        try await withPair(kind, options: options) { near, far in
            try await far.say("chunk")
            _ = try await near.reader.peek(5)
            #expect(try await near.reader.read() == bytes("chunk"))
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B1: a large read gives at most what was asked for, and all of it in the end`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            async let sent: Void = sendPieces(far.writer, count: 300_000, seed: 1)
            #expect(try await receivePieces(near.reader, seed: 2) == 300_000)
            try await sent
        }
    }

    @Test(arguments: PairKind.allCases)
    func `test_read_until_eof: readToEnd joins what comes until the end`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            let reading = await started { try await near.reader.readToEnd() }
            for chunk in ["chunk1", "\n", "chunk2"] { try await far.say(chunk) }
            try await far.finish()
            #expect(try await reading.value == bytes("chunk1\nchunk2"))
            #expect(try await near.reader.readToEnd() == [])
        }
    }

    @Test(arguments: PairKind.allCases)
    func `readToEnd over its limit consumes nothing`(_ kind: PairKind) async throws {
        try await withPair(kind) { near, far in
            try await far.say("eleven byte")
            try await far.finish()
            do {
                _ = try await near.reader.readToEnd(limit: 10)
                Issue.record("eleven bytes passed a limit of ten")
            } catch StreamError.limitExceeded(let limit, _, let separatorFound) {
                #expect(limit == 10)
                #expect(!separatorFound)
            }
            #expect(try await near.reader.readToEnd(limit: 11) == bytes("eleven byte"))
        }
    }

    @Test(arguments: PairKind.allCases)
    func `hasMore waits for a byte or the end, and consumes nothing`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            let waiting = await started { try await near.reader.hasMore() }
            try await far.say("x")
            #expect(try await waiting.value)
            #expect(try await near.reader.hasMore())
            #expect(near.reader.buffered == 1)
            #expect(try await near.reader.read() == bytes("x"))
            let atEnd = await started { try await near.reader.hasMore() }
            try await far.finish()
            #expect(try await !atEnd.value)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B13: after the end every read says end again`(_ kind: PairKind) async throws {
        try await withPair(kind) { near, far in
            try await far.say("x")
            try await far.finish()
            #expect(try await near.reader.read() == bytes("x"))
            for _ in 0..<3 {
                #expect(try await near.reader.read() == nil)
                #expect(try await near.reader.readLine() == nil)
                #expect(try await near.reader.readToEnd() == [])
                #expect(try await near.reader.readExactly(0) == [])
                #expect(try await !near.reader.hasMore())
                #expect(try await near.reader.peek(1) == [])
                #expect(try await near.reader.skip(1) == 0)
                #expect(try await !near.reader.skip(through: bytes("\n")))
                let missing = StreamError.truncated(received: [], expected: 1)
                await #expect(throws: missing) { try await near.reader.readExactly(1) }
                let open = StreamError.truncated(received: [], expected: nil)
                await #expect(throws: open) { try await near.reader.readUntil(bytes("\n")) }
                #expect(near.reader.atEOF)
            }
        }
    }

    @Test(arguments: PairKind.allCases)
    func `test_at_eof: atEOF is false until the end was seen and the buffer is empty`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            #expect(!near.reader.atEOF)
            try await far.say("some data\n")
            #expect(!near.reader.atEOF)
            #expect(try await near.reader.readLine() == bytes("some data\n"))
            #expect(!near.reader.atEOF)
            try await far.say("more")
            try await far.finish()
            #expect(try await near.reader.peek(5) == bytes("more"))
            #expect(!near.reader.atEOF)
            #expect(try await near.reader.read() == bytes("more"))
            #expect(try await near.reader.read() == nil)
            #expect(near.reader.atEOF)
        }
    }
}
