// The span calls: the same answers as the array-returning ones, shown in place. Both kinds of pair.

import Sluice
import SluiceTestKit
import Testing

private struct Refused: Error {}

extension RawSpan {
    /// A copy, for comparing.
    fileprivate var copy: [UInt8] { withUnsafeBytes { Array($0) } }
}

@Suite struct SpanReadTests {
    @Test(arguments: PairKind.allCases)
    func `withLine shows each line with its LF, the unfinished last one without, then nil`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            let reading = await started {
                var lines: [[UInt8]] = []
                while let line = try await near.reader.withLine({ $0.copy }) { lines.append(line) }
                return lines
            }
            for piece in ["one\ntw", "o\n", "\nthree"] { try await far.say(piece) }
            try await far.finish()
            #expect(try await reading.value == ["one\n", "two\n", "\n", "three"].map(bytes))
        }
    }

    @Test(arguments: PairKind.allCases)
    func `withLine has the limit of readLine and consumes nothing beyond it`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            try await far.say("abcd\n")
            _ = try await near.reader.peek(5)
            let error = StreamError.limitExceeded(limit: 3, scanned: 4, separatorFound: true)
            await #expect(throws: error) {
                try await near.reader.withLine(limit: 3) { $0.byteCount }
            }
            #expect(try await near.reader.withLine(limit: 4) { $0.copy } == bytes("abcd\n"))
        }
    }

    @Test(arguments: PairKind.allCases)
    func `withExactly shows count bytes, or throws what came`(_ kind: PairKind) async throws {
        try await withPair(kind) { near, far in
            let reading = await started { try await near.reader.withExactly(5) { $0.copy } }
            try await far.say("abc")
            try await far.say("defg")
            #expect(try await reading.value == bytes("abcde"))
            #expect(try await near.reader.withExactly(0) { $0.byteCount } == 0)
            try await far.finish()
            let error = StreamError.truncated(received: bytes("fg"), expected: 3)
            await #expect(throws: error) { try await near.reader.withExactly(3) { $0.byteCount } }
        }
    }

    @Test(arguments: PairKind.allCases)
    func `withExactly of more than one receive shows all of it at once`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            async let sent: Void = far.writer.send(TestBytes.make(count: 200_000))
            let isRight = try await near.reader.withExactly(200_000) { span in
                span.byteCount == 200_000 && TestBytes.match(span.copy, from: 0)
            }
            #expect(isRight)
            try await sent
        }
    }

    @Test(arguments: PairKind.allCases)
    func `withAvailable consumes what it shows, at most upTo bytes, and is nil at the end`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            try await far.say("abcde")
            _ = try await near.reader.peek(5)
            #expect(try await near.reader.withAvailable(upTo: 2) { $0.copy } == bytes("ab"))
            #expect(try await near.reader.withAvailable { $0.copy } == bytes("cde"))
            let waiting = await started { try await near.reader.withAvailable { $0.copy } }
            try await far.say("f")
            #expect(try await waiting.value == bytes("f"))
            try await far.finish()
            #expect(try await near.reader.withAvailable { $0.copy } == nil)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `a body that throws passes its error on, and the reader works on`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            try await far.say("one\ntwo\nthree\nfour\n")
            await #expect(throws: Refused.self) {
                try await near.reader.withLine { _ in throw Refused() }
            }
            await #expect(throws: Refused.self) {
                try await near.reader.withExactly(4) { _ in throw Refused() }
            }
            // Whether the refused bytes count as read or not, what follows is whole lines.
            let rest = try await near.reader.readLine()
            #expect([bytes("one\n"), bytes("three\n")].contains(rest))
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B12: bytes left by a reset are shown once each, then comes its error`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            try await far.say("one\ntwo\nthree")
            #expect(try await near.reader.peek(13).count == 13)
            await far.writer.abort()
            await #expect(throws: StreamError.self) { try await near.reader.peek(14) }
            #expect(try await near.reader.withLine { $0.copy } == bytes("one\n"))
            #expect(try await near.reader.withExactly(4) { $0.copy } == bytes("two\n"))
            #expect(try await near.reader.withAvailable { $0.copy } == bytes("three"))
            await #expect(throws: StreamError.self) {
                try await near.reader.withAvailable { $0.byteCount }
            }
        }
    }

    @Test(arguments: PairKind.allCases)
    func `closing and aborting inside the body are legal`(_ kind: PairKind) async throws {
        for isAbort in [false, true] {
            try await withPair(kind) { near, far in
                try await far.say("one\ntwo\n")
                let text = try await near.reader.withLine { line in
                    if isAbort { near.writer.startAborting() } else { near.writer.startClosing() }
                    return line.byteCount
                }
                #expect(text == 4)
                let error = isAbort ? StreamError.aborted : .closed
                await #expect(throws: error) { try await near.reader.withLine { $0.byteCount } }
            }
        }
    }

    /// A broadcast: the stream that is read is closed by the first write, the others still get the
    /// line.
    @Test(arguments: PairKind.allCases)
    func `the bytes shown stay as they are until the body returns, whatever it closes`(
        _ kind: PairKind
    ) async throws {
        for isAbort in [false, true] {
            try await withPair(kind) { near, far in
                let line = String(repeating: "line ", count: 20) + "\n"
                let (here, there) = try await PairKind.memory.makePair()
                try await releasing(here, there) {
                    try await far.say(line)
                    let isWritten = try await near.reader.withLine { span in
                        if isAbort {
                            near.writer.startAborting()
                        } else {
                            near.writer.startClosing()
                        }
                        // Takes a block of every size, the one just given back among them.
                        for size in [900, 4_000, 16_000, 60_000] {
                            try here.writer.write(String(repeating: "x", count: size))
                        }
                        try here.writer.write(span)
                        return true
                    }
                    #expect(isWritten == true)
                    #expect(try await there.reader.skip(80_900) == 80_900)
                    try here.writer.finishWriting()
                    #expect(try await there.reader.readToEnd() == bytes(line))
                }
            }
        }
    }

    @Test(arguments: PairKind.allCases)
    func `span and array calls share one buffer`(_ kind: PairKind) async throws {
        try await withPair(kind) { near, far in
            try await far.say("line one\n12345rest")
            try await far.finish()
            #expect(try await near.reader.withExactly(5) { $0.copy } == bytes("line "))
            #expect(try await near.reader.readLine() == bytes("one\n"))
            #expect(try await near.reader.withExactly(5) { $0.copy } == bytes("12345"))
            #expect(try await near.reader.withAvailable(upTo: 1) { $0.copy } == bytes("r"))
            #expect(try await near.reader.readToEnd() == bytes("est"))
        }
    }
}
