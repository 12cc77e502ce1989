// What a review broke in single streams: bytes behind urgent data, ends that looked clean or
// broken and were not, shares of a turn, queues that grew.

import Glibc
import Sluice
import SluiceReactor
import SluiceStreams
import SluiceTestKit
import Testing

/// How a test takes one byte.
private enum SmallRead: String, CaseIterable, CustomTestStringConvertible {
    case readUntil
    case peek
    case skip
    case readExactly

    var testDescription: String { rawValue }

    func perform(_ reader: StreamReader) async throws {
        switch self {
        case .readUntil: _ = try await reader.readUntil([0x3B])
        case .peek: _ = try await reader.peek(1)
        case .skip: _ = try await reader.skip(1)
        case .readExactly: _ = try await reader.readExactly(1)
        }
    }
}

@Suite struct RegressionReadTests {
    /// recv(2) stops at the urgent mark with a short count, and no further edge comes for what is
    /// behind it.
    @Test func `bytes behind urgent data are read`() async throws {
        let received = Shared<[UInt8]>([])
        try await withLoop { _ in
            let server = try await startServer(port: 0) { reader, _ in
                while let piece = try await reader.read() { received.withLock { $0 += piece } }
            }
            let client = try await server.connect()
            let descriptor = try await client.writer.detach().descriptor
            #expect(send(descriptor, "abc", 3, 0) == 3)
            #expect(send(descriptor, "X", 1, Int32(MSG_OOB)) == 1)
            #expect(send(descriptor, "def\n", 4, 0) == 4)
            try? await waitUntil { received.value.count == 7 }
            #expect(received.value == bytes("abcdef\n"))
            close(descriptor)
            await server.shutdown(grace: .seconds(1))
        }
    }

    @Test func `a close before the reader runs is no clean end, in memory neither`() async throws {
        try await withPair(.memory) { near, far in
            let reading = await started { try await near.reader.readToEnd() }
            try far.writer.write("abc")
            try far.writer.finishWriting()
            try await far.writer.flush()
            near.writer.startClosing()
            await #expect(throws: StreamError.closed) { try await reading.value }
        }
    }

    /// The peer's end came in order; that it was gone when we answered is the writer's affair.
    @Test func `a clean end stays clean after an answer that could not be sent`() async throws {
        try await withPair(.tcp) { near, far in
            try await far.say("hello\n")
            await far.writer.close(within: .milliseconds(1))
            try await waitUntil("answers fail") {
                do {
                    try near.writer.write("answer")
                    try await near.writer.flush()
                    return false
                } catch {
                    return true
                }
            }
            #expect(try await near.reader.readLine() == bytes("hello\n"))
            #expect(try await near.reader.readLine() == nil)
        }
    }

    @Test(arguments: SmallRead.allCases)
    fileprivate func `results in a row let the loop's other tasks run, whichever the call`(
        _ call: SmallRead
    ) async throws {
        try await withPair(.memory) { near, far in
            try await far.say(String(repeating: "x;", count: 2_000))
            #expect(try await near.reader.hasMore())
            let isOver = Shared(false)
            let other = await started {
                var turns = 0
                while !isOver.value {
                    turns += 1
                    await EventLoop.yield()
                }
                return turns
            }
            // What `started` and the end below give the other task anyway is less than ten turns.
            for _ in 0..<1_920 { try await call.perform(near.reader) }
            isOver.set(true)
            #expect(try await other.value >= 25)
        }
    }

    @Test func `one read of any size keeps to the connection's share of a turn`() async throws {
        try await withLoop { _ in
            var options = StreamOptions()
            options.outputCap = 4 << 20
            let pair = try await makeMemoryPair(capacity: 4 << 20, options: options)
            let (near, far) = (StreamEnd(pair.0), StreamEnd(pair.1))
            try await releasing(near, far) {
                let total = 2 << 20
                try near.writer.write(TestBytes.make(count: total))
                try await near.writer.flush()
                var received = 0
                while received < total {
                    await settle()
                    let piece = try #require(try await far.reader.read(upTo: .max))
                    #expect(piece.count <= 256 << 10)
                    #expect(TestBytes.match(piece, from: received))
                    received += piece.count
                }
            }
        }
    }
}

@Suite struct RegressionWriteTests {
    @Test func `a queue that is never quite empty drops its spent pieces`() throws {
        var pool = BlockPool()
        var queue = OutputQueue()
        let array = Array(repeating: UInt8(1), count: 5_000)
        for _ in 0..<4 { queue.append(referencing: array) }
        queue.consume(1, pool: &pool)
        for _ in 0..<10_000 {
            queue.append(referencing: array)
            queue.consume(array.count, pool: &pool)
        }
        let stored = Mirror(reflecting: queue).children.first { $0.label == "pieces" }
        let pieces = Mirror(reflecting: try #require(stored).value).children
        #expect(pieces.count < 1_000)
        #expect(queue.count == 4 * array.count - 1)
        queue.removeAll(to: &pool)
        pool.deallocate()
    }

    @Test func `the kernel keeps an accepted connection alive`() async throws {
        try await withPair(.tcp) { _, accepted in
            let isAlive = try accepted.writer.socketOption(level: SOL_SOCKET, name: SO_KEEPALIVE)
            #expect(isAlive == 1)
        }
    }

    @Test func `a drain is released when the marks rise above what is queued`() async throws {
        try await withCloggedPair(.memory) { near, _, _ in
            let draining = await started { try await near.writer.drain() }
            near.writer.setWriteMarks(high: 1 << 20, low: 1 << 20)
            try await withDeadline(.seconds(10)) { try await draining.value }
            #expect(near.writer.bytesQueued > 0)
        }
    }
}
