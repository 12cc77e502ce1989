// B20 to B23: writing in order and whole, vectored, empty, and after the end. Both kinds of pair.

import Sluice
import SluiceTestKit
import Testing

@Suite struct WriteTests {
    @Test(arguments: PairKind.allCases)
    func `B20: writes of one turn arrive in call order, whatever their kind`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            near.writer.setWriteMarks(high: 1 << 20)
            let large = TestBytes.make(count: 20_000)
            try near.writer.write("text ")
            try near.writer.write(bytes("array "))
            try near.writer.write(large)
            try near.writer.write(large.span.bytes)
            try near.writer.write(contentsOf: [bytes("parts "), [], large, bytes("end")])
            try near.writer.finishWriting()
            let expected =
                bytes("text array ") + large + large + bytes("parts ") + large + bytes("end")
            #expect(same(try await far.reader.readToEnd(), expected))
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B20: concurrent sends are never interleaved inside one send`(
        _ kind: PairKind
    ) async throws {
        var options = StreamOptions()
        options.highWaterMark = 4_096
        try await withPair(kind, options: options) { near, far in
            let writers = 8
            let rounds = 12
            async let sent: Void = withThrowingTaskGroup(of: Void.self) { group in
                for writer in 0..<writers {
                    group.addTask {
                        for round in 0..<rounds {
                            let size = 1 + (round * 977 + writer * 131) % 6_000
                            let piece = Array(repeating: UInt8(writer), count: size)
                            try await near.writer.send(
                                [UInt8(writer), UInt8(round)]
                                    + [UInt8(size >> 8), UInt8(size & 0xFF)] + piece)
                        }
                    }
                }
                try await group.waitForAll()
                try near.writer.finishWriting()
            }
            var nextRound = Array(repeating: 0, count: writers)
            while try await far.reader.hasMore() {
                let head = try await far.reader.readExactly(4)
                let size = Int(head[2]) << 8 | Int(head[3])
                let piece = try await far.reader.readExactly(size)
                #expect(same(piece, Array(repeating: head[0], count: size)))
                #expect(Int(head[1]) == nextRound[Int(head[0])], "a writer's own order is kept")
                nextRound[Int(head[0])] += 1
            }
            #expect(nextRound == Array(repeating: rounds, count: writers))
            try await sent
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B21: many parts, small and large ones, arrive whole and in order`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            // Large parts are queued by reference, so each needs a piece of its own; small ones
            // not.
            let small = (0..<3_000).map { TestBytes.make(from: $0 * 3, count: 3) }
            try await near.writer.send(contentsOf: small)
            let large = (0..<40).map { TestBytes.make(from: 9_000 + $0 * 5_000, count: 5_000) }
            async let sent: Void = near.writer.send(contentsOf: large)
            #expect(TestBytes.match(try await far.reader.readExactly(209_000), from: 0))
            try await sent
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B21: more parts than one sendmsg takes, 1,024, arrive whole and in order`(
        _ kind: PairKind
    ) async throws {
        var options = StreamOptions()
        options.outputCap = 64 << 20
        try await withPair(kind, options: options) { near, far in
            let count = 1_500
            let parts = (0..<count).map { TestBytes.make(from: $0 * 4_097, count: 4_097) }
            async let sent: Void = near.writer.send(contentsOf: parts)
            #expect(TestBytes.match(try await far.reader.readExactly(count * 4_097), from: 0))
            try await sent
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B21: writing parts counts against the marks like any write`(
        _ kind: PairKind
    ) async throws {
        try await withCloggedPair(kind) { near, far, queued in
            #expect(TestBytes.match(try await far.reader.readExactly(queued), from: 0))
            try await near.writer.flush()
            let again = try await clog(near.writer, highWaterMark: 4_096)
            let before = near.writer.bytesQueued
            try near.writer.write(contentsOf: [bytes("12345"), [], bytes("678")])
            #expect(near.writer.bytesQueued == before + 8)
            let draining = await started { try await near.writer.drain() }
            #expect(try await far.reader.skip(again + 8) == again + 8)
            try await draining.value
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B22: empty writes mixed with others are legal and closing still ends`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            for text in ["", "a", "", "", "b", ""] {
                try near.writer.write(text)
                try near.writer.write(contentsOf: [])
                try near.writer.write(contentsOf: [[]])
                try await near.writer.send([])
                try await near.writer.flush()
            }
            #expect(near.writer.bytesQueued == 0)
            try near.writer.finishWriting()
            #expect(try await far.reader.readToEnd() == bytes("ab"))
            await far.writer.close()
            await near.writer.close()
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B23: after an own close every way of writing throws closed and sends nothing`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            near.writer.startClosing()
            let text = bytes("x")
            for _ in 0..<10 {
                #expect(throws: StreamError.closed) { try near.writer.write("x") }
                #expect(throws: StreamError.closed) { try near.writer.write([]) }
                #expect(throws: StreamError.closed) { try near.writer.write(contentsOf: [[1]]) }
                #expect(throws: StreamError.closed) { try near.writer.write(text.span.bytes) }
                await #expect(throws: StreamError.closed) { try await near.writer.send("x") }
                #expect(throws: StreamError.closed) { try near.writer.finishWriting() }
            }
            let end = try await far.reader.read()
            #expect(end == nil)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B23: test_async_writer_api_exception_after_close: also when the close is complete`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            async let farClosed: Void = far.writer.close()
            await near.writer.close()
            await farClosed
            #expect(throws: StreamError.closed) { try near.writer.write("x") }
            await #expect(throws: StreamError.closed) { try await near.writer.drain() }
            await #expect(throws: StreamError.closed) { try await near.writer.flush() }
        }
    }

    @Test(arguments: PairKind.allCases)
    func `an array changed after write is sent as it was`(_ kind: PairKind) async throws {
        try await withPair(kind) { near, far in
            var large = TestBytes.make(count: 30_000)
            try near.writer.write(large)
            for index in large.indices.prefix(100) { large[index] = 0 }
            large.removeAll()
            #expect(TestBytes.match(try await far.reader.readExactly(30_000), from: 0))
        }
    }
}
