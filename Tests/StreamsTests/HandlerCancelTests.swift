// B30: a server that shuts down gets each handler out of whatever it waits in, and out of nothing
// else before. The handler's own task waits in a cheaper way than others, so every wait is tried
// here.

import Sluice
import SluiceTestKit
import Testing

/// What a handler may be waiting in when its task is cancelled.
enum HandlerWait: String, CaseIterable, CustomTestStringConvertible {
    case readLine, read, readExactly, hasMore, withLine, lines, drain, flush, waitClosed, sleep
    case otherReader, childTask, taskGroup, timeout, cancellingTimeout

    var testDescription: String { rawValue }

    func perform(_ end: StreamEnd) async throws {
        switch self {
        case .readLine: _ = try await end.reader.readLine()
        case .read:
            _ = try await end.reader.read()
            _ = try await end.reader.read()
        case .readExactly: _ = try await end.reader.readExactly(100)
        case .hasMore:
            _ = try await end.reader.read()
            _ = try await end.reader.hasMore()
        case .withLine: _ = try await end.reader.withLine { $0.byteCount }
        case .lines: for try await _ in end.reader.lines {}
        case .drain: while true { try await end.writer.send(TestBytes.make(count: 50_000)) }
        case .flush:
            while true {
                try end.writer.write(TestBytes.make(count: 65_536))
                try await end.writer.flush()
            }
        case .waitClosed: try await end.writer.waitClosed()
        case .sleep: try await SluiceReactor.sleep(for: .seconds(600))
        case .otherReader:
            let (near, far) = try await PairKind.memory.makePair()
            defer { far.writer.startAborting() }
            _ = try await near.reader.read()
        case .childTask:
            async let line = end.reader.readLine()
            _ = try await line
        case .taskGroup:
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { _ = try await end.reader.readLine() }
                group.addTask { try await SluiceReactor.sleep(for: .seconds(600)) }
                try await group.waitForAll()
            }
        case .timeout:
            try await withTimeout(.seconds(600)) { _ = try await end.reader.readLine() }
        case .cancellingTimeout:
            try await withTimeout(cancelling: .seconds(600)) { _ = try await end.reader.readLine() }
        }
    }
}

@Suite struct HandlerCancelTests {
    @Test(arguments: HandlerWait.allCases)
    func `B30: shutdown cancels a handler out of every wait, unreported, nothing left`(
        _ wait: HandlerWait
    ) async throws {
        try await withLoop(faults: FaultTable()) { _ in
            var options = ServerOptions()
            options.report = { Issue.record("reported: \($0)") }
            let hasBegun = Handover<Bool>()
            let server = try await startServer(port: 0, options: options) { reader, writer in
                hasBegun.give(true)
                try await wait.perform(StreamEnd((reader, writer)))
                Issue.record("the wait ended by itself")
            }
            let end = StreamEnd(try await openConnection(host: "127.0.0.1", port: server.port))
            // Not answered, so the connection is not idle and sees no end of its stream.
            try await end.writer.send("x")
            try await eventually("the handler runs") { hasBegun.hasValue }
            await settle()
            #expect(await server.statistics().current == 1)
            let counts = await server.shutdown(grace: .zero)
            #expect([counts.finished, counts.cancelled, counts.aborted] == [0, 1, 0])
            await end.writer.abort()
            try await server.waitClosed()
        }
    }

    @Test func `a handler's read that times out loses nothing, and the handler goes on`()
        async throws
    {
        try await withLoop(faults: FaultTable()) { _ in
            let server = try await startServer(port: 0) { reader, writer in
                for _ in 0..<3 {
                    await #expect(throws: StreamError.timedOut) {
                        try await withTimeout(.milliseconds(2)) { try await reader.readLine() }
                    }
                }
                try await writer.send("now\n")
                let line = try await reader.readLine()
                #expect(line == bytes("abc\n"))
            }
            let end = StreamEnd(try await openConnection(host: "127.0.0.1", port: server.port))
            try await end.writer.send("ab")
            #expect(try await end.reader.readLine() == bytes("now\n"))
            try await end.writer.send("c\n")
            #expect(try await end.reader.read() == nil)
            await end.writer.close()
            await server.close()
            try await server.waitClosed()
        }
    }

    @Test func `a handler cancelled while its bytes arrive reads them or none of them`()
        async throws
    {
        for pauses in 0..<8 {
            try await withLoop(faults: FaultTable()) { _ in
                let server = try await startServer(port: 0) { reader, _ in
                    do {
                        #expect(try await reader.readExactly(2) == bytes("ab"))
                    } catch StreamError.cancelled {
                        #expect(reader.buffered <= 1)
                        throw StreamError.cancelled
                    }
                }
                let end = StreamEnd(try await openConnection(host: "127.0.0.1", port: server.port))
                try await end.writer.send("a")
                try await end.writer.flush()
                async let counts = server.shutdown(grace: .zero)
                for _ in 0..<pauses { await EventLoop.yield() }
                _ = try? await end.writer.send("b")
                // A handler that got its bytes has returned, and its close waits for this end.
                async let closed: Void = end.writer.close()
                #expect(await counts.aborted == 0)
                await closed
            }
        }
    }
}
