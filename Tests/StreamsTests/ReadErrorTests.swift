// B11, B12, B14: a second reader, data before errors, and closing while a read waits.

import Sluice
import SluiceTestKit
import Testing

@Suite struct ReadErrorTests {
    @Test(arguments: PairKind.allCases)
    func `B11: the second reader is busy even if its bytes are there, and the first is served`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            let first = await started { try await near.reader.readExactly(8) }
            try await far.say("line\n")
            await #expect(throws: StreamError.busy) { try await near.reader.readLine() }
            await #expect(throws: StreamError.busy) { try await near.reader.read() }
            await #expect(throws: StreamError.busy) { try await near.reader.peek(1) }
            await #expect(throws: StreamError.busy) { try await near.reader.hasMore() }
            await #expect(throws: StreamError.busy) { try await near.reader.skip(1) }
            await #expect(throws: StreamError.busy) {
                try await near.reader.withLine { $0.byteCount }
            }
            try await far.say("abc")
            #expect(try await first.value == bytes("line\nabc"))
            #expect(near.reader.buffered == 0)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B11: after the first reader is done another task may read`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            for text in ["a\n", "b\n", "c\n"] {
                let reading = await started { try await near.reader.readLine() }
                try await far.say(text)
                #expect(try await reading.value == bytes(text))
            }
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B12: test_read_exception: bytes that came before a reset are read before its error`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            try await far.say("one\ntwo")
            #expect(try await near.reader.peek(7).count == 7)
            await far.writer.abort()
            await settle()
            #expect(try await near.reader.readLine() == bytes("one\n"))
            #expect(try await near.reader.readExactly(3) == bytes("two"))
            await expectResetForEver(near.reader)
        }
    }

    /// The bytes had arrived, so Linux keeps them for the reader though a reset follows them.
    @Test(arguments: PairKind.allCases)
    func `B12: bytes that arrived unread are read before the reset, never a clean end`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            try await far.say("abc")
            await far.writer.abort()
            await settle()
            var received: [UInt8] = []
            while let piece = try? await near.reader.read() { received += piece }
            #expect(received == bytes("abc"))
            await expectResetForEver(near.reader)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B12: test_exception_waiter: a reset ends a waiting read, and its partial bytes stay`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            let reading = await started { try await near.reader.readLine() }
            try await far.say("unfinished")
            await far.writer.abort()
            do {
                _ = try await reading.value
                Issue.record("a reset gave a line")
            } catch StreamError.reset {
                // As it should be.
            }
            #expect(try await near.reader.read() == bytes("unfinished"))
            await expectResetForEver(near.reader)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B14: own close ends a waiting read as closed, whichever read it is`(
        _ kind: PairKind
    ) async throws {
        for read in FirstByteRead.allCases {
            try await withPair(kind) { near, _ in
                let reading = await started { try await read.perform(near.reader) }
                near.writer.startClosing()
                await #expect(throws: StreamError.closed) { try await reading.value }
            }
        }
        for read in WaitingRead.allCases {
            try await withPair(kind) { near, far in
                let reading = await started { try await read.perform(near.reader) }
                try await far.say("ab")
                near.writer.startClosing()
                await #expect(throws: StreamError.closed) { try await reading.value }
            }
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B14: the read ends within one turn of the loop`(_ kind: PairKind) async throws {
        try await withPair(kind) { near, _ in
            let ended = Handover<Bool>()
            let reading = await started {
                defer { ended.give(true) }
                _ = try await near.reader.readLine()
            }
            near.writer.startClosing()
            await EventLoop.yield()
            await EventLoop.yield()
            #expect(ended.hasValue)
            await #expect(throws: StreamError.closed) { try await reading.value }
        }
    }
}

/// Every further read says reset, with the same errno.
private func expectResetForEver(
    _ reader: StreamReader, sourceLocation: SourceLocation = #_sourceLocation
) async {
    var errors: Set<StreamError> = []
    for _ in 0..<3 {
        do throws(StreamError) {
            _ = try await reader.read()
            _ = try await reader.readLine()
            Issue.record("a read after a reset succeeded", sourceLocation: sourceLocation)
        } catch {
            errors.insert(error)
            guard case .reset = error else {
                Issue.record(error, sourceLocation: sourceLocation)
                continue
            }
        }
    }
    #expect(errors.count == 1, sourceLocation: sourceLocation)
}
