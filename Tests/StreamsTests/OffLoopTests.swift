// Streams used from elsewhere than their loop: async calls hop there and do the right thing, sync
// calls stop the program and name their async twin.

import Sluice
import SluiceTestKit
import Testing

@Suite struct OffLoopTests {
    @Test(arguments: PairKind.allCases)
    func `every async call works from a plain task`(_ kind: PairKind) async throws {
        try await withPair(kind) { near, far in
            let plain = Task.detached {
                #expect(EventLoop.current == nil)
                try await near.writer.send("line\n")
                try await near.writer.send(bytes("ab"))
                try await near.writer.send(contentsOf: [bytes("c"), bytes("d;rest")])
                try await near.writer.drain()
                try await near.writer.flush()
                #expect(EventLoop.current == nil)
                #expect(try await far.reader.hasMore())
                #expect(try await far.reader.peek(2) == bytes("li"))
                #expect(try await far.reader.readLine() == bytes("line\n"))
                #expect(try await far.reader.readExactly(2) == bytes("ab"))
                #expect(try await far.reader.readUntil(bytes(";")) == bytes("cd;"))
                #expect(try await far.reader.skip(1) == 1)
                #expect(try await far.reader.skip(through: bytes("s")))
                #expect(try await far.reader.read() == bytes("t"))
                async let farClosed: Void = far.writer.close()
                await near.writer.close()
                await farClosed
                try await near.writer.waitClosed()
                await near.writer.abort()
            }
            try await plain.value
        }
    }

    @Test(arguments: PairKind.allCases)
    func `lines and readToEnd work from a plain task`(_ kind: PairKind) async throws {
        try await withPair(kind) { near, far in
            let reading = Task.detached {
                var lines: [[UInt8]] = []
                for try await line in near.reader.lines {
                    lines.append(line)
                    if line == bytes("stop") { break }
                }
                return (lines, try await near.reader.readToEnd())
            }
            for text in ["one\n", "two\nst", "op\nre", "st"] { try await far.say(text) }
            try await far.finish()
            let (lines, rest) = try await reading.value
            #expect(lines == ["one", "two", "stop"].map(bytes))
            #expect(rest == bytes("rest"))
        }
    }

    @Test(arguments: PairKind.allCases)
    func `cancellation and timeouts reach a read made off the loop, and lose nothing`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            try await far.say("ab")
            let timedOut = Task.detached {
                try await withTimeout(.milliseconds(2)) { try await near.reader.readLine() }
            }
            await #expect(throws: StreamError.timedOut) { try await timedOut.value }
            let reading = Task.detached { try await near.reader.readLine() }
            try await eventually("it waits") { near.reader.description.contains("waiting") }
            reading.cancel()
            await #expect(throws: StreamError.cancelled) { try await reading.value }
            try await far.say("c\n")
            #expect(try await near.reader.readLine() == bytes("abc\n"))
        }
    }

    @Test func `without a loop, pairs, servers and connections use the background one`()
        async throws
    {
        try await withDeadline {
            #expect(EventLoop.current == nil)
            let server = try await startServer(port: 0) { reader, writer in
                while let line = try await reader.readLine() { try await writer.send(line) }
            }
            #expect(server.loop === EventLoop.background)
            let (reader, writer) = try await openConnection(host: "127.0.0.1", port: server.port)
            try await writer.send("echo\n")
            #expect(try await reader.readLine() == bytes("echo\n"))
            await writer.close()
            await server.close()
            try await server.waitClosed()
            let (near, far) = try await makeMemoryPair()
            #expect(near.reader.loop === EventLoop.background)
            try await near.writer.send("x")
            #expect(try await far.reader.read() == bytes("x"))
            await near.writer.abort()
        }
    }

    @Test func `a write off the loop stops the program and names send`() async throws {
        let result = await #expect(
            processExitsWith: .failure, observing: [\.standardErrorContent]
        ) {
            let (near, _) = try await makeMemoryPair()
            try near.writer.write("x")
        }
        let text = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
        #expect(text.contains("off its loop"), "\(text)")
        #expect(text.contains("send"))
    }

    @Test func `buffered off the loop stops the program and names peek`() async throws {
        let result = await #expect(
            processExitsWith: .failure, observing: [\.standardErrorContent]
        ) {
            let (near, _) = try await makeMemoryPair()
            _ = near.reader.buffered
        }
        let text = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
        #expect(text.contains("off its loop"), "\(text)")
        #expect(text.contains("peek"))
    }
}
