// The way in: one place that receives, one place that parks a reader. Floor 2, the loop's thread.

internal import Glibc
internal import SluiceReactor

extension Transport {
    final func inputBecameReady(hangUp: Bool) {
        if state.pointee.readable.latch(hangUp: hangUp) { endReadWait(.ready) }
        if state.pointee.phase == .closing { advanceClosing() }
    }

    /// Ends the parked read, if there is one.
    final func endReadWait(_ outcome: WaitOutcome) {
        guard let wait = state.pointee.readWait else { return }
        state.pointee.readWait = nil
        state.pointee.readable.unpark()
        resume(wait, outcome)
    }

    /// Begins a read: refuses a second one. Followed by `endReading`.
    final func beginReading() throws(StreamError) {
        if state.pointee.isReading { throw .busy }
        if state.pointee.phase != .open, state.pointee.inputFailure == nil { throw .closed }
        state.pointee.isReading = true
    }

    final func endReading() {
        state.pointee.isReading = false
        if state.pointee.input.isEmpty { settleInput() }
    }

    final func settleInput() {
        state.pointee.input.settle(to: &loop.state.pointee.blocks)
    }

    /// Receives more bytes into the buffer, waiting for them if need be.
    ///
    /// - Returns: false at the end of the stream.
    nonisolated(nonsending) final func fill() async throws(StreamError) -> Bool {
        while try inputIsOpen() {
            if state.pointee.readable.mayTry {
                let room = state.pointee.input.room(from: &loop.state.pointee.blocks)
                if let base = room.baseAddress {
                    let count = receiveOnce(into: base, count: room.count)
                    if count > 0 {
                        state.pointee.input.append(count)
                        return true
                    }
                }
            } else {
                try await waitForInput()
            }
        }
        return false
    }

    /// Whether bytes may still come; throws once an error has ended them.
    final func inputIsOpen() throws(StreamError) -> Bool {
        if let failure = state.pointee.inputFailure { throw failure.error }
        if state.pointee.inputEnded { return false }
        if state.pointee.phase != .open { throw .closed }
        return true
    }

    /// The one place that receives. Returns the count, or 0 when there is nothing now; the end and
    /// errors are then in the state.
    final func receiveOnce(into buffer: UnsafeMutableRawPointer, count: Int) -> Int {
        let received = receive(into: buffer, count: count)
        if received > 0 {
            // Less than there was room for: the kernel has no more, an edge will tell.
            if received < count { state.pointee.readable.drained() }
            state.pointee.bytesReceived &+= UInt64(received)
            state.pointee.owesAnswer = true
            return received
        }
        if received == -Int(EAGAIN) {
            state.pointee.readable.blocked()
        } else if received < 0 {
            end(.reset(Int32(truncatingIfNeeded: -received)), reset: true)
        } else if let failure = state.pointee.outputFailure, case .reset = failure {
            // The error was told to a send already; what follows it is no clean end.
            end(failure, reset: true)
        } else {
            state.pointee.inputEnded = true
        }
        return 0
    }

    /// The one place that parks a reader.
    nonisolated(nonsending) final func waitForInput() async throws(StreamError) {
        if state.pointee.isDraining, isIdle { return state.pointee.inputEnded = true }
        let outcome = await suspend { wait in
            guard state.pointee.readable.park() else { return false }
            state.pointee.readWait = wait
            settleInput()
            return true
        }
        state.pointee.resultsInARow = 0
        switch outcome {
        case .ready: return
        case .cancelled: throw .cancelled
        case .timedOut: throw .timedOut
        case .closed: throw (state.pointee.inputFailure ?? .closed).error
        }
    }

    /// Lets the loop's other work run after a row of results that never suspended.
    nonisolated(nonsending) final func takeTurns() async throws(StreamError) {
        state.pointee.resultsInARow = 0
        await EventLoop.yield()
        if Task.isCancelled { throw .cancelled }
        if Deadline.current <= loop.now() { throw .timedOut }
    }

    /// Nothing received that has not been answered, nothing on the way out.
    final var isIdle: Bool {
        state.pointee.input.isEmpty && !state.pointee.owesAnswer && state.pointee.output.isEmpty
    }

    /// A server shuts down: an idle connection's input ends now, a busy one's when it becomes idle.
    final func startDraining() {
        state.pointee.isDraining = true
        guard state.pointee.readWait != nil, isIdle else { return }
        state.pointee.inputEnded = true
        endReadWait(.ready)
    }
}
