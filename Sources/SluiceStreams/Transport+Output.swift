// The way out: one place that transmits, one place that parks writers. Floor 2, the loop's thread.

internal import Glibc
internal import SluiceReactor

extension Transport {
    final func outputBecameReady() {
        _ = state.pointee.writable.latch()
        if !state.pointee.output.isEmpty { loop.listForFlush(self) }
    }

    /// Throws unless a write may be queued now.
    @inline(__always)
    final func checkWritable() throws(StreamError) {
        guard state.pointee.acceptsWrites, state.pointee.output.count <= settings.outputCap else {
            return try refuseWrite()
        }
    }

    @inline(never)
    private func refuseWrite() throws(StreamError) {
        if let failure = state.pointee.outputFailure { throw failure.error }
        if state.pointee.phase != .open || state.pointee.finishRequested { throw .closed }
        let queued = state.pointee.output.count
        if queued > settings.outputCap { throw .outputFull(queued: queued) }
    }

    /// Queues a copy of the bytes; they leave at the end of the turn.
    final func enqueue(_ bytes: UnsafeRawBufferPointer) throws(StreamError) {
        try checkWritable()
        guard !bytes.isEmpty else { return }
        listIfFirst()
        state.pointee.output.append(bytes, pool: &loop.state.pointee.blocks)
    }

    /// Queues an array: a large one by reference.
    final func enqueue(_ array: [UInt8]) throws(StreamError) {
        try checkWritable()
        enqueue(allowed: array)
    }

    /// Queues an array after `checkWritable` has allowed it: a part of a larger write is not
    /// refused for the parts before it.
    final func enqueue(allowed array: [UInt8]) {
        guard !array.isEmpty else { return }
        listIfFirst()
        if array.count < StreamBounds.referencedArrayBytes {
            array.withUnsafeBytes {
                state.pointee.output.append($0, pool: &loop.state.pointee.blocks)
            }
        } else {
            state.pointee.output.append(referencing: array)
        }
    }

    /// Bytes were appended to output that was empty.
    final func outputBegan() {
        guard !state.pointee.output.isEmpty else { return }
        state.pointee.owesAnswer = false
        loop.listForFlush(self)
    }

    /// Output that is not empty is on the flush list already, or waits for the kernel.
    @inline(__always)
    private func listIfFirst() {
        guard state.pointee.output.isEmpty else { return }
        state.pointee.owesAnswer = false
        loop.listForFlush(self)
    }

    /// The one place that transmits: until the queue is empty, the kernel refuses, or this turn's
    /// share is used up; what is left over then goes in the next turn.
    final func flushNow() {
        let turn = loop.turnNumber
        if state.pointee.flushTurn != turn {
            state.pointee.flushTurn = turn
            state.pointee.flushedInTurn = 0
        }
        while !state.pointee.output.isEmpty, state.pointee.writable.mayTry {
            let share = StreamBounds.flushPerTurn - Int(state.pointee.flushedInTurn)
            guard share > 0 else { return loop.listForFlush(self) }
            let passing = state.pointee.passing
            let batch = state.pointee.output.gather(
                into: loop.iovecs, capacity: EventLoop.iovecCapacity,
                limit: passing?.limit(share, sent: state.pointee.bytesSent) ?? share)
            let sent =
                passing.map { transmit(loop.iovecs, count: batch.pieces, $0) }
                ?? transmit(loop.iovecs, count: batch.pieces)
            guard sent > 0 else {
                if sent == -Int(EAGAIN) {
                    state.pointee.writable.blocked()
                } else if passing.map({ refused(-sent, $0) }) != true {
                    outputFailed(-sent)
                }
                break
            }
            if sent < batch.bytes { state.pointee.writable.drained() }
            state.pointee.output.consume(sent, pool: &loop.state.pointee.blocks)
            state.pointee.bytesSent &+= UInt64(sent)
            state.pointee.flushedInTurn &+= Int32(truncatingIfNeeded: sent)
        }
        outputProgressed()
    }

    /// After a flush: the half-close that waited for it, the tasks that did, and the stall timer.
    private func outputProgressed() {
        if state.pointee.output.isEmpty {
            if state.pointee.finishRequested { finishOnce() }
            if state.pointee.stallTimer != 0 { disarmStallTimer() }
            if state.pointee.isDraining { startDraining() }
        } else if state.pointee.stallTimer == 0, !state.pointee.writable.mayTry {
            armStallTimer()
        }
        if !state.pointee.outputWaits.isEmpty { releaseOutputWaits() }
    }

    final func finishOnce() {
        guard !state.pointee.outputFinished, state.pointee.phase != .closed else { return }
        state.pointee.outputFinished = true
        if state.pointee.outputFailure == nil { finish() }
    }

    /// Resumes whoever waited for what has been reached.
    final func releaseOutputWaits() {
        let sent = state.pointee.bytesSent
        let isLow = state.pointee.output.count <= state.pointee.low
        var index = 0
        while index < state.pointee.outputWaits.count {
            let waiting = state.pointee.outputWaits[index]
            if waiting.sentMark.map({ $0 <= sent }) ?? isLow {
                state.pointee.outputWaits.remove(at: index)
                resume(waiting.wait, .ready)
            } else {
                index += 1
            }
        }
    }

