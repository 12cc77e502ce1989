// ServedConnection: one client of a server, from accept until both its descriptor and its handler
// are gone. Floor 2, the loop's thread. The handler's scope owns the connection.

internal import SluiceReactor

// @unchecked Sendable: touched on the loop's thread alone; the handler's task carries it there.
final class ServedConnection: TransportOwner, @unchecked Sendable {
    /// How a connection is handled: as a task, or by a plain function.
    enum Handler {
        case task(ClientHandler)
        case plain(PlainClientHandler)
    }

    private let shard: ServerShard
    private let transport: Transport
    /// Its place in the server's list, kept by the shard.
    var index: Int
    /// The handler's task while it runs; a plain function's connection has none.
    private var task: Task<Void, Never>?
    private var isTaskRunning = false
    private var isTransportClosed = false
    /// The handler's task, to be compared and nothing else.
    private var handlerTask: UnsafeCurrentTask?

    init(shard: ServerShard, transport: Transport, index: Int) {
        self.shard = shard
        began = shard.loop.now()
        self.transport = transport
        self.index = index
        transport.owner = self
    }

    /// Whether the handler is over: its task has ended, or a plain one's connection has.
    var hasHandlerEnded: Bool { !isTaskRunning && (wasTask || isTransportClosed) }
    private var wasTask = false
    private let began: UInt64
    /// What the handler threw, if that is counted.
    private var handlerError: CloseReason?
    private var isForced = false

    /// Starts the handler, in the turn of the accept. Its task is the handler's whole life: return
    /// means flush and close in order, throw means close now. No function of its own: its frame
    /// would stay on the task of each idle connection.
    func begin(_ handler: Handler) {
        let loop = shard.loop
        let began = loop.coarseNow()
        switch handler {
        case .task(let body):
            (wasTask, isTaskRunning) = (true, true)
            let task = Task.immediate(executorPreference: loop) {
                withUnsafeCurrentTask { self.handlerTask = $0 }
                do {
                    try await body(
                        StreamReader(self.transport), StreamWriter(self.transport))
                    self.transport.startClosing(within: nil)
                } catch {
                    self.handlerFailed(error)
                }
                self.handlerEnded()
            }
            if isTaskRunning { self.task = task }
        case .plain(let body):
            body(StreamReader(transport), StreamWriter(transport))
        }
        loop.noteRun(of: transport, since: began)
    }

    /// Counts and reports the error, and closes. Out of line: what it needs would widen the frame
    /// that stays on the task of each idle connection.
    @inline(never)
    private func handlerFailed(_ error: any Error) {
        let known = error as? any HandlerError
        let isCancellation = known?.isCancellation ?? false
        handlerError = isCancellation ? .cancelled : known?.closeReason ?? .handlerThrew
        // A peer that breaks its connection is counted; it is no fault of the handler's.
        let isPeersBreak = known?.isReset ?? false && transport.breakReason == .reset
        if !isCancellation, !isPeersBreak {
            shard.handlerThrew(error, peer: transport.remoteAddress)
        }
        transport.closeAtOnce()
    }

    private func handlerEnded() {
        assert(shard.loop.isCurrent)
        handlerTask = nil
        isTaskRunning = false
        task = nil
        if isTransportClosed { shard.ended(self) }
    }

    var isHandlerTask: Bool {
        guard let handlerTask else { return false }
        return withUnsafeCurrentTask { $0 == handlerTask }
    }

    func transportClosed(_ transport: Transport) {
        isTransportClosed = true
        if !isTaskRunning { shard.ended(self) }
    }

    func startDraining() {
        transport.startDraining()
    }

    /// The grace is over: cancels the handler, or ends a close that still waits for the peer.
    func cancelOrHurry() {
        guard isTaskRunning else {
            isForced = true
            return transport.closeAtOnce()
        }
        task?.cancel()
        transport.cancelHandlerWaits()
    }

    func abort() {
        isForced = !isTransportClosed
        transport.startAborting()
    }

    /// Why it ended, once it has.
    var closeReason: CloseReason {
        if isForced { return .forced }
        if let reason = transport.breakReason ?? handlerError { return reason }
        if transport.state.pointee.isDetached { return .detached }
        return transport.state.pointee.endedFirst ? .peerEnd : .local
    }

    func snapshot() -> ConnectionSnapshot {
        transport.snapshot(since: began)
    }
}
