// StreamBridge: a stream over somebody else's callbacks, fed by hand.

import Glibc
import Sluice
import SluiceTestKit
import Testing

/// What a source was asked, and how much it takes.
private struct Asked: Sendable {
    var sent: [UInt8] = []
    var room = Int.max
    var events: [String] = []
}

/// Runs the body with a bridge whose source keeps what it is asked; aborts it afterwards.
private func withBridge(
    limit: Int = 65_536, sourceLocation: SourceLocation = #_sourceLocation,
    _ body: @escaping @Sendable (StreamBridge, Shared<Asked>) async throws -> Void
) async throws {
    try await withLoop(sourceLocation: sourceLocation) { loop in
        let asked = Shared(Asked())
        let note: @Sendable (String) -> Void = { event in
            asked.withLock { $0.events.append(event) }
        }
        let source = StreamBridgeSource(
            send: { span in
                asked.withLock { asked in
                    let taken = min(span.byteCount, asked.room)
                    asked.sent += span.withUnsafeBytes { Array($0.prefix(taken)) }
                    asked.room -= asked.room == .max ? 0 : taken
                    return taken
                }
            },
            sendEnd: { note("end") },
            close: { note($0 ? "abort" : "close") },
            pauseReading: { note("pause") }, resumeReading: { note("resume") })
        var options = StreamOptions()
        options.limit = limit
        let bridge = try StreamBridge(on: loop, source: source, options: options)
        let result: Result<Void, any Error>
        do { result = .success(try await body(bridge, asked)) } catch { result = .failure(error) }
        await bridge.writer.abort()
        try result.get()
    }
}

@Suite struct BridgeTests {
    @Test func `bytes fed by hand are read, whether they came before or during the read`()
        async throws
    {
        try await withBridge { bridge, _ in
            bridge.receive(bytes("be"))
            bridge.receive(bytes("fore\nand af"))
            let before = try await bridge.reader.readLine()
            #expect(before == bytes("before\n"))
            let reading = await started { try await bridge.reader.readLine() }
            bridge.receive([])
            bridge.receive(bytes("ter\n").span.bytes)
            let after = try await reading.value
            #expect(after == bytes("and after\n"))
        }
    }

    @Test func `the end comes behind the bytes fed before it, and writing goes on`()
        async throws
    {
        try await withBridge { bridge, asked in
            bridge.receive(bytes("all"))
            bridge.receiveEnd()
            bridge.receive(bytes("too late"))
            #expect(try await bridge.reader.readToEnd() == bytes("all"))
            #expect(bridge.reader.atEOF)
            try await bridge.writer.send("answer")
            try await bridge.writer.flush()
            #expect(asked.value.sent == bytes("answer"))
        }
    }

