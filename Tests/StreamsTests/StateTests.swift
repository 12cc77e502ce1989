// B51, B52 and descriptions: what a stream tells about itself. B5's refused options.

import Glibc
import Sluice
import SluiceTestKit
import Testing

@Suite struct StateTests {
    @Test func `B51: addresses are those of the connection, and valid after close`() async throws {
        try await withPair(.tcp) { near, far in
            let there = near.writer.remoteAddress
            let here = near.writer.localAddress
            #expect(there?.host == "127.0.0.1")
            #expect(here?.host == "127.0.0.1")
            #expect(there == far.writer.localAddress)
            #expect(here == far.writer.remoteAddress)
            async let closed: Void = near.writer.close()
            await far.writer.close()
            await closed
            #expect(near.writer.remoteAddress == there)
            #expect(near.writer.localAddress == here)
            #expect(far.writer.remoteAddress == here)
            #expect(far.writer.localAddress == there)
        }
    }

    @Test func `B51: addresses never asked for are there after close as well`() async throws {
        try await withPair(.tcp) { near, far in
            async let closed: Void = near.writer.close()
            await far.writer.close()
            await closed
            #expect(near.writer.localAddress == far.writer.remoteAddress)
            #expect(far.writer.localAddress == near.writer.remoteAddress)
            #expect((near.writer.localAddress?.port ?? 0) > 0)
        }
    }

