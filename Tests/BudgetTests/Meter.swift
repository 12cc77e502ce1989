// How the budgets are measured: a client on a loop of its own talks to a server whose loop counts
// its system calls, jobs and allocations. The client's first line starts the meter and its last
// line stops it, both inside the handler, on the server's thread: so the counts are exact, whoever
// is faster.

import Sluice
import SluiceTestKit
import Testing

/// What a loop spent between two points.
struct Spending: Sendable {
    /// Kinds of system calls and how many of each.
    var calls: [String: Int] = [:]
    var enqueues = 0
    var jobs = 0
    var inboxItems = 0
    var blocksInUse = 0
    var allocations = 0

    /// Waits of both kinds.
    var waits: Int { calls["epoll_wait", default: 0] + calls["epoll_pwait2", default: 0] }
}

/// Started and stopped on the server's loop.
final class Meter: Sendable {
    private struct State {
        var before: LoopStatistics?
        var mallocs: UInt64 = 0
        var result = Spending()
    }
    private let state = Shared(State())
    private let faults: FaultTable

    init(_ faults: FaultTable) {
        self.faults = faults
    }

    /// The result, once stopped.
    var result: Spending { state.value.result }

    func start(_ loop: EventLoop) async {
        let before = await loop.statistics()
        state.withLock { $0.before = before }
        faults.resetCounts()
        let mallocs = cf_malloc_count_this_thread()
        state.withLock { $0.mallocs = mallocs }
    }

    func stop(_ loop: EventLoop) async {
        let mallocs = cf_malloc_count_this_thread()
        var result = Spending(calls: faults.callsMade)
        let after = await loop.statistics()
        state.withLock { state in
            guard let before = state.before else { return }
            result.enqueues = Int(after.enqueues - before.enqueues)
            result.jobs = Int(after.jobs - before.jobs)
            result.inboxItems = Int(after.inboxItems - before.inboxItems)
            result.blocksInUse = after.blocksInUse
            result.allocations = Int(mallocs - state.mallocs)
            state.result = result
        }
    }
}

/// The lines that start and stop the meter, and the line of a message: 64 bytes with its end.
let startLine = bytes("start\n")
let stopLine = bytes("stop\n")
let message = [UInt8](repeating: 109, count: 63) + [10]

/// Echoes lines by the array calls, under the meter.
func meteredEcho(_ meter: Meter) -> ClientHandler {
    { reader, writer in
        while let line = try await reader.readLine() {
            if line == startLine { await meter.start(reader.loop) }
            if line == stopLine { await meter.stop(reader.loop) }
            try await writer.send(line)
        }
    }
}

/// Runs a server on a counting loop, and the client on another loop; gives what the server spent.
func spending(
    handler: (Meter) -> ClientHandler = meteredEcho,
    sourceLocation: SourceLocation = #_sourceLocation,
    client: @escaping @Sendable (Server) async throws -> Void
) async throws -> Spending {
    let faults = FaultTable()
    let meter = Meter(faults)
    let handler = handler(meter)
    // On a busy machine a turn may last long, and its report would be counted.
    var options = EventLoop.Options()
    options.turnReportThreshold = .seconds(3_600)
    try await withLoop(faults: faults, options: options, sourceLocation: sourceLocation) { _ in
        let server = try await startServer(port: 0, handler: handler)
        try await withLoop(sourceLocation: sourceLocation) { _ in try await client(server) }
        await server.close()
        try await server.waitClosed()
    }
    return meter.result
}

/// A client of that server.
func connect(_ server: Server) async throws -> StreamEnd {
    StreamEnd(try await openConnection(host: "127.0.0.1", port: server.port))
}

extension StreamEnd {
    /// Sends bytes that are `lines` lines and waits until all have come back.
    func exchange(_ sent: [UInt8]) async throws {
        try await writer.send(sent)
        let received = try await reader.readExactly(sent.count)
        #expect(same(received, sent))
    }
}
