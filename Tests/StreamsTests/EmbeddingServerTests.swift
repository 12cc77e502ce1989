// A server inside a host's own poll loop: clients on real sockets beside the host's own pipe. The
// host of SluiceTestKit takes turns only when the loop's descriptor is readable.

import Glibc
import Sluice
import SluiceTestKit
import Testing

@Suite struct EmbeddingServerTests {
    /// Starts the server in the host's turns; the client, on a loop of its own, may come then.
    private func startEchoing(
        _ host: EmbeddedHost, handler: @escaping ClientHandler = echoLines
    ) throws -> Server {
        try host.run { try await startServer(port: 0, handler: handler) }
    }

    @Test func `a host serves clients beside its own pipe and timers`() async throws {
        let faults = FaultTable()
        try await withHost(faults: faults) { host in
            let server = try startEchoing(host)
            let (port, isOver) = (server.port, Shared(false))
            let ticks = Shared(0)
            let ticking = host.loop.spawn {
                while true {
                    try await sleep(for: .microseconds(300))
                    ticks.withLock { $0 += 1 }
                }
            }
            let client = Task {
                defer { isOver.set(true); host.ringOwnBell() }
                try await withLoop { _ in
                    for round in 0..<20 {
                        let end = StreamEnd(
                            try await openConnection(host: "127.0.0.1", port: port))
                        for line in 0..<10 {
                            try await end.echo("round \(round) line \(line)")
                            host.ringOwnBell()
                        }
                        await end.writer.close()
                    }
                }
                return true
            }
            try host.serve { isOver.value && ticks.value > 10 && host.ownBytes == 201 }
            ticking.cancel()
            let counts = try host.run { await server.shutdown(grace: .seconds(10)) }
            #expect(counts.aborted == 0)
            let statistics = try host.run { await server.statistics() }
            #expect(statistics.accepted == 20 && statistics.current == 0)
            host.loop.close()
            #expect(faults.ledger.open == 3 && faults.ledger.double_closes == 0)
            _ = client
        }
    }

    @Test func `handlers, sleeps and timeouts stay on the host's thread`() async throws {
        try await withHost { host in
            let threads = Shared<[UInt]>([])
            let server = try startEchoing(host) { reader, writer in
                while let line = try await reader.readLine() {
                    threads.append(threadNumber())
                    try await sleep(for: .microseconds(10))
                    threads.append(threadNumber())
                    try await withTimeout(.seconds(60)) { try await writer.send(line) }
                    threads.append(threadNumber())
                    try await withTimeout(cancelling: .seconds(60)) { await EventLoop.yield() }
                    threads.append(threadNumber())
                }
            }
            let (port, isOver) = (server.port, Shared(false))
            Task {
                defer { isOver.set(true); host.ringOwnBell() }
                try await withLoop { _ in
                    let end = StreamEnd(try await openConnection(host: "127.0.0.1", port: port))
                    for line in 0..<10 { try await end.echo("line \(line)") }
                    await end.writer.close()
                }
            }
            try host.serve { isOver.value }
            try host.run { _ = await server.shutdown(grace: .seconds(10)) }
            #expect(threads.value.count == 40)
            #expect(Set(threads.value) == [threadNumber()])
        }
    }

    @Test func `output larger than the socket's buffers leaves in as many turns as it takes`()
        async throws
    {
        let (pieces, size) = (48, 65_536)
        try await withHost { host in
            let server = try startEchoing(host) { _, writer in
                for number in 0..<pieces {
                    try await writer.send([UInt8](repeating: UInt8(number), count: size))
                }
            }
            let (port, received) = (server.port, Shared<[UInt8]?>(nil))
            Task {
                defer { host.ringOwnBell() }
                let bytes = try await withLoop { _ in
                    let end = StreamEnd(try await openConnection(host: "127.0.0.1", port: port))
                    let bytes = try await end.reader.readToEnd(limit: pieces * size)
                    await end.writer.close()
                    return bytes
                }
                received.set(bytes)
            }
            try host.serve { received.value != nil }
            let whole = (0..<pieces).flatMap { [UInt8](repeating: UInt8($0), count: size) }
            #expect(received.value == whole)
            try host.run { _ = await server.shutdown(grace: .seconds(10)) }
        }
    }

    @Test func `closing the loop aborts its connections and ends their handlers`() async throws {
        try await withHost { host in
            let (ends, isServed) = (Shared<[StreamError]>([]), Shared(false))
            let server = try startEchoing(host) { reader, writer in
                do throws(StreamError) {
                    while let line = try await reader.readLine() { try await writer.send(line) }
                } catch {
                    ends.append(error)
                }
            }
            let (port, sawEnd) = (server.port, Shared(false))
            Task {
                try await withLoop { _ in
                    let end = StreamEnd(try await openConnection(host: "127.0.0.1", port: port))
                    try await end.echo("line")
                    isServed.set(true)
                    host.ringOwnBell()
                    // A reset or the end, whichever the kernel makes of it.
                    _ = try? await end.reader.readLine()
                    await end.writer.abort()
                }
                sawEnd.set(true)
            }
            try host.serve { isServed.value }
            host.loop.close()
            #expect(ends.value == [.reactor(.stopped)])
            sawEnd.block { $0 }
            #expect(sawEnd.value)
        }
    }
}
