// RequestPump: one life of a request connection, from its streams to their end. Floor 3, the loop's
// thread.
//
// It reads without a task: the stream calls `work` when there is something. Reading is here and in
// RequestPump+Reading, what becomes of the peer's requests in RequestWorker and
// RequestPump+Serving, this side's in PendingCore, what leaves in RequestPump+Sending, the end in
// RequestPump+Ending.

internal import SluiceReactor
internal import SluiceStreams

// @unchecked Sendable by LoopMember: touched on the loop's thread alone.
final class RequestPump: LoopMember, @unchecked Sendable {
    let reader: StreamReader
    let writer: StreamWriter
    let settings: RequestSettings
    let state: UnsafeMutablePointer<RequestState>
    /// Whose life it is; once nobody holds it, the streams are closed.
    private(set) weak var connection: RequestConnection?
    /// Told once, when it is over.
    var whenOver: (() -> Void)?

    init(
        _ reader: StreamReader, _ writer: StreamWriter, _ settings: RequestSettings,
        for connection: RequestConnection
    ) {
        self.reader = reader
        self.writer = writer
        self.settings = settings
        self.connection = connection
        state = .allocate(capacity: 1)
        state.initialize(to: RequestState())
        super.init(loop: writer.loop)
    }

    deinit {
        state.deinitialize(count: 1)
        state.deallocate()
    }

    /// Begins to read.
    func begin() {
        assert(loop.isCurrent)
        reader.attach(self)
        writer.attach(self)
        used()
        armIdleTimer()
        if reader.isStreamClosed || writer.isStreamClosed { return streamClosed() }
        loop.listForWork(self, .ready)
    }

    override func label() -> String { "a request connection" }

    /// The parked read has ended, output has drained, the stream has closed, or it was listed.
    override func work(_ outcome: WaitOutcome) {
        guard !state.pointee.ending.isOver else { return }
        if state.pointee.isParked, !reader.isPumpParked {
            state.pointee.isParked = false
            do throws(StreamError) { try reader.parkEnded(outcome) } catch {
                receiveEnded(PacketError.stream(error))
            }
        }
        if outcome == .cancelled { handlersTaskWasCancelled() }
        feed()
        advance()
        if reader.isStreamClosed || writer.isStreamClosed { streamClosed() }
    }

    /// The turn's jobs are done: whoever pulls and is still in its handler waits for something.
    override func flushOutput() {
        guard !hasEnded, state.pointee.puller != nil else { return }
        setPullerAside()
        loop.listForWork(self, .ready)
    }

    override func timerFired(_ purpose: UInt32) {
        switch RequestTimer(rawValue: purpose) {
        case .grace:
            state.pointee.graceTimer = 0
            // Reading may have stopped for what has waited.
            loop.listForWork(self, .ready)
        case .idle: idleTimerFired()
        case .close: closeTimerFired()
        case nil: break
        }
    }

    override func endWait(_ number: UInt32, _ outcome: WaitOutcome) {
        guard let index = state.pointee.joinWaits.firstIndex(where: { $0.wait.number == number })
        else { return }
        resume(state.pointee.joinWaits.remove(at: index).wait, outcome)
    }

    /// Whether a server that shuts down has to wait for it: something is under way, in either
    /// direction.
    override var isAtWork: Bool? {
        state.pointee.pendingCount > 0 || state.pointee.submittingCount > 0
            || state.pointee.serving > 0 || state.pointee.puller?.current != nil
            || !state.pointee.waitingChannels.isEmpty || !state.pointee.outgoingChannels.isEmpty
    }

    /// Whether nothing of the connection goes on any longer.
    var hasEnded: Bool { state.pointee.ending.isOver || state.pointee.ending.isBroken }

    /// Whether it is closing, or the peer has ended: the next life may begin.
    var isEnding: Bool {
        let ending = state.pointee.ending
        return ending.isClosing || ending.hasReceivedEnd || ending.isOver
    }

    // MARK: Channels

    /// The channel of a request; made at its first use.
    func channel(of incoming: IncomingRequest) -> RequestChannel {
        channel(incoming.request.channel)
    }

    /// A channel; made at its first use.
    func channel(_ number: UInt64) -> RequestChannel {
        if number == 0 { return state.pointee.zero }
        if let channel = state.pointee.channels[number] { return channel }
        let channel = RequestChannel(number)
        state.pointee.channels[number] = channel
        return channel
    }

    /// Whether a channel may be used: it is, or there is room for one more.
    func mayUse(_ number: UInt64) -> Bool {
        number == 0 || state.pointee.channels[number] != nil
            || state.pointee.channels.count < settings.options.channelLimit
    }

    // MARK: Idleness

    /// A packet came or went.
    func used() {
        if settings.idle != nil { state.pointee.lastUse = loop.now() }
    }

    private func armIdleTimer() {
        guard let idle = settings.idle, !state.pointee.ending.isClosing else { return }
        let (deadline, isOver) = state.pointee.lastUse.addingReportingOverflow(idle)
        guard !isOver else { return }
        state.pointee.idleTimer = loop.arm(
            self, purpose: RequestTimer.idle.rawValue, deadline: max(deadline, loop.now()))
    }

    private func idleTimerFired() {
        state.pointee.idleTimer = 0
        guard let idle = settings.idle, !hasEnded, !state.pointee.ending.isClosing else { return }
        let isUsed =
            state.pointee.pendingCount > 0 || state.pointee.serving > 0
            || state.pointee.puller != nil
        if isUsed {
            state.pointee.lastUse = loop.now()
            return armIdleTimer()
        }
        guard loop.now() &- state.pointee.lastUse >= idle else { return armIdleTimer() }
        state.pointee.ending.closeReason = .idle
        startClosing(within: nil)
    }
}

/// What the timers of a connection are for.
enum RequestTimer: UInt32 {
    case grace = 1
    case idle = 2
    case close = 3
}
