// ServerShard: a server's connections on one loop. Floor 2, that loop's thread. A connection never
// moves: what is counted, ended or listed here is touched by this loop alone.

internal import SluiceReactor
internal import Synchronization

// @unchecked Sendable: mutable state is touched on the loop's thread alone; `load` and `isOver` are
// atomic.
final class ServerShard: @unchecked Sendable {
    let loop: EventLoop
    let settings: ServerSettings
    private let handler: ServedConnection.Handler
    private var connections: [ServedConnection] = []
    private var counts = ServerStatistics()
    /// Connections ended, by the reason's raw value.
    private var endings = [Int](repeating: 0, count: CloseReason.allCases.count)
    private let waits: ServerWaits
    /// Connections handed to this shard and not ended; the acceptor reads it from its own thread.
    let load = Atomic(0)
    /// Whether a connection found the loop stopped; the acceptor then hands it no more.
    let isOver = Atomic(false)
    /// Called when a connection has ended: there is room for another one.
    private let connectionEnded: @Sendable () -> Void

    init(
        loop: EventLoop, settings: ServerSettings, handler: ServedConnection.Handler,
        connectionEnded: @escaping @Sendable () -> Void
    ) {
        self.loop = loop
        self.settings = settings
        self.handler = handler
        self.connectionEnded = connectionEnded
        waits = ServerWaits(loop: loop)
    }

    /// Takes over an accepted descriptor, already counted in `load`. On the loop's thread.
    func take(_ fd: Int32, peer: SocketAddress?, listener: SocketAddress) {
        if loop.hasStopped {
            isOver.store(true, ordering: .relaxed)
            loop.closeDescriptor(fd)
            return refused(ReactorError.stopped, peer: peer)
        }
        do throws(SystemError) {
            let transport = try SocketTransport(
                fd: fd, loop: loop, settings: settings.stream, local: listener, remote: peer)
            let connection = ServedConnection(
                shard: self, transport: transport, index: connections.count)
            counts.accepted += 1
            connections.append(connection)
            connection.begin(handler)
        } catch {
            refused(error, peer: peer)
        }
    }

    private func refused(_ error: any Error, peer: SocketAddress?) {
        counts.refused += 1
        load.subtract(1, ordering: .relaxed)
        settings.report(
            Report(kind: .connectionDropped, message: "\(error)", peer: peer, error: error))
        connectionEnded()
    }

    func handlerThrew(_ error: any Error, peer: SocketAddress?) {
        counts.handlerFailures += 1
        settings.report(
            Report(kind: .handlerThrew, message: "\(error)", peer: peer, error: error))
    }

    /// A connection's descriptor has gone and its handler has ended.
    func ended(_ connection: ServedConnection) {
        counts.closed += 1
        endings[Int(connection.closeReason.rawValue)] += 1
        let last = connections.removeLast()
        if last !== connection {
            connections[connection.index] = last
            last.index = connection.index
        }
        load.subtract(1, ordering: .relaxed)
        connectionEnded()
        if connections.isEmpty { waits.wake() }
    }

    /// Lets the handlers finish, then cancels, then aborts. From any loop.
    nonisolated(nonsending) func shutdown(grace: Duration) async -> ShutdownCounts {
        guard loop.isHome(#isolation) else {
            return await loop.hop { await self.shutdown(grace: grace) }
        }
        let all = connections
        for connection in all { connection.startDraining() }
        await waitUntilEmpty(atMost: grace)
        var result = ShutdownCounts()
        result.finished = all.count { $0.hasHandlerEnded }
        for connection in connections { connection.cancelOrHurry() }
        await waitUntilEmpty(atMost: .seconds(1))
        let ended = all.count { $0.hasHandlerEnded }
        result.cancelled = ended - result.finished
        for connection in connections { connection.abort() }
        result.aborted = all.count - ended
        // Their waits have ended; a handler that ignores that is left behind.
        await waitUntilEmpty(atMost: .milliseconds(100))
        return result
    }

    private nonisolated(nonsending) func waitUntilEmpty(atMost duration: Duration) async {
        guard !connections.isEmpty else { return }
        try? await withTimeout(duration) { try await waitEmpty() }
    }

    /// Waits until no connection is left. On the loop's thread.
    nonisolated(nonsending) func waitEmpty() async throws(StreamError) {
        try await waits.wait(while: { !self.connections.isEmpty })
    }

    /// On the loop's thread.
    func statistics() -> ServerStatistics {
        var counts = self.counts
        counts.current = connections.count
        for reason in CloseReason.allCases where endings[Int(reason.rawValue)] > 0 {
            counts.closedBy[reason] = endings[Int(reason.rawValue)]
        }
        return counts
    }

    /// On the loop's thread.
    func snapshot() -> [ConnectionSnapshot] {
        connections.map { $0.snapshot() }
    }
}