    /// The kernel will take no more bytes. What the peer sent before is still to be read; then the
    /// reads end as well, for a peer that lacks an answer may wait for it for ever. The kernel says
    /// so itself of a connection that the peer broke, but not when it was short of memory.
    private func outputFailed(_ errno: Int) {
        failOutput(.reset(Int32(truncatingIfNeeded: errno)))
        outputBroke()
        guard outputFailureEndsInput else { return }
        if state.pointee.readable.latch() { endReadWait(.ready) }
        askCloseWaits()
    }

    /// Not after EPIPE: the kernel tells those who read from a connection that is gone, and a Unix
    /// peer that has shut down its reading only may go on sending.
    final var outputFailureEndsInput: Bool {
        guard case .reset(let errno)? = state.pointee.outputFailure else { return false }
        return errno != EPIPE
    }

    /// Drops the output and ends its waits; nothing of it will be reported as sent.
    final func failOutput(_ reason: EndReason) {
        if state.pointee.outputFailure == nil { state.pointee.outputFailure = reason }
        state.pointee.output.removeAll(to: &loop.state.pointee.blocks)
        endPassing()
        disarmStallTimer()
        let waits = state.pointee.outputWaits
        state.pointee.outputWaits = []
        for waiting in waits { resume(waiting.wait, .closed) }
    }

    /// Waits until the queue is down to the low mark, if it is above the high one.
    nonisolated(nonsending) final func drain() async throws(StreamError) {
        try checkOutput()
        if state.pointee.output.count > state.pointee.high {
            // What the kernel takes at once need not be waited for.
            flushNow()
            try checkOutput()
        }
        guard state.pointee.output.count > state.pointee.high else { return try await goOn() }
        try await waitForOutput(sentMark: nil)
    }

    /// A result without a wait: counted, so that a row of them lets others run.
    nonisolated(nonsending) private func goOn() async throws(StreamError) {
        state.pointee.resultsInARow &+= 1
        if state.pointee.resultsInARow >= StreamBounds.resultsInARow { try await takeTurns() }
    }

    /// Waits until the kernel has all bytes queued so far.
    nonisolated(nonsending) final func flush() async throws(StreamError) {
        try checkOutput()
        flushNow()
        try checkOutput()
        guard !state.pointee.output.isEmpty else { return try await goOn() }
        try await waitForOutput(
            sentMark: state.pointee.bytesSent &+ UInt64(state.pointee.output.count))
    }

    nonisolated(nonsending) private func waitForOutput(sentMark: UInt64?) async throws(StreamError)
    {
        let outcome =
            isHandlerTask
            ? await withUnsafeContinuation {
                parkWriter($0, number: loop.nextWaitNumber(), sentMark)
            }
            : await suspend { parkWriter($0, number: $1, sentMark) }
        state.pointee.resultsInARow = 0
        if outcome != .ready { throw error(of: outcome, state.pointee.outputFailure) }
    }

    /// The one place that parks writers.
    private func parkWriter(
        _ continuation: UnsafeContinuation<WaitOutcome, Never>, number: UInt32, _ sentMark: UInt64?
    ) {
        // Once more, where nothing can come in between any longer.
        if state.pointee.outputFailure != nil { return continuation.resume(returning: .closed) }
        begin(continuation, number: number) { wait in
            let isReached =
                sentMark.map { $0 <= state.pointee.bytesSent }
                ?? (state.pointee.output.count <= state.pointee.low)
            guard !isReached else { return false }
            state.pointee.outputWaits.append(OutputWait(wait: wait, sentMark: sentMark))
            return true
        }
    }

    /// Stores the wait until so many bytes are left; false if it is over already.
    final func awaitDrain(_ wait: Wait, to count: Int) -> Bool {
        let excess = state.pointee.output.count - count
        guard state.pointee.outputFailure == nil, state.pointee.phase != .closed, excess > 0
        else { return false }
        let mark = state.pointee.bytesSent &+ UInt64(excess)
        state.pointee.outputWaits.append(OutputWait(wait: wait, sentMark: mark))
        return true
    }

    /// Throws what has ended the output. An orderly close is no failure while its bytes still
    /// leave.
    private func checkOutput() throws(StreamError) {
        if let failure = state.pointee.outputFailure { throw failure.error }
        if state.pointee.phase == .closed { throw .closed }
    }

    // MARK: A peer that takes nothing

    private func armStallTimer() {
        guard settings.writeStall > 0 else { return }
        state.pointee.stallMark = takenByPeer
        state.pointee.stallTimer = loop.arm(
            self, purpose: TransportTimer.stall.rawValue,
            deadline: loop.now() &+ settings.writeStall)
    }

    final func disarmStallTimer() {
        loop.disarm(state.pointee.stallTimer)
        state.pointee.stallTimer = 0
    }

    /// Sent, less what still lies in the kernel: a slow peer makes progress long before the kernel
    /// asks us for more.
    final var takenByPeer: UInt64 {
        state.pointee.bytesSent &- UInt64(max(0, unacknowledged))
    }

    final func stallTimerFired() {
        state.pointee.stallTimer = 0
        guard !state.pointee.output.isEmpty else { return }
        if takenByPeer == state.pointee.stallMark {
            end(.stalled, reset: true)
        } else {
            armStallTimer()
        }
    }
}
