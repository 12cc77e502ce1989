// B15: `peek`, `skip`, `unread`, `buffered`, and how far a reader reads ahead. Both kinds of pair.

import Sluice
import SluiceTestKit
import Testing

@Suite struct PeekSkipTests {
    @Test(arguments: PairKind.allCases)
    func `B15: peek waits for its bytes and consumes none`(_ kind: PairKind) async throws {
        try await withPair(kind) { near, far in
            let peeking = await started { try await near.reader.peek(5) }
            try await far.say("abc")
            try await far.say("defg")
            #expect(try await peeking.value == bytes("abcde"))
            #expect(try await near.reader.peek(0) == [])
            #expect(try await near.reader.peek(2) == bytes("ab"))
            #expect(near.reader.buffered == 7)
            #expect(try await near.reader.readExactly(7) == bytes("abcdefg"))
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B15: peek is shorter only at the end`(_ kind: PairKind) async throws {
        try await withPair(kind) { near, far in
            let peeking = await started { try await near.reader.peek(5) }
            try await far.say("abc")
            try await far.finish()
            #expect(try await peeking.value == bytes("abc"))
            #expect(try await near.reader.read() == bytes("abc"))
            #expect(try await near.reader.peek(5) == [])
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B15: peek ignores the line limit and goes beyond one receive`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            async let sent: Void = far.writer.send(TestBytes.make(count: 300_000))
            #expect(TestBytes.match(try await near.reader.peek(300_000), from: 0))
            #expect(TestBytes.match(try await near.reader.readExactly(300_000), from: 0))
            try await sent
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B15: skip discards exactly its count, buffered or to come, fewer at the end`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            try await far.say("abcdef")
            #expect(try await near.reader.skip(0) == 0)
            #expect(try await near.reader.skip(2) == 2)
            #expect(try await near.reader.read(upTo: 1) == bytes("c"))
            let skipping = await started { try await near.reader.skip(5) }
            try await far.say("ghij")
            #expect(try await skipping.value == 5)
            #expect(try await near.reader.readExactly(2) == bytes("ij"))
            try await far.say("kl")
            try await far.finish()
            #expect(try await near.reader.skip(100) == 2)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B15: skipping far more than any buffer keeps the buffer small`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            let count = 2 << 20
            let sending = EventLoop.current!.spawn {
                try await far.writer.send(TestBytes.make(count: 1 << 20))
                try await far.writer.send(TestBytes.make(count: 1 << 20) + [1, 2, 3])
            }
            #expect(try await near.reader.skip(count) == count)
            #expect(near.reader.buffered <= 131_072)
            #expect(try await near.reader.readExactly(3) == [1, 2, 3])
            try await sending.value
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B15: skip(through:) finds a separator over several arrivals, without a limit`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            let skipping = await started { try await near.reader.skip(through: bytes("XYZ")) }
            for piece in ["aaaaX", "XY", "XYX", "YZrest"] { try await far.say(piece) }
            #expect(try await skipping.value)
            #expect(try await near.reader.readExactly(4) == bytes("rest"))
            let sending = EventLoop.current!.spawn {
                try await far.writer.send(Array(repeating: UInt8(ascii: "x"), count: 500_000))
                try await far.writer.send("\nnext")
            }
            #expect(try await near.reader.skip(through: bytes("\n")))
            #expect(try await near.reader.readExactly(4) == bytes("next"))
            try await sending.value
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B15: unread bytes come first, also in front of buffered ones and at the end`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            near.reader.unread(bytes("ab"))
            #expect(near.reader.buffered == 2)
            #expect(try await near.reader.readExactly(2) == bytes("ab"))
            try await far.say("line\nrest")
            let line = try await near.reader.readLine()
            near.reader.unread(line ?? [])
            near.reader.unread([])
            near.reader.unread(bytes("> "))
            #expect(try await near.reader.readLine() == bytes("> line\n"))
            try await far.finish()
            #expect(try await near.reader.readToEnd() == bytes("rest"))
            #expect(near.reader.atEOF)
            near.reader.unread(bytes("x\ny"))
            #expect(!near.reader.atEOF)
            #expect(try await near.reader.readLine() == bytes("x\n"))
            #expect(try await near.reader.readLine() == bytes("y"))
            #expect(try await near.reader.readLine() == nil)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B15: unread more than any block holds, and it is all there`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            try await far.say(TestBytes.make(from: 200_000, count: 100))
            _ = try await near.reader.peek(100)
            for start in stride(from: 150_000, through: 0, by: -50_000) {
                near.reader.unread(TestBytes.make(from: start, count: 50_000))
            }
            #expect(near.reader.buffered == 200_100)
            #expect(TestBytes.match(try await near.reader.readExactly(200_100), from: 0))
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B15: a reader reads ahead at most two receives`(_ kind: PairKind) async throws {
        try await withPair(kind) { near, far in
            let sending = EventLoop.current!.spawn {
                for _ in 0..<64 {
                    try await far.writer.send(bytes("line\n") + TestBytes.make(count: 9_000))
                }
            }
            #expect(try await near.reader.readLine() == bytes("line\n"))
            for _ in 0..<4 {
                await settle()
                #expect(near.reader.buffered <= 2 * 65_536)
            }
            #expect(try await near.reader.skip(64 * 9_005 - 5) == 64 * 9_005 - 5)
            try await sending.value
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B16: a reader that does not read stalls its peer, and holds nothing`(
        _ kind: PairKind
    ) async throws {
        try await withCloggedPair(kind) { near, far, queued in
            #expect(far.reader.buffered == 0)
            let draining = await started { try await near.writer.drain() }
            await settle()
            #expect(far.reader.buffered == 0)
            #expect(near.writer.bytesQueued > 4_096)
            #expect(TestBytes.match(try await far.reader.readExactly(queued), from: 0))
            try await draining.value
        }
    }
}
