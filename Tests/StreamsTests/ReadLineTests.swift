// `readLine` and the lines sequence (B17). Both kinds of pair.

import Sluice
import SluiceTestKit
import Testing

@Suite struct ReadLineTests {
    @Test(arguments: PairKind.allCases)
    func `test_readline: it waits over three arrivals and keeps what follows the LF`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            try await far.say("chunk1 ")
            let reading = await started { try await near.reader.readLine() }
            for chunk in ["chunk2 ", "chunk3 ", "\n chunk4"] { try await far.say(chunk) }
            #expect(try await reading.value == bytes("chunk1 chunk2 chunk3 \n"))
            #expect(try await near.reader.read() == bytes(" chunk4"))
        }
    }

    @Test(arguments: PairKind.allCases)
    func `test_readline_nolimit_nowait: a buffered line comes without waiting`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            try await far.say("line1\nline2\nline3\n")
            #expect(try await near.reader.peek(18).count == 18)
            #expect(try await near.reader.readLine() == bytes("line1\n"))
            #expect(try await near.reader.readLine() == bytes("line2\n"))
            #expect(near.reader.buffered == 6)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `test_readline_eof: the unfinished last line comes as it is, then nil`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            try await far.say("some data")
            try await far.finish()
            #expect(try await near.reader.readLine() == bytes("some data"))
            #expect(try await near.reader.readLine() == nil)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `test_readline_read_byte_count: readLine and readExactly share one buffer`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            try await far.say("line1\nline2\nline3\n")
            #expect(try await near.reader.readLine() == bytes("line1\n"))
            #expect(try await near.reader.readExactly(7) == bytes("line2\nl"))
            #expect(try await near.reader.readLine() == bytes("ine3\n"))
        }
    }

    @Test(arguments: PairKind.allCases)
    func `stripping takes LF and CRLF, and no other CR`(_ kind: PairKind) async throws {
        try await withPair(kind) { near, far in
            try await far.say("a\nb\r\nc\r\r\n\r\n\n\rd\ne\r")
            try await far.finish()
            var lines: [String] = []
            while let line = try await near.reader.readLine(strippingTerminator: true) {
                lines.append(String(decoding: line, as: UTF8.self))
            }
            #expect(lines == ["a", "b", "c\r", "", "", "\rd", "e\r"])
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B17: lines end at the end, with the unfinished last line, without LF or CRLF`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            try await far.say("one\ntwo\r\n\nthree")
            try await far.finish()
            var lines: [[UInt8]] = []
            for try await line in near.reader.lines { lines.append(line) }
            #expect(lines == ["one", "two", "", "three"].map(bytes))
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B17: lines with a limit throw at a longer line, and go on after skip(through:)`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            try await far.say("ab\ntoo long\ncd\n")
            try await far.finish()
            var lines: [[UInt8]] = []
            do {
                for try await line in near.reader.lines(limit: 3) { lines.append(line) }
                Issue.record("a line of eight bytes passed a limit of three")
            } catch StreamError.limitExceeded(let limit, _, _) {
                #expect(limit == 3)
            }
            #expect(try await near.reader.skip(through: bytes("\n")))
            for try await line in near.reader.lines(limit: 3) { lines.append(line) }
            #expect(lines == ["ab", "cd"].map(bytes))
        }
    }

    @Test(arguments: PairKind.allCases)
    func `an empty stream has no line`(_ kind: PairKind) async throws {
        try await withPair(kind) { near, far in
            try await far.finish()
            for try await _ in near.reader.lines { Issue.record("a line out of nothing") }
            #expect(try await near.reader.readLine() == nil)
        }
    }
}
