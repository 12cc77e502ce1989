// What a review broke with loops that stop and with deadlines: waits that nobody ended.

import Glibc
import Sluice
import SluiceTestKit
import Testing

/// A listener that nobody accepts from, and whose room for one is taken: connections to it stay
/// under way.
private struct DeafListener {
    private let descriptor: Int32
    private let first: Int32
    let port: Int

    init() throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        first = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let (descriptor, first) = (descriptor, first)
        let isListening = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, size) == 0 && listen(descriptor, 0) == 0
                    && getsockname(descriptor, $0, &size) == 0
                    && connect(first, $0, size) == 0
            }
        }
        try #require(isListening)
        port = Int(UInt16(bigEndian: address.sin_port))
    }

    func close() {
        _ = Glibc.close(first)
        _ = Glibc.close(descriptor)
    }
}

@Suite struct RegressionLoopEndTests {
    /// The server is no member of the loop any more once its listeners are closed.
    @Test func `waitClosed of a closed server ends when the loop stops`() async throws {
        let loop = try EventLoop.start()
        let foreign = Shared<UnsafeContinuation<Void, Never>?>(nil)
        let waiting = try await withDeadline(.seconds(10)) {
            try await loop.spawn {
                let server = try await startServer(port: 0) { _, _ in
                    // Somebody else's await, which no stop can end.
                    await withUnsafeContinuation { foreign.set($0) }
                }
                let client = try await server.connect()
                try await waitUntil("the handler runs") { foreign.value != nil }
                await server.close()
                let waiting = await started { try await server.waitClosed() }
                await client.writer.abort()
                return waiting
            }.value
        }
        try await withDeadline(.seconds(10)) { await loop.stop() }
        // However it ends, it ends.
        _ = try await withDeadline(.seconds(10)) { await waiting.result }
        foreign.value?.resume()
    }

    @Test func `a cancelling timeout ends at once when its loop stops`() async throws {
        let loop = try EventLoop.start()
        let hasBegun = Shared(false)
        let task = loop.spawn {
            try await withTimeout(cancelling: .seconds(3_600)) {
                hasBegun.set(true)
                try await Task.sleep(for: .seconds(3_600))
            }
        }
        try await waitUntil("the body runs") { hasBegun.value }
        try await withDeadline(.seconds(10)) { await loop.stop() }
        await #expect(throws: CancellationError.self) {
            try await withDeadline(.seconds(10)) { try await task.value }
        }
    }

    @Test func `a task that yields more often than a stopping loop turns still ends`()
        async throws
    {
        let loop = try EventLoop.start()
        let yields = Shared(0)
        let task = loop.spawn {
            for _ in 0..<3_000 {
                await EventLoop.yield()
                yields.withLock { $0 += 1 }
            }
        }
        try await withDeadline(.seconds(10)) { await loop.stop() }
        try await withDeadline(.seconds(10)) { try await task.value }
        #expect(yields.value == 3_000)
    }

    @Test func `connecting ends when the loop stops`() async throws {
        let loop = try EventLoop.start()
        let listener = try DeafListener()
        defer { listener.close() }
        let port = listener.port
        let outcomes = Shared<[StreamError?]>([])
        let tasks = (0..<4).map { _ in
            Task.detached {
                do throws(StreamError) {
                    _ = try await openConnection(host: "127.0.0.1", port: port, on: loop)
                    outcomes.append(nil)
                } catch {
                    outcomes.append(error)
                }
            }
        }
        try await waitUntil("all are under way") { await loop.statistics().members >= 4 }
        try await withDeadline(.seconds(10)) { await loop.stop() }
        try await withDeadline(.seconds(10)) { for task in tasks { await task.value } }
        #expect(outcomes.value == Array(repeating: .reactor(.stopped), count: 4))
    }
}

@Suite struct RegressionTimeoutTests {
    /// The closure runs on without its caller, until this test lets it go.
    @Test func `offload obeys the deadline around it`() async throws {
        let hasBegun = Shared(false)
        let mayEnd = Shared(false)
        defer { mayEnd.set(true) }
        try await withLoop(deadline: .seconds(10)) { _ in
            await #expect(throws: ReactorError.timedOut) {
                try await withTimeout(.milliseconds(20)) {
                    try await offload {
                        hasBegun.set(true)
                        mayEnd.block { $0 }
                    }
                }
            }
        }
        #expect(!mayEnd.value)
    }

    /// A task of its own is no part of the body, though tasks inherit task-locals.
    @Test func `a task spawned inside withTimeout does not have its deadline`() async throws {
        let faults = FaultTable()
        faults.setClock(nanoseconds: 1_000_000_000)
        try await withLoop(faults: faults) { loop in
            let task = try await withTimeout(.seconds(1)) {
                loop.spawn { try await sleep(for: .seconds(60)) }
            }
            try await task.value
            #expect(loop.now() >= 61_000_000_000)
        }
    }
}
