// The end of a transport: orderly, by deadline, or at once. Floor 2, the loop's thread.
//
// Orderly: stop reading, flush, say our end, drop what the peer still sends until its end comes (a
// close with unread input would make the kernel send a reset, which destroys what the peer has not
// read yet), leave the flush list, deregister, close. No task is needed for any of it.

internal import SluiceReactor

extension Transport {
    /// Begins an orderly close. Idempotent; legal at any point.
    ///
    /// - Parameter timeout: until it becomes an abort, whatever the peer does; `nil`: the stream's
    ///   option, counted from the last progress of the peer, so that a slow one gets all.
    final func startClosing(within timeout: UInt64?) {
        guard state.pointee.phase == .open else { return shortenClosing(timeout) }
        // Nothing would tell of the peer's end any more.
        if loop.hasStopped { return closeAtOnce() }
        state.pointee.endedFirst = state.pointee.inputEnded
        state.pointee.phase = .closing
        endReadWait(.closed)
        discardInput()
        partner?.startClosing(within: timeout)
        state.pointee.closeIsAbsolute = timeout != nil
        setCloseDeadline(in: timeout ?? settings.close)
        armCloseTimer()
        flushNow()
        advanceClosing()
    }

    /// A second close may only bring the deadline nearer.
    private func shortenClosing(_ timeout: UInt64?) {
        guard state.pointee.phase == .closing, let timeout else { return }
        let (deadline, isOver) = loop.now().addingReportingOverflow(timeout)
        if state.pointee.closeIsAbsolute, isOver || deadline >= state.pointee.closeDeadline {
            return
        }
        state.pointee.closeIsAbsolute = true
        setCloseDeadline(in: timeout)
        loop.disarm(state.pointee.closeTimer)
        armCloseTimer()
    }

    private func setCloseDeadline(in timeout: UInt64) {
        let (deadline, isOver) = loop.now().addingReportingOverflow(timeout)
        state.pointee.closeDeadline = isOver ? .max : deadline
    }

    /// An absolute deadline is waited for; else the peer's progress is looked at five times in it.
    private func armCloseTimer() {
        let look = loop.now().addingReportingOverflow(settings.close / 5 + 1).partialValue
        state.pointee.closeTimer = loop.arm(
            self, purpose: TransportTimer.close.rawValue,
            deadline: state.pointee.closeIsAbsolute
                ? state.pointee.closeDeadline : min(look, state.pointee.closeDeadline))
    }

    /// Goes on with an orderly close as far as it can be done now.
    final func advanceClosing() {
        guard state.pointee.phase == .closing else { return }
        dropInput()
        guard state.pointee.phase == .closing, state.pointee.output.isEmpty else { return }
        finishOnce()
        if state.pointee.inputEnded || isBroken
            || state.pointee.lingered >= StreamBounds.lingerBytes
        {
            releaseNow(reset: outputFailureEndsInput)
        }
    }

    /// Whether there is nothing to linger for. A peer that was only too slow still sends.
    private var isBroken: Bool {
        if case .peerTimedOut? = state.pointee.inputFailure {
            return state.pointee.outputFailure != nil
        }
        return state.pointee.inputFailure != nil || state.pointee.outputFailure != nil
    }

    /// Receives and forgets, up to the bound: also while output still leaves, for a peer that must
    /// finish sending before it reads would otherwise wait for us for ever.
    private func dropInput() {
        let capacity = BlockPool.sizes.huge
        let block = loop.state.pointee.blocks.take(atLeast: capacity)
        defer { loop.state.pointee.blocks.give(block, capacity: capacity) }
        while state.pointee.phase == .closing, !state.pointee.inputEnded,
            state.pointee.readable.mayTry, state.pointee.lingered < StreamBounds.lingerBytes
        {
            let count = receiveOnce(into: block, count: capacity)
            state.pointee.lingered &+= Int32(truncatingIfNeeded: count)
        }
    }