    @Test func `B51: socket options are typed calls; no delay is on at both ends`() async throws {
        try await withPair(.tcp) { near, far in
            for writer in [near.writer, far.writer] {
                #expect(try writer.socketOption(level: Int32(IPPROTO_TCP), name: TCP_NODELAY) != 0)
            }
            let before = try near.writer.socketOption(level: SOL_SOCKET, name: SO_KEEPALIVE)
            try near.writer.setSocketOption(
                level: SOL_SOCKET, name: SO_KEEPALIVE, value: before == 0 ? 1 : 0)
            let after = try near.writer.socketOption(level: SOL_SOCKET, name: SO_KEEPALIVE)
            #expect((after == 0) != (before == 0))
            #expect(throws: StreamError.self) {
                try near.writer.socketOption(level: 12_345, name: 12_345)
            }
            await near.writer.abort()
            #expect(throws: StreamError.self) {
                try near.writer.socketOption(level: SOL_SOCKET, name: SO_KEEPALIVE)
            }
        }
    }

    @Test(arguments: PairKind.allCases)
    func `the end can be said once, and a reset is known before its error is read`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            #expect(far.writer.canFinishWriting && near.reader.failure == nil)
            try await far.say("last words")
            #expect(try await near.reader.peek(4) == bytes("last"))
            try await far.finish()
            #expect(!far.writer.canFinishWriting && near.writer.canFinishWriting)
            await far.writer.abort()
            try await waitUntil {
                try? near.writer.write("into the void")
                return near.reader.failure != nil || !near.writer.canFinishWriting
            }
            #expect(!near.writer.canFinishWriting)
            await near.writer.abort()
            #expect(near.reader.failure == .aborted || near.reader.failure?.isReset == true)
        }
    }

    @Test func `B51: a memory stream has no address and no socket`() async throws {
        try await withPair(.memory) { near, _ in
            #expect(near.writer.remoteAddress == nil)
            #expect(near.writer.localAddress == nil)
            #expect(throws: StreamError.system(SystemError(call: "getsockopt", errno: ENOTSOCK))) {
                try near.writer.socketOption(level: SOL_SOCKET, name: SO_KEEPALIVE)
            }
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B52: the counters count what went over the wire`(_ kind: PairKind) async throws {
        try await withPair(kind) { near, far in
            #expect(near.writer.bytesSent == 0)
            #expect(far.reader.bytesReceived == 0)
            async let sent: Void = near.writer.send(TestBytes.make(count: 100_000))
            _ = try await far.reader.readExactly(100_000)
            try await sent
            try await near.writer.flush()
            #expect(near.writer.bytesSent == 100_000)
            #expect(far.reader.bytesReceived == 100_000)
            far.reader.unread([1, 2, 3])
            #expect(far.reader.bytesReceived == 100_000)
            await near.writer.abort()
            #expect(near.writer.bytesSent == 100_000)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `B52: the close reason is nil while open, then says who ended it`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            #expect(near.writer.closeReason == nil)
            async let closed: Void = near.writer.close()
            await far.writer.close()
            await closed
            #expect(near.writer.closeReason == .closed)
        }
        try await withPair(kind) { near, far in
            await near.writer.abort()
            while let _ = try? await far.reader.read() {}
            #expect(near.writer.closeReason == .aborted)
            guard case .reset? = far.writer.closeReason else {
                Issue.record("\(String(describing: far.writer.closeReason))")
                return
            }
        }
    }

    @Test(arguments: PairKind.allCases)
    func `test___repr__: descriptions show what is buffered, queued, waiting and over`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            if kind == .tcp {
                let peer = try #require(near.writer.remoteAddress).description
                #expect(near.reader.description.contains(peer))
                #expect(near.writer.description.contains(peer))
            }
            try await far.say("abc")
            _ = try await near.reader.peek(3)
            #expect(near.reader.description.contains("3 bytes buffered"))
            let reading = await started { try await near.reader.readExactly(4) }
            #expect(near.reader.description.contains("waiting"))
            try near.writer.write("12345")
            #expect(near.writer.description.contains("5 bytes queued"))
            try near.writer.finishWriting()
            #expect(near.writer.description.contains("finished"))
            try await far.finish()
            await #expect(throws: StreamError.self) { try await reading.value }
            #expect(near.reader.description.contains("ended"))
            await near.writer.abort()
            #expect(near.writer.description.contains("closed"))
        }
    }

    @Test func `errors are plain words with their numbers`() {
        let truncated = StreamError.truncated(
            received: Array(repeating: 0, count: 18), expected: 36)
        #expect("\(truncated)" == "the stream ended after 18 of 36 bytes")
        let open = StreamError.truncated(received: [1], expected: nil)
        #expect("\(open)".contains("after 1 of an unknown number"))
        let limit = StreamError.limitExceeded(limit: 8, scanned: 9, separatorFound: true)
        #expect("\(limit)".contains("limit of 8 bytes"))
        #expect("\(StreamError.reset(errno: ECONNRESET))".contains("Connection reset by peer"))
        #expect("\(StreamError.outputFull(queued: 77))".contains("77"))
    }

    @Test func `test_invalid_limit: an option out of range is refused at the start`() async throws {
        let changes: [(String, @Sendable (inout StreamOptions) -> Void)] = [
            ("limit", { $0.limit = 0 }),
            ("limit", { $0.limit = -1 }),
            ("highWaterMark", { $0.highWaterMark = -1 }),
            ("lowWaterMark", { $0.lowWaterMark = 65_537 }),
            ("lowWaterMark", { $0.lowWaterMark = -1 }),
            ("outputCap", { $0.outputCap = 65_535 }),
            ("outputCap", { $0.outputCap = .max }),
            ("writeStallTimeout", { $0.writeStallTimeout = .zero }),
            ("closeTimeout", { $0.closeTimeout = .seconds(-1) }),
        ]
        try await withLoop(faults: FaultTable()) { _ in
            for (name, change) in changes {
                var options = StreamOptions()
                change(&options)
                var serverOptions = ServerOptions()
                serverOptions.stream = options
                await expectRefused(name) { [options] in
                    _ = try await makeMemoryPair(options: options)
                }
                await expectRefused(name) { [options] in
                    _ = try await openConnection(host: "127.0.0.1", port: 1, options: options)
                }
                await expectRefused(name) { [serverOptions] in
                    _ = try await startServer(port: 0, options: serverOptions) {
                        (_: StreamReader, _: StreamWriter) async throws -> Void in
                    }
                }
            }
        }
    }
}

private func expectRefused(
    _ name: String, sourceLocation: SourceLocation = #_sourceLocation,
    _ body: () async throws -> Void
) async {
    do {
        try await body()
        Issue.record("\(name) was accepted", sourceLocation: sourceLocation)
    } catch StreamError.invalidOption(let given, _) {
        #expect(given == name, sourceLocation: sourceLocation)
    } catch {
        Issue.record(error, sourceLocation: sourceLocation)
    }
}

extension StreamError {
    fileprivate var isReset: Bool { if case .reset = self { true } else { false } }
}
