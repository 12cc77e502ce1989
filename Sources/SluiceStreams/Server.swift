// Server: listeners, the handlers' connections, and their orderly end. Floor 2; lives on one loop.

public import SluiceReactor
internal import Synchronization

/// What a client is handed to: runs as a task of the server's loop.
public typealias ClientHandler = @Sendable (StreamReader, StreamWriter) async throws -> Void

/// What a client is handed to when no task is wanted: must not block; the connection then lives
/// until it is closed, or until its reader and writer are dropped.
public typealias PlainClientHandler = @Sendable (StreamReader, StreamWriter) -> Void

/// A running service, made by `startServer`: it accepts until it is closed, kept or not.
///
/// Its listeners live on one loop; its connections on the same one, or spread over a group's loops,
/// each on one for its whole life. Async calls made elsewhere hop to where they belong.
// @unchecked Sendable: mutable state is touched on the acceptor loop's thread alone; every entry
// hops there.
public final class Server: @unchecked Sendable {
    /// The loop that accepts.
    public let loop: EventLoop
    /// Where it listens, known before the first accept; stays after close.
    public let addresses: [SocketAddress]
    let settings: ServerSettings
    private var listeners: [Listener]
    private let shards: [ServerShard]
    private var acceptPauses = 0
    private var failure: StreamError?
    private let waits: ServerWaits
    /// Accepts nobody yet.
    var isHeld: Bool

    /// Begins to accept. On the thread of `loop`.
    init(
        loop: EventLoop, loops: [EventLoop], listeners: [Listener], settings: ServerSettings,
        handler: ServedConnection.Handler
    ) {
        let room = RoomSignal(loop: loop)
        self.loop = loop
        self.listeners = listeners
        self.settings = settings
        isHeld = settings.isHeld
        addresses = listeners.map(\.address)
        waits = ServerWaits(loop: loop)
        shards = loops.map { shardLoop in
            ServerShard(loop: shardLoop, settings: settings, handler: handler) { room.raise() }
        }
        room.server = self
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
        await close()
        return await withTaskGroup(of: ShutdownCounts.self) { group in
            for shard in shards { group.addTask { await shard.shutdown(grace: grace) } }
            var all = ShutdownCounts()
            for await counts in group { all.add(counts) }
            return all
        }
    }

    /// Waits until the server is closed and no connection is left.
    ///
    /// - Throws: ``StreamError/cancelled`` or ``StreamError/timedOut`` for this task alone.
    public nonisolated(nonsending) func waitClosed() async throws(StreamError) {
        guard loop.isHome(#isolation) else {
            return try await onLoop(loop) { () throws(StreamError) in try await self.waitClosed() }
        }
        try await waits.wait(while: { !self.listeners.isEmpty })
        for shard in shards {
            try await onLoop(shard.loop) { () throws(StreamError) in try await shard.waitEmpty() }
        }
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
        var all = ServerStatistics()
        for shard in shards { all.add(await onLoop(shard.loop) { shard.statistics() }) }
        all.acceptPauses = await onLoop(loop) { self.acceptPauses }
        return all
    }

    /// Every connection as it is now, in no particular order.
    public nonisolated(nonsending) func connections() async -> [ConnectionSnapshot] {
        var all: [ConnectionSnapshot] = []
        for shard in shards { all += await onLoop(shard.loop) { shard.snapshot() } }
        return all
    }

    // MARK: Called by listeners, on the acceptor loop's thread

    /// Whether one more connection may be accepted.
    var hasRoom: Bool {
        !isHeld && shards.reduce(0) { $0 + $1.load.load(ordering: .relaxed) } < settings.connections
    }

    /// Hands an accepted descriptor to the loop with the fewest connections.
    func accepted(_ fd: Int32, from peer: SocketAddress?, on listener: Listener) {
        var least = shards[0]
        for shard in shards.dropFirst()
        where shard.load.load(ordering: .relaxed) < least.load.load(ordering: .relaxed)
            && !shard.isOver.load(ordering: .relaxed)
        {
            least = shard
        }
        let (shard, address) = (least, listener.address)
        shard.load.add(1, ordering: .relaxed)
        if shard.loop.isCurrent { return shard.take(fd, peer: peer, listener: address) }
        shard.loop.postAlways { shard.take(fd, peer: peer, listener: address) }
    }

