// The end of a connection: one path, whoever begins it. Floor 3, the loop's thread.
//
// Each direction ends by an end packet. The peer's end, its stream's end, and an error fail this
// side's requests at once. This side's end leaves when its handlers have answered; then, with both
// ends said, the streams are closed, if they are this connection's to close.

internal import SluiceReactor
internal import SluiceStreams

extension RequestPump {
    // MARK: The peer's end

    /// Nothing more is read: after the peer's orderly end (`nil`), or for a reason.
    func receiveEnded(_ reason: PacketError?) {
        guard !state.pointee.ending.hasReceivedEnd else { return brokeAfterEnd(reason) }
        state.pointee.ending.hasReceivedEnd = true
        let isOwnClose = reason == .stream(.closed) && state.pointee.ending.isClosing
        state.pointee.ending.reason = isOwnClose ? nil : reason
        state.pointee.ending.wantsEnd = true
        endReading()
        failPending(reason ?? .peerClosed)
        resumeJoins(forReceivingOnly: true)
        if reason == nil { loop.listForWork(self, .ready) } else { abandon() }
        goOnEnding()
    }

    /// The peer had ended in order, and then broke the stream: nobody waits for the answers that
    /// are still being made.
    private func brokeAfterEnd(_ reason: PacketError?) {
        guard let reason, state.pointee.ending.reason == nil, !state.pointee.ending.hasSentEnd
        else { return }
        state.pointee.ending.reason = reason
        endReading()
        abandon()
    }

    /// No answer can be given any more.
    private func abandon() {
        cancelHandlers()
        dropWaiting()
        closeStreams()
    }

    /// A server's grace is over: also for a connection that is not being read, or whose peer has
    /// said its end and keeps the stream.
    func handlersTaskWasCancelled() {
        receiveEnded(.stream(.cancelled))
        closeStreams(within: .zero)
        releaseWorkers()
    }

    private func cancelHandlers() {
        for place in state.pointee.inProgress.values { place.worker?.cancel() }
        for worker in state.pointee.discarded { worker.cancel() }
        state.pointee.puller?.cancel()
    }

    /// A stream has ended, whoever ended it.
    func streamClosed() {
        guard !state.pointee.ending.isOver else { return }
        if !state.pointee.ending.hasReceivedEnd {
            let failure = reader.failure ?? writer.outputError ?? .closed
            receiveEnded(.stream(failure))
        }
        if reader.isStreamClosed, writer.isStreamClosed { return becomeOver() }
        closeStreams()
    }

    /// Fails this side's requests, those that wait for a place too.
    func failPending(_ reason: PacketError) {
        failSubmitters(reason)
        state.pointee.pendingCount = 0
        for channel in [state.pointee.zero] + state.pointee.channels.values {
            let pending = channel.pending
            channel.pending = [:]
            for request in pending.values { request.complete(.failure(reason)) }
        }
    }

    // MARK: This side's end

    /// Why a request cannot be sent any more; `nil` if it can.
    var refusalToSubmit: PacketError? {
        let ending = state.pointee.ending
        if ending.isClosing { return ending.closeReason }
        if ending.isOver { return ending.reason ?? .peerClosed }
        if ending.hasReceivedEnd { return ending.reason ?? .peerClosed }
        return ending.endedRequests ? .stream(.closed) : nil
    }

    /// No more requests of this side's. The peer is told behind those that were submitted.
    func endRequests() {
        guard !state.pointee.ending.endedRequests else { return }
        state.pointee.ending.endedRequests = true
        goOnEnding()
    }

    /// Nothing more from this side, once its handlers have answered.
    func endSending() {
        state.pointee.ending.endedRequests = true
        state.pointee.ending.wantsEnd = true
        goOnEnding()
    }

    /// Begins an orderly close.
    ///
    /// - Parameter within: nanoseconds until it becomes an abort.
    func startClosing(within: UInt64?) {
        guard !state.pointee.ending.isOver else { return }
        if !state.pointee.ending.isClosing {
            state.pointee.ending.isClosing = true
            failPending(state.pointee.ending.closeReason)
            endSending()
        }
        guard !state.pointee.ending.isOver else { return }
        let limit = within ?? settings.options.closeTimeout.clampedNanoseconds
        let (sum, isOver) = loop.now().addingReportingOverflow(limit)
        let deadline = isOver ? .max : sum
        guard deadline < state.pointee.ending.deadline else { return }
        state.pointee.ending.deadline = deadline
        loop.disarm(state.pointee.ending.closeTimer)
        state.pointee.ending.closeTimer = loop.arm(
            self, purpose: RequestTimer.close.rawValue, deadline: deadline)
    }

    func closeTimerFired() {
        state.pointee.ending.closeTimer = 0
        let ending = state.pointee.ending
        // Then only the stream's own end is missing, and nothing is lost.
        let isSaid = ending.hasReceivedEnd && ending.hasSentEnd && outputCount == 0
        // A peer that has gone is what most idle connections have.
        let isIdle = ending.closeReason == .idle
        abort(isIdle ? .idle : .stream(.timedOut), isLoss: !isSaid)
    }

