// Streams and their loop: other tasks run during long reads, and when the loop stops nobody waits
// on.

import Sluice
import SluiceTestKit
import Synchronization
import Testing

@Suite struct LoopEndTests {
    /// Runs `body` and returns how many turns another task of the loop had meanwhile.
    private func turnsBeside(_ body: () async throws -> Void) async throws -> Int {
        let isOver = Handover<Bool>()
        let other = await started {
            var turns = 0
            while !isOver.hasValue {
                turns += 1
                await EventLoop.yield()
            }
            return turns
        }
        try await body()
        isOver.give(true)
        return try await other.value
    }

    /// All bytes are there already, so nothing in the read itself would ever suspend.
    @Test func `B42: one long read lets the loop's other tasks run`() async throws {
        try await withLoop { _ in
            let count = 32 << 20
            var options = StreamOptions()
            options.outputCap = 2 * count
            let pair = try await makeMemoryPair(capacity: 2 * count, options: options)
            let (near, far) = (StreamEnd(pair.0), StreamEnd(pair.1))
            try await releasing(near, far) {
                try near.writer.write(Array(repeating: 0, count: count))
                try near.writer.write([1])
                try await near.writer.flush()
                let turns = try await turnsBeside {
                    let isFound = try await far.reader.skip(through: [1])
                    #expect(isFound)
                }
                // 512 receives; 64 results in a row is the loop's measure of fairness.
                #expect(turns >= 8)
            }
        }
    }

    @Test(arguments: ["readLine", "withLine", "withAvailable", "drain", "send", "flush"])
    func `B42: a tight loop of calls that need not wait lets the others run`(
        _ call: String
    ) async throws {
        try await withLoop { _ in
            let pair = try await makeMemoryPair(capacity: 1 << 20)
            let (near, far) = (StreamEnd(pair.0), StreamEnd(pair.1))
            try await releasing(near, far) {
                try near.writer.write(Array(repeating: 10, count: 2_000))
                try await near.writer.flush()
                let turns = try await turnsBeside {
                    for _ in 0..<2_000 {
                        switch call {
                        case "readLine": _ = try await far.reader.readLine()
                        case "withLine": _ = try await far.reader.withLine { $0.byteCount }
                        case "withAvailable":
                            _ = try await far.reader.withAvailable(upTo: 1) { $0.byteCount }
                        case "drain": try await near.writer.drain()
                        case "send": try await near.writer.send("x")
                        default:
                            try near.writer.write("x")
                            try await near.writer.flush()
                        }
                    }
                }
                #expect(turns >= 2_000 / 64 / 2)
            }
        }
    }

    @Test(arguments: PairKind.allCases)
    func `a read of buffered bytes succeeds though its deadline has passed`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            try await far.say("line\nmore")
            _ = try await near.reader.peek(9)
            try await withTimeout(.zero) {
                let line = try await near.reader.readLine()
                #expect(line == bytes("line\n"))
                await #expect(throws: StreamError.timedOut) { try await near.reader.readLine() }
            }
            #expect(near.reader.buffered == 4)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `stopping the loop ends every wait on its streams`(_ kind: PairKind) async throws {
        let loop = try EventLoop.start()
        let ends = try await loop.spawn { try await kind.makeCloggedPair() }.value
        let reading = loop.spawn { _ = try await ends.near.reader.readLine() }
        let flushing = loop.spawn { try await ends.near.writer.flush() }
        let draining = loop.spawn { try await ends.near.writer.drain() }
        let waiting = loop.spawn { try await ends.near.writer.waitClosed() }
        try await loop.spawn { await settle() }.value
        try await withDeadline(.seconds(10)) {
            await loop.stop()
            for task in [reading, flushing, draining] {
                await #expect(throws: StreamError.reactor(.stopped)) { try await task.value }
            }
            try await waiting.value
        }
    }

    @Test(arguments: PairKind.allCases)
    func `calls made after the loop stopped end with an error`(_ kind: PairKind) async throws {
        let loop = try EventLoop.start()
        let (near, _) = try await loop.spawn { try await kind.makePair() }.value
        await loop.stop()
        try await withDeadline(.seconds(20)) {
            await #expect(throws: StreamError.self) { try await near.reader.readLine() }
            await #expect(throws: StreamError.self) { try await near.writer.send("x") }
            await near.writer.close()
        }
    }
}