    @Test func `a reader is fed by hand without any source, and nothing can be written`()
        async throws
    {
        try await withLoop { loop in
            let bridge = try StreamBridge(on: loop)
            let reading = await started { try await bridge.reader.readExactly(4) }
            bridge.receive(bytes("ab"))
            bridge.receive(bytes("cde"))
            let four = try await reading.value
            #expect(four == bytes("abcd"))
            #expect(throws: StreamError.closed) { try bridge.writer.write("x") }
            await #expect(throws: StreamError.closed) { try await bridge.writer.send("x") }
            bridge.connectionLost(errno: EIO)
            let last = try await bridge.reader.read()
            #expect(last == bytes("e"))
            for _ in 0..<2 {
                await #expect(throws: StreamError.reset(errno: EIO)) {
                    try await bridge.reader.read()
                }
            }
        }
    }

    @Test func `closing a reader fed by hand needs no end from anybody`() async throws {
        try await withLoop { loop in
            let bridge = try StreamBridge(on: loop)
            bridge.receive(bytes("unread"))
            await bridge.writer.close()
            await #expect(throws: StreamError.closed) { try await bridge.reader.read() }
        }
    }

    @Test func `an end ends a read that waits`() async throws {
        try await withBridge { bridge, _ in
            let reading = await started { try await bridge.reader.read() }
            bridge.receiveEnd()
            let end = try await reading.value
            #expect(end == nil)
        }
    }

    @Test func `a loss is thrown behind the bytes fed before it, and by writes`() async throws {
        try await withBridge { bridge, _ in
            bridge.receive(bytes("all"))
            bridge.connectionLost(errno: ECONNRESET)
            let error = StreamError.reset(errno: ECONNRESET)
            let all = try await bridge.reader.readExactly(3)
            #expect(all == bytes("all"))
            await #expect(throws: error) { try await bridge.reader.read() }
            await #expect(throws: error) { try await bridge.writer.send("x") }
        }
    }

    @Test func `a loss ends a read that waits and a flush that waits`() async throws {
        try await withBridge { bridge, asked in
            asked.withLock { $0.room = 0 }
            try bridge.writer.write("stuck")
            let flushing = await started { try await bridge.writer.flush() }
            let reading = await started { try await bridge.reader.read() }
            bridge.connectionLost(errno: EPIPE)
            await #expect(throws: StreamError.reset(errno: EPIPE)) { try await flushing.value }
            await #expect(throws: StreamError.reset(errno: EPIPE)) { try await reading.value }
        }
    }

    @Test func `a loss without an error is the end to reads`() async throws {
        try await withBridge { bridge, _ in
            bridge.receive(bytes("all"))
            bridge.connectionLost()
            let all = try await bridge.reader.readToEnd()
            #expect(all == bytes("all"))
            await #expect(throws: StreamError.reset(errno: EPIPE)) {
                try await bridge.writer.send("x")
                try await bridge.writer.flush()
            }
        }
    }

    @Test func `over twice the limit the source is paused once, and resumed once it is read`()
        async throws
    {
        try await withBridge(limit: 1_000) { bridge, asked in
            bridge.receive(TestBytes.make(count: 2_000))
            #expect(asked.value.events == [])
            for start in 2_000..<2_003 {
                bridge.receive(TestBytes.make(from: start, count: 1))
            }
            #expect(asked.value.events == ["pause"])
            let all = try await bridge.reader.readExactly(2_003)
            #expect(TestBytes.match(all, from: 0))
            #expect(asked.value.events == ["pause", "resume"])
            bridge.receive([1])
            #expect(asked.value.events == ["pause", "resume"])
        }
    }

    @Test func `a source that takes part is full until it says otherwise`() async throws {
        try await withBridge { bridge, asked in
            asked.withLock { $0.room = 4 }
            try bridge.writer.write("123456789")
            let flushing = await started { try await bridge.writer.flush() }
            #expect(asked.value.sent == bytes("1234"))
            #expect(bridge.writer.bytesQueued == 5)
            asked.withLock { $0.room = .max }
            await settle()
            #expect(asked.value.sent == bytes("1234"))
            bridge.resumeWriting()
            try await flushing.value
            #expect(asked.value.sent == bytes("123456789"))
        }
    }

    @Test func `a paused source is given nothing until it resumes`() async throws {
        try await withBridge { bridge, asked in
            bridge.pauseWriting()
            try bridge.writer.write("waits")
            let flushing = await started { try await bridge.writer.flush() }
            #expect(asked.value.sent == [])
            bridge.resumeWriting()
            try await flushing.value
            #expect(asked.value.sent == bytes("waits"))
        }
    }

    @Test func `the end is said after everything sent, and close is asked once`() async throws {
        try await withBridge { bridge, asked in
            try bridge.writer.write("bye")
            try bridge.writer.finishWriting()
            try await bridge.writer.flush()
            #expect(asked.value.sent == bytes("bye"))
            #expect(asked.value.events == ["end"])
            bridge.receiveEnd()
            await bridge.writer.close()
            await bridge.writer.abort()
            #expect(asked.value.events == ["end", "close"])
            bridge.receive([1])
            bridge.receiveEnd()
            bridge.connectionLost(errno: EPIPE)
            #expect(asked.value.events == ["end", "close"])
        }
    }

    @Test func `an abort tells the source that bytes were lost`() async throws {
        try await withBridge { bridge, asked in
            await bridge.writer.abort()
            #expect(asked.value.events == ["abort"])
            #expect(throws: StreamError.aborted) { try bridge.writer.write("x") }
        }
    }
}