    /// Ends everything now.
    ///
    /// - Parameter isLoss: whether those who wait for the end are told the reason.
    func abort(_ reason: PacketError, isLoss: Bool = true) {
        guard !state.pointee.ending.isOver else { return }
        if isLoss, state.pointee.ending.reason == nil { state.pointee.ending.reason = reason }
        if !state.pointee.ending.hasReceivedEnd {
            state.pointee.ending.hasReceivedEnd = true
            endReading()
        }
        if !state.pointee.ending.isClosing {
            state.pointee.ending.isClosing = true
            state.pointee.ending.closeReason = reason
        }
        failPending(reason)
        guard settings.options.closesStreams else { return becomeOver() }
        reader.startAbortingStream()
        writer.startAborting()
        becomeOver()
    }

    /// Goes on with the end, if one has begun, as far as it can be done now.
    @inline(__always)
    func goOnEnding() {
        if state.pointee.ending.endedRequests || state.pointee.ending.wantsEnd { stepToEnd() }
    }

    @inline(never)
    private func stepToEnd() {
        let ending = state.pointee.ending
        guard !ending.isOver else { return }
        guard ending.reason == nil else { return closeStreams() }
        if ending.wantsEnd, state.pointee.graceTimer != 0 {
            // The end waits for nobody to leave with it; this comes back here. Reading, too, may
            // have stopped for what has waited.
            loop.disarm(state.pointee.graceTimer)
            state.pointee.graceTimer = 0
            return loop.listForWork(self, .ready)
        }
        guard state.pointee.outgoingChannels.isEmpty, state.pointee.submittingCount == 0 else {
            return
        }
        if !ending.hasSentERQ {
            state.pointee.ending.hasSentERQ = true
            state.pointee.ending.endedRequests = true
            sendMarker(.endOfRequests)
        }
        guard ending.wantsEnd, isDoneServing else { return }
        if !ending.hasSentEnd {
            state.pointee.ending.hasSentEnd = true
            sendMarker(.end)
        }
        // Not before it has left: it may wait for output, or for the grace.
        if ending.hasReceivedEnd, state.pointee.outgoingChannels.isEmpty {
            closeStreams()
        }
    }

    private var isDoneServing: Bool {
        state.pointee.serving == 0 && state.pointee.puller?.current == nil
            && state.pointee.waitingChannels.isEmpty && state.pointee.outgoingChannels.isEmpty
    }

    private func sendMarker(_ kind: RequestHeader.Kind) {
        let header = RequestHeader(kind: kind, tag: kind == .end ? 0 : 1, channel: 0, flags: 0)
        // The channels have had their turns, so it may go over the mark; the stream's close, which
        // comes next, watches over a peer that does not read. Over the cap nothing is taken.
        guard writer.isOverCap else { return write(header, []) }
        send(header, [])
    }

    /// Both directions have ended: closes the streams, or leaves them.
    ///
    /// - Parameter within: until it is done at once; the streams' own time by default.
    private func closeStreams(within: Duration? = nil) {
        guard settings.options.closesStreams else { return becomeOver() }
        writer.startClosing(within: within)
        reader.startClosingStream(within: within)
        if reader.isStreamClosed, writer.isStreamClosed { becomeOver() }
    }

    private func becomeOver() {
        guard !state.pointee.ending.isOver else { return }
        state.pointee.ending.isOver = true
        endReading()
        reader.detach(self)
        writer.detach(self)
        reader.forgetWaits(of: self)
        writer.forgetWaits(of: self)
        loop.disarm(state.pointee.idleTimer)
        loop.disarm(state.pointee.graceTimer)
        loop.disarm(state.pointee.ending.closeTimer)
        failPending(state.pointee.ending.reason ?? .stream(.closed))
        cancelHandlers()
        dropWaiting()
        dropOutgoing()
        releaseWorkers()
        resumeJoins(forReceivingOnly: false)
        whenOver?()
        whenOver = nil
    }

    // MARK: Waiting for it

    private func resumeJoins(forReceivingOnly: Bool) {
        let joins = state.pointee.joinWaits
        state.pointee.joinWaits = joins.filter { forReceivingOnly && !$0.isForReceiving }
        for join in joins where join.isForReceiving || !forReceivingOnly {
            resume(join.wait, .ready)
        }
    }

    /// Waits until the connection is over, or only until the peer has ended.
    nonisolated(nonsending) func join(receivingOnly: Bool) async throws(PacketError) {
        while !hasEnded(receivingOnly: receivingOnly) {
            let outcome = await suspend { continuation, number in
                begin(continuation, number: number) { wait in
                    guard !hasEnded(receivingOnly: receivingOnly) else { return false }
                    state.pointee.joinWaits.append((wait, receivingOnly))
                    return true
                }
            }
            try PacketError.check(outcome)
        }
        if let reason = state.pointee.ending.reason { throw reason }
        if state.pointee.ending.closeReason == .idle { throw .idle }
    }

    private func hasEnded(receivingOnly: Bool) -> Bool {
        state.pointee.ending.isOver
            || (receivingOnly && state.pointee.ending.hasReceivedEnd)
    }
}

extension PacketError {
    /// What a wait that was not answered throws.
    static func check(_ outcome: WaitOutcome) throws(PacketError) {
        switch outcome {
        case .ready: return
        case .cancelled: throw .stream(.cancelled)
        case .timedOut: throw .stream(.timedOut)
        case .closed: throw .stream(.reactor(.stopped))
        }
    }
}
