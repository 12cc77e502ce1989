// B9 and B10: a read that was cancelled or timed out lost nothing, and the next one may start at
// once. Every kind of read, both kinds of pair.

import Sluice
import SluiceTestKit
import Testing

/// The reads that wait for more than "ab".
enum WaitingRead: String, CaseIterable, CustomTestStringConvertible {
    case readToEnd, readExactly, readLine, readUntil, readUntilAny, peek, lines
    case withLine, withExactly

    var testDescription: String { rawValue }

    func perform(_ reader: StreamReader) async throws {
        switch self {
        case .readToEnd: _ = try await reader.readToEnd()
        case .readExactly: _ = try await reader.readExactly(4)
        case .readLine: _ = try await reader.readLine()
        case .readUntil: _ = try await reader.readUntil(bytes("bc\n"))
        case .readUntilAny: _ = try await reader.readUntil(anyOf: [bytes("c\n"), bytes("abc\n")])
        case .peek: _ = try await reader.peek(4)
        case .lines: for try await _ in reader.lines { break }
        case .withLine: _ = try await reader.withLine { $0.byteCount }
        case .withExactly: _ = try await reader.withExactly(4) { $0.byteCount }
        }
    }
}

/// The reads that any byte satisfies.
enum FirstByteRead: String, CaseIterable, CustomTestStringConvertible {
    case read, hasMore, withAvailable

    var testDescription: String { rawValue }

    func perform(_ reader: StreamReader) async throws {
        switch self {
        case .read: _ = try await reader.read()
        case .hasMore: _ = try await reader.hasMore()
        case .withAvailable: _ = try await reader.withAvailable { $0.byteCount }
        }
    }
}

@Suite struct ReadCancellationTests {
    @Test(arguments: PairKind.allCases, WaitingRead.allCases)
    func `B9: a cancelled read of any kind loses no byte`(
        _ kind: PairKind, _ read: WaitingRead
    ) async throws {
        try await withPair(kind) { near, far in
            let reading = await started { try await read.perform(near.reader) }
            try await far.say("ab")
            reading.cancel()
            await #expect(throws: StreamError.cancelled) { try await reading.value }
            try await far.say("c\n")
            try await far.finish()
            #expect(try await near.reader.readToEnd() == bytes("abc\n"))
        }
    }

    @Test(arguments: PairKind.allCases, WaitingRead.allCases)
    func `B10: a timed-out read of any kind loses no byte`(
        _ kind: PairKind, _ read: WaitingRead
    ) async throws {
        try await withPair(kind) { near, far in
            try await far.say("ab")
            await #expect(throws: StreamError.timedOut) {
                try await withTimeout(.milliseconds(2)) { try await read.perform(near.reader) }
            }
            let next = await started { try await near.reader.readLine() }
            try await far.say("c\n")
            #expect(try await next.value == bytes("abc\n"))
        }
    }

    @Test(arguments: PairKind.allCases, FirstByteRead.allCases)
    func `B10: after a cancelled wait for the first byte the next read starts at once`(
        _ kind: PairKind, _ read: FirstByteRead
    ) async throws {
        try await withPair(kind) { near, far in
            let reading = await started { try await read.perform(near.reader) }
            reading.cancel()
            // Not even a turn of the loop in between.
            async let next = near.reader.readExactly(2)
            await #expect(throws: StreamError.cancelled) { try await reading.value }
            try await far.say("ab")
            #expect(try await next == bytes("ab"))
        }
    }

    @Test(arguments: PairKind.allCases, FirstByteRead.allCases)
    func `B10: a wait for the first byte times out, and the next read gets it`(
        _ kind: PairKind, _ read: FirstByteRead
    ) async throws {
        try await withPair(kind) { near, far in
            await #expect(throws: StreamError.timedOut) {
                try await withTimeout(.milliseconds(2)) { try await read.perform(near.reader) }
            }
            try await far.say("ab")
            #expect(try await near.reader.read() == bytes("ab"))
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B9: a cancelled skip discards nothing that came after it`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            let skipping = await started { try await near.reader.skip(4) }
            try await far.say("ab")
            skipping.cancel()
            await #expect(throws: StreamError.cancelled) { try await skipping.value }
            await #expect(throws: StreamError.timedOut) {
                try await withTimeout(.milliseconds(2)) {
                    try await near.reader.skip(through: bytes("XYZ"))
                }
            }
            let through = await started { try await near.reader.skip(through: bytes("XYZ")) }
            try await far.say("cdXY")
            through.cancel()
            await #expect(throws: StreamError.cancelled) { try await through.value }
            // The beginning of the separator was kept.
            try await far.say("Zrest")
            #expect(try await near.reader.skip(through: bytes("XYZ")))
            #expect(try await near.reader.readExactly(4) == bytes("rest"))
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B9: a read in a cancelled task fails at once and takes nothing`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            let gate = await started {
                try? await sleep(for: .seconds(20))
                return try await near.reader.readLine()
            }
            gate.cancel()
            await #expect(throws: StreamError.cancelled) { try await gate.value }
            try await far.say("line\n")
            #expect(try await near.reader.readLine() == bytes("line\n"))
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B9: withTimeout(cancelling:) loses no byte either`(_ kind: PairKind) async throws {
        try await withPair(kind) { near, far in
            try await far.say("ab")
            await #expect(throws: ReactorError.timedOut) {
                try await withTimeout(cancelling: .milliseconds(2)) {
                    try await near.reader.readLine()
                }
            }
            try await far.say("c\n")
            #expect(try await near.reader.readLine() == bytes("abc\n"))
        }
    }

    /// Cancellation comes from the other thread while bytes come in; whoever wins, none is lost.
    @Test(arguments: PairKind.allCases)
    func `B9: a hundred reads cancelled at random moments lose no byte`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            let count = 100
            let sending = EventLoop.current!.spawn {
                for index in 0..<count {
                    try await far.writer.send(TestBytes.make(from: index * 10, count: 10))
                    await EventLoop.yield()
                }
                try far.writer.finishWriting()
            }
            var received = 0
            var isOver = false
            while !isOver {
                let reading = EventLoop.current!.spawn { try await near.reader.readExactly(7) }
                let cancelling = Task.detached { reading.cancel() }
                do {
                    let piece = try await reading.value
                    #expect(TestBytes.match(piece, from: received))
                    received += piece.count
                } catch StreamError.cancelled {
                    // Its bytes are still there.
                } catch StreamError.truncated(let rest, _) {
                    #expect(TestBytes.match(rest, from: received))
                    received += rest.count
                    isOver = true
                }
                await cancelling.value
            }
            #expect(received == count * 10)
            try await sending.value
        }
    }

    @Test(arguments: PairKind.allCases)
    func `test_exception_cancel: a reset after a cancelled read resumes nobody twice`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            let reading = await started { try await near.reader.readLine() }
            reading.cancel()
            await far.writer.abort()
            await #expect(throws: StreamError.cancelled) { try await reading.value }
            do {
                _ = try await near.reader.readLine()
                Issue.record("a reset connection gave a line")
            } catch StreamError.reset {
                // As it should be.
            }
        }
    }
}