    final func closeTimerFired() {
        state.pointee.closeTimer = 0
        guard state.pointee.phase == .closing else { return }
        if !state.pointee.closeIsAbsolute, takenByPeer != state.pointee.closeMark {
            state.pointee.closeMark = takenByPeer
            setCloseDeadline(in: settings.close)
        }
        if loop.now() < state.pointee.closeDeadline { return armCloseTimer() }
        // With all bytes handed over only the peer's end is missing: nothing of ours is lost.
        let isLoss = !state.pointee.output.isEmpty
        if isLoss { failOutput(.aborted) }
        releaseNow(reset: isLoss)
    }

    /// Ends both directions at once: abort, reset, stall, end of the loop. Received bytes stay
    /// readable, then the reason is thrown.
    final func end(_ reason: EndReason, reset: Bool) {
        guard state.pointee.phase != .closed else { return }
        if state.pointee.inputFailure == nil { state.pointee.inputFailure = reason }
        failOutput(reason)
        releaseNow(reset: reset)
    }

    /// Closes without waiting for anything: what the kernel takes at once still leaves.
    final func closeAtOnce() {
        guard state.pointee.phase != .closed else { return }
        if state.pointee.phase == .open { state.pointee.endedFirst = state.pointee.inputEnded }
        state.pointee.phase = .closing
        endReadWait(.closed)
        repeat {
            // The last turn of this one: no share has to be kept for later.
            state.pointee.flushedInTurn = 0
            flushNow()
        } while state.pointee.phase == .closing && !state.pointee.output.isEmpty
            && state.pointee.writable.mayTry
        guard state.pointee.phase == .closing else { return }
        let isLoss = !state.pointee.output.isEmpty
        if isLoss { failOutput(.closed) }
        discardInput()
        releaseNow(reset: isLoss || outputFailureEndsInput)
    }

    /// Begins an abort by this side: bytes received and not read are dropped as well.
    final func startAborting() {
        guard state.pointee.phase != .closed else { return }
        discardInput()
        end(.aborted, reset: true)
    }

    /// Leaves everything that knows this transport, then gives the descriptor back. Its number is
    /// free for others the instant it is closed, so this is the last step.
    private func releaseNow(reset: Bool) {
        state.pointee.phase = .closed
        loop.disarm(state.pointee.closeTimer)
        state.pointee.closeTimer = 0
        disarmStallTimer()
        disarmReadTimer()
        settleInput()
        endReadWait(.closed)
        if state.pointee.outputFailure == nil { failOutput(.closed) }
        loop.withdraw(self)
        release(reset: reset)
        let partner = self.partner
        self.partner = nil
        if state.pointee.inputFailure == .aborted {
            partner?.startAborting()
        } else {
            partner?.closeAtOnce()
        }
        let waits = state.pointee.closeWaits
        state.pointee.closeWaits = []
        for wait in waits { resume(wait, .ready) }
        tellMembers(.closed)
        let owner = self.owner
        self.owner = nil
        loop.dismiss(self)
        owner?.transportClosed(self)
    }

    /// Has the members work that are attached to either half.
    final func tellMembers(_ outcome: WaitOutcome) {
        let (reading, writing) = (readingMember, writingMember)
        if let reading { loop.listForWork(reading, outcome) }
        if let writing, writing !== reading { loop.listForWork(writing, outcome) }
    }

    /// Waits until the descriptor has gone.
    nonisolated(nonsending) final func waitClosed() async throws(StreamError) {
        while state.pointee.phase != .closed {
            let outcome = await suspend { continuation, number in
                begin(continuation, number: number) { wait in
                    guard state.pointee.phase != .closed else { return false }
                    state.pointee.closeWaits.append(wait)
                    return true
                }
            }
            if outcome == .cancelled { throw .cancelled }
            if outcome == .timedOut { throw .timedOut }
            if outcome == .closed { return }
        }
    }
}
