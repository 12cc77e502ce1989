// B28 and row 49: `finishWriting`, the end of one direction. Both kinds of pair.

import Sluice
import SluiceTestKit
import Testing

@Suite struct HalfCloseTests {
    @Test(arguments: PairKind.allCases)
    func `B28: the end comes after queued data, and reading goes on`(
        _ kind: PairKind
    ) async throws {
        try await withCloggedPair(kind) { near, far, queued in
            try near.writer.finishWriting()
            try near.writer.finishWriting()
            try await far.writer.send("still here\n")
            #expect(try await near.reader.readLine() == bytes("still here\n"))
            let all = try await far.reader.readToEnd()
            #expect(all.count == queued)
            #expect(TestBytes.match(all, from: 0))
            try await far.writer.send("and here\n")
            #expect(try await near.reader.readLine() == bytes("and here\n"))
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B28: drain and flush after finishWriting wait for the rest and succeed`(
        _ kind: PairKind
    ) async throws {
        try await withCloggedPair(kind) { near, far, queued in
            try near.writer.finishWriting()
            let draining = await started { try await near.writer.drain() }
            let flushing = await started { try await near.writer.flush() }
            #expect(try await far.reader.readToEnd().count == queued)
            try await draining.value
            try await flushing.value
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B28: after the peer's end this side still writes as long as it likes`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            try await far.finish()
            #expect(try await near.reader.read() == nil)
            #expect(!near.writer.isClosing)
            async let sent: Void = sendPieces(near.writer, count: 300_000, seed: 3)
            #expect(try await receivePieces(far.reader, seed: 4) == 300_000)
            try await sent
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B28: both ends finish, and closing is then immediate`(_ kind: PairKind) async throws {
        try await withPair(kind) { near, far in
            try near.writer.finishWriting()
            try far.writer.finishWriting()
            #expect(try await near.reader.read() == nil)
            #expect(try await far.reader.read() == nil)
            await near.writer.close()
            await far.writer.close()
            #expect(near.writer.closeReason == .closed)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B28: finishing with nothing written is an end at once`(_ kind: PairKind) async throws {
        try await withPair(kind) { near, far in
            let reading = await started { try await far.reader.read() }
            try near.writer.finishWriting()
            #expect(try await reading.value == nil)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B28: what is written in the turn of finishWriting comes before the end`(
        _ kind: PairKind
    ) async throws {
        for round in 0..<20 {
            try await withPair(kind) { near, far in
                for line in 0..<30 { try near.writer.write("line \(line)\n") }
                if round % 2 == 0 { await EventLoop.yield() }
                try near.writer.finishWriting()
                var count = 0
                for try await line in far.reader.lines {
                    #expect(line == bytes("line \(count)"))
                    count += 1
                }
                #expect(count == 30)
            }
        }
    }
}
