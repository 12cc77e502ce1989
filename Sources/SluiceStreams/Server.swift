// Server: listeners, the handlers' connections, and their orderly end. Floor 2; lives on one loop.

public import SluiceReactor

/// What a client is handed to: runs as a task of the server's loop.
public typealias ClientHandler = @Sendable (StreamReader, StreamWriter) async throws -> Void

/// What a client is handed to when no task is wanted: must not block; the connection then lives
/// until it is closed, or until its reader and writer are dropped.
public typealias PlainClientHandler = @Sendable (StreamReader, StreamWriter) -> Void

/// A running service, made by `startServer`: it accepts until it is closed, kept or not.
///
/// Belongs to one loop. Async calls made elsewhere hop to it.
// @unchecked Sendable: mutable state is touched on the loop's thread alone; every entry hops there.
public final class Server: @unchecked Sendable {
    /// The loop that serves it.
    public let loop: EventLoop
    /// Where it listens, known before the first accept; stays after close.
    public let addresses: [SocketAddress]
    let settings: ServerSettings
    private let handler: ServedConnection.Handler
    private var listeners: [Listener]
    private var connections: [ServedConnection] = []
    private var counts = ServerStatistics()
    private var failure: StreamError?
    private let waits: ServerWaits

    /// Begins to accept. On the loop's thread.
    init(
        loop: EventLoop, listeners: [Listener], settings: ServerSettings,
        handler: ServedConnection.Handler
    ) {
        self.loop = loop
        self.listeners = listeners
        self.settings = settings
        self.handler = handler
        addresses = listeners.map(\.address)
        waits = ServerWaits(loop: loop)
        for listener in listeners { listener.server = self }
    }

    /// The first address's port, 0 if it has none.
    public var port: Int { addresses.first?.port ?? 0 }

    /// Stops listening; connections go on. Idempotent. Clients still in the backlog are reset.
    public nonisolated(nonsending) func close() async {
        if loop.isCurrent { return closeListeners() }
        await loop.hop { self.closeListeners() }
    }

    /// Stops listening, lets handlers finish, then cancels them, then aborts their connections.
    ///
    /// An idle connection (its handler waits in a read, and all it has received is answered) sees
    /// the end of its stream at once; a busy one when it becomes idle. After `grace` the handlers'
    /// tasks are cancelled, one second later what is left is aborted.
    ///
    /// - Parameter grace: zero or more. Cancelling the calling task ends it early.
    /// - Returns: how many handlers ended in which way.
    @discardableResult
    public nonisolated(nonsending) func shutdown(grace: Duration) async -> ShutdownCounts {
        guard loop.isHome else { return await loop.hop { await self.shutdown(grace: grace) } }
        closeListeners()
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
        try? await withTimeout(duration) {
            try await waits.wait(while: { !self.connections.isEmpty })
        }
    }

    /// Waits until the server is closed and no connection is left.
    ///
    /// - Throws: ``StreamError/cancelled`` or ``StreamError/timedOut`` for this task alone.
    public nonisolated(nonsending) func waitClosed() async throws(StreamError) {
        guard loop.isHome else {
            let result: Result<Void, StreamError> = await loop.hop {
                do throws(StreamError) { return .success(try await self.waitClosed()) } catch {
                    return .failure(error)
                }
            }
            return try result.get()
        }
        try await waits.wait(while: { !self.listeners.isEmpty || !self.connections.isEmpty })
    }

    /// Serves until the server is closed elsewhere and its last connection has ended.
    ///
    /// - Throws: ``StreamError/cancelled`` when the calling task is cancelled, after closing the
    ///   server (connections go on); the error that broke the listener, if one did.
    public nonisolated(nonsending) func serveForever() async throws(StreamError) {
        do throws(StreamError) {
            try await waitClosed()
        } catch {
            await close()
            throw error
        }
        if let failure = loop.isCurrent ? failure : await loop.hop({ self.failure }) {
            throw failure
        }
    }

    /// Counts since the start.
    public nonisolated(nonsending) func statistics() async -> ServerStatistics {
        if loop.isCurrent { return currentStatistics() }
        return await loop.hop { self.currentStatistics() }
    }