    func acceptPaused(_ address: SocketAddress, _ error: SystemError) {
        acceptPauses += 1
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

    /// A connection has ended somewhere.
    func roomCame() {
        for listener in listeners where listener.isPaused && hasRoom { listener.resume() }
    }

    func loopStopped() {
        closeListeners()
        waits.loopStopped()
    }

    private func closeListeners() {
        let listeners = self.listeners
        self.listeners = []
        for listener in listeners { listener.close() }
        waits.wake()
    }
}

/// The same call made on a loop.
private nonisolated(nonsending) func onLoop<R: Sendable>(
    _ loop: EventLoop, _ body: @escaping @Sendable () -> R
) async -> R {
    loop.isCurrent ? body() : await loop.hop { body() }
}

private nonisolated(nonsending) func onLoop(
    _ loop: EventLoop, _ body: @escaping @Sendable () async throws(StreamError) -> Void
) async throws(StreamError) {
    let result: Result<Void, StreamError> = await loop.hop {
        do throws(StreamError) { return .success(try await body()) } catch {
            return .failure(error)
        }
    }
    try result.get()
}

/// How the handlers of a server that was shut down ended.
public struct ShutdownCounts: Hashable, Sendable {
    /// By themselves, in the grace time.
    public var finished = 0
    /// After their tasks were cancelled.
    public var cancelled = 0
    /// Not even then: their connections were aborted under them.
    public var aborted = 0

    package init() {}

    mutating func add(_ other: ShutdownCounts) {
        finished += other.finished
        cancelled += other.cancelled
        aborted += other.aborted
    }
}

/// Counts of a server since its start. `accepted` is `closed` and `current` together, and `closed`
/// the sum of `closedBy`.
public struct ServerStatistics: Hashable, Sendable {
    /// Connections accepted and handed to the handler.
    public var accepted = 0
    /// Clients that the kernel gave us and that could not be served: closed at once, and reported.
    public var refused = 0
    /// Connections ended: descriptor closed, handler over.
    public var closed = 0
    /// The same by reason; those that never happened are left out.
    public var closedBy: [CloseReason: Int] = [:]
    /// Connections now.
    public var current = 0
    /// Handlers that threw something else than cancellation.
    public var handlerFailures = 0
    /// Times that accepting rested for want of descriptors or memory.
    public var acceptPauses = 0

    mutating func add(_ other: ServerStatistics) {
        accepted += other.accepted
        refused += other.refused
        closed += other.closed
        closedBy.merge(other.closedBy) { $0 + $1 }
        current += other.current
        handlerFailures += other.handlerFailures
        acceptPauses += other.acceptPauses
    }
}

/// Tasks waiting for a server to close or to become empty.
// @unchecked Sendable by LoopMember.
package final class ServerWaits: LoopMember, @unchecked Sendable {
    private var waiting: [Wait] = []

    package override init(loop: EventLoop) { super.init(loop: loop) }

    /// Whether nobody waits.
    package var isEmpty: Bool { waiting.isEmpty }

    /// Waits while `condition` holds; it is asked again at each `wake`.
    package nonisolated(nonsending) func wait(
        while condition: () -> Bool
    ) async throws(StreamError) {
        while condition() {
            let outcome = await suspend { continuation, number in
                begin(continuation, number: number) { wait in
                    guard condition() else { return false }
                    // A member while somebody waits: the loop's end then ends the wait.
                    if waiting.isEmpty { loop.admit(self) }
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

    package func wake() { endAll(.ready) }

    package override func endWait(_ number: UInt32, _ outcome: WaitOutcome) {
        guard let index = waiting.firstIndex(where: { $0.number == number }) else { return }
        let wait = waiting.remove(at: index)
        if waiting.isEmpty { loop.dismiss(self) }
        resume(wait, outcome)
    }

    package override func loopStopped() { endAll(.closed) }

    private func endAll(_ outcome: WaitOutcome) {
        let all = waiting
        waiting = []
        loop.dismiss(self)
        for wait in all { resume(wait, outcome) }
    }
}
