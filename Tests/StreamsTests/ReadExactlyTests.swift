// B2: `readExactly`. Both kinds of pair.

import Sluice
import SluiceTestKit
import Testing

@Suite struct ReadExactlyTests {
    @Test(arguments: PairKind.allCases)
    func `B2: test_readexactly: it waits over several arrivals and keeps the surplus`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            let reading = await started { try await near.reader.readExactly(15) }
            for _ in 0..<3 { try await far.say("line\nl") }
            #expect(try await reading.value == bytes("line\nlline\nllin"))
            #expect(try await near.reader.readExactly(3) == bytes("e\nl"))
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B2: test_readexactly_eof: an early end throws what came and empties the buffer`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            let reading = await started { try await near.reader.readExactly(36) }
            try await far.say("eighteen bytes, so")
            try await far.finish()
            let error = StreamError.truncated(
                received: bytes("eighteen bytes, so"), expected: 36)
            await #expect(throws: error) { try await reading.value }
            #expect(near.reader.buffered == 0)
            #expect(near.reader.atEOF)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B2: test_readexactly_zero: zero bytes come at once, also at the end`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            #expect(try await near.reader.readExactly(0) == [])
            try await far.say("x")
            #expect(try await near.reader.readExactly(0) == [])
            try await far.finish()
            #expect(try await near.reader.read() == bytes("x"))
            #expect(try await near.reader.readExactly(0) == [])
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B2: test_readexactly_limit: it ignores the line limit`(_ kind: PairKind) async throws {
        var options = StreamOptions()
        options.limit = 3
        try await withPair(kind, options: options) { near, far in
            try await far.say("chunk")
            #expect(try await near.reader.readExactly(5) == bytes("chunk"))
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B2: a count beyond every buffer is read whole`(_ kind: PairKind) async throws {
        try await withPair(kind) { near, far in
            let count = 1 << 20
            async let sent: Void = far.writer.send(TestBytes.make(count: count - 1))
            let reading = await started { try await near.reader.readExactly(count) }
            try await sent
            try await far.say("!")
            let all = try await reading.value
            #expect(all.count == count)
            #expect(all.last == UInt8(ascii: "!"))
            #expect(TestBytes.match(all.dropLast(), from: 0))
        }
    }

    @Test(arguments: PairKind.allCases)
    func `a frame cut off at every offset is truncated, never a clean end`(
        _ kind: PairKind
    ) async throws {
        let frame = bytes("\u{0}\u{5}hello")
        for cut in 1..<frame.count {
            try await withPair(kind) { near, far in
                try await far.say(Array(frame.prefix(cut)))
                try await far.finish()
                let head = min(cut, 2)
                if cut >= 2 { #expect(try await near.reader.readExactly(2) == [0, 5]) }
                let received = Array(frame.prefix(cut).dropFirst(cut >= 2 ? 2 : 0))
                let error = StreamError.truncated(
                    received: received, expected: head == 2 ? 5 : 2)
                await #expect(throws: error) {
                    try await near.reader.readExactly(head == 2 ? 5 : 2)
                }
            }
        }
    }
}