    private func currentStatistics() -> ServerStatistics {
        var counts = self.counts
        counts.current = connections.count
        return counts
    }

    // MARK: Called by listeners and connections, on the loop's thread

    /// Whether one more connection may be accepted.
    var hasRoom: Bool { connections.count < settings.connections }

    func accepted(_ fd: Int32, from peer: SocketAddress?, on listener: Listener) {
        counts.accepted += 1
        do throws(SystemError) {
            let transport = try SocketTransport(
                fd: fd, loop: loop, settings: settings.stream, local: listener.address,
                remote: peer)
            let connection = ServedConnection(
                server: self, transport: transport, index: connections.count)
            connections.append(connection)
            connection.begin(handler)
        } catch {
            counts.closed += 1
            acceptPaused(listener.address, error)
        }
    }

    func acceptPaused(_ address: SocketAddress, _ error: SystemError) {
        counts.acceptPauses += 1
        settings.report(
            Report(
                kind: .acceptPaused, message: "accepting on \(address) rests 100 ms: \(error)",
                error: error))
    }

    func listenerFailed(_ error: SystemError) {
        failure = .system(error)
        settings.report(
            Report(kind: .acceptFailed, message: "the server closes: \(error)", error: error))
        closeListeners()
    }

    func handlerThrew(_ error: any Error, peer: SocketAddress?) {
        counts.handlerFailures += 1
        settings.report(
            Report(kind: .handlerThrew, message: "\(error)", peer: peer, error: error))
    }

    /// A connection's descriptor has gone and its handler has ended.
    func connectionEnded(_ connection: ServedConnection) {
        counts.closed += 1
        let last = connections.removeLast()
        if last !== connection {
            connections[connection.index] = last
            last.index = connection.index
        }
        for listener in listeners where listener.isPaused { listener.resume() }
        if connections.isEmpty { waits.wake() }
    }

    func loopStopped() {
        closeListeners()
        waits.loopStopped()
    }

    private func closeListeners() {
        let listeners = self.listeners
        self.listeners = []
        for listener in listeners { listener.close() }
        if connections.isEmpty { waits.wake() }
    }
}

/// How the handlers of a server that was shut down ended.
public struct ShutdownCounts: Hashable, Sendable {
    /// By themselves, in the grace time.
    public var finished = 0
    /// After their tasks were cancelled.
    public var cancelled = 0
    /// Not even then: their connections were aborted under them.
    public var aborted = 0
}

/// Counts of a server since its start. `accepted` is `closed` and `current` together.
public struct ServerStatistics: Hashable, Sendable {
    /// Connections accepted.
    public var accepted = 0
    /// Connections ended: descriptor closed, handler over.
    public var closed = 0
    /// Connections now.
    public var current = 0
    /// Handlers that threw something else than cancellation.
    public var handlerFailures = 0
    /// Times that accepting rested for want of descriptors or memory.
    public var acceptPauses = 0
}

/// Tasks waiting for a server to close or to become empty.
// @unchecked Sendable by LoopMember.
final class ServerWaits: LoopMember, @unchecked Sendable {
    private var waiting: [Wait] = []

    /// Waits while `condition` holds; it is asked again at each `wake`.
    nonisolated(nonsending) func wait(while condition: () -> Bool) async throws(StreamError) {
        while condition() {
            let outcome = await suspend { continuation, number in
                begin(continuation, number: number) { wait in
                    waiting.append(wait)
                    return true
                }
            }
            switch outcome {
            case .ready: continue
            case .closed: return
            case .cancelled: throw .cancelled
            case .timedOut: throw .timedOut
            }
        }
    }

    func wake() { endAll(.ready) }

    override func endWait(_ number: UInt32, _ outcome: WaitOutcome) {
        guard let index = waiting.firstIndex(where: { $0.number == number }) else { return }
        resume(waiting.remove(at: index), outcome)
    }

    override func loopStopped() { endAll(.closed) }

    private func endAll(_ outcome: WaitOutcome) {
        let all = waiting
        waiting = []
        for wait in all { resume(wait, outcome) }
    }
}
