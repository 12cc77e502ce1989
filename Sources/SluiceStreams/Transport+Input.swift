// The way in: one place that receives, one place that parks a reader. Floor 2, the loop's thread.

internal import Glibc
internal import SluiceReactor

extension Transport {
    final func inputBecameReady(hangUp: Bool) {
        if state.pointee.readable.latch(hangUp: hangUp) { endReadWait(.ready) }
        if hangUp, !state.pointee.closeWaits.isEmpty { askCloseWaits() }
        if state.pointee.phase == .closing { advanceClosing() }
    }

    /// The peer hung up: those who wait for that, or for the close, look again.
    final func askCloseWaits() {
        let waits = state.pointee.closeWaits
        state.pointee.closeWaits = []
        for wait in waits { resume(wait, .ready) }
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
        if let watch = state.pointee.readWatch { watch.readEnded() }
        if state.pointee.input.isEmpty { settleInput() }
    }

    final func settleInput() {
        guard !state.pointee.isShowing else { return }
        state.pointee.input.settle(to: &loop.state.pointee.blocks)
    }

    /// Drops what was received and not read; while a span shows it, only once that has ended.
    final func discardInput() {
        guard !state.pointee.isShowing else { return }
        state.pointee.input.removeAll(to: &loop.state.pointee.blocks)
        state.pointee.arrived = nil
    }

    /// A span call shows buffered bytes: until `endShowing` they stay where they are.
    final func beginShowing() {
        state.pointee.isReading = true
        state.pointee.isShowing = true
    }

    /// Consumes what was shown; a close or abort in the meantime has asked for all of it to go.
    final func endShowing(_ shown: Int) {
        state.pointee.isReading = false
        state.pointee.isShowing = false
        state.pointee.input.consume(shown)
        let isDiscarded =
            state.pointee.phase == .closing || state.pointee.inputFailure == .aborted
            || (state.pointee.phase == .closed && state.pointee.inputFailure == nil)
        if isDiscarded { discardInput() }
    }

    /// Whether the current task runs on the loop and will be there again after each wait.
    final func isHome(_ isolation: (any Actor)?) -> Bool {
        loop.isCurrent && isolation == nil && (isHandlerTask || loop.isPreferredByCurrentTask)
    }

    /// What came of asking for more bytes: `blocked` says to wait and ask again, `shareUsed` to let
    /// others run in between.
    typealias Filling = StreamReader.Filling

    /// Receives more bytes into the buffer if there are any; throws once an error has ended them.
    final func fill() throws(StreamError) -> Filling {
        while true {
            if let refusal = try mayFill() { return refusal }
            let room = state.pointee.input.room(from: &loop.state.pointee.blocks)
            guard let base = room.baseAddress else { preconditionFailure("a room has bytes") }
            let count = receiveOnce(
                into: base, count: min(room.count, Int(state.pointee.receiveLimit)))
            if count > 0 {
                state.pointee.input.append(count)
                return .bytes
            }
        }
    }

    /// The same past the empty buffer, into what `lend` lends; into the buffer if it lends nothing,
    /// or a receive would be tried without end.
    final func fill(
        directly lend: ((UnsafeMutableRawBufferPointer) -> Int) -> Void
    ) throws(StreamError) -> Filling {
        while true {
            if let refusal = try mayFill() { return refusal }
            var (count, isLent) = (0, false)
            lend { room in
                guard let base = room.baseAddress, !room.isEmpty, !isLent else { return 0 }
                isLent = true
                count = receiveOnce(into: base, count: min(room.count, receiveShare))
                return count
            }
            if !isLent { return try fill() }
            if count > 0 {
                state.pointee.takenByDecoder &+= count
                state.pointee.input.expect(count)
                return .bytes
            }
        }
    }

    /// Why nothing can be received now; `nil` if a receive is worth trying.
    final func mayFill() throws(StreamError) -> Filling? {
        while try inputIsOpen() {
            if state.pointee.readable.mayTry { return mayReceive ? nil : .shareUsed }
            guard state.pointee.isDraining, isIdle else { return .blocked }
            state.pointee.inputCut = true
        }
        return .end
    }

    /// Whether a receive is worth trying and this turn's share is not used up.
    final var mayReceive: Bool {
        guard state.pointee.readable.mayTry else { return false }
        if state.pointee.receiveTurn != loop.turnNumber {
            state.pointee.receiveTurn = loop.turnNumber
            state.pointee.receivedInTurn = 0
        }
        return state.pointee.receivedInTurn < StreamBounds.receivePerTurn
    }

    /// What one receive may ask for of this turn's share, after `mayReceive`.
    final var receiveShare: Int {
        Int(
            min(
                StreamBounds.receivePerTurn - state.pointee.receivedInTurn,
                state.pointee.receiveLimit))
    }

    /// Whether bytes may still come; throws once an error has ended them.
    final func inputIsOpen() throws(StreamError) -> Bool {
        if let failure = state.pointee.inputFailure { throw failure.error }
        // First: what this side has closed is not read to its end.
        if state.pointee.phase != .open { throw .closed }
        return !state.pointee.hasEnded
    }

    /// The one place that receives. Returns the count, or 0 when there is nothing now; the end and
    /// errors are then in the state.
    final func receiveOnce(into buffer: UnsafeMutableRawPointer, count: Int) -> Int {
        received(receive(into: buffer, count: count), asked: count)
    }

    /// What follows from a receive.
    @inline(__always)
    final func received(_ received: Int, asked: Int) -> Int {
        guard received > 0 else { return receivedNothing(received) }
        // Less than there was room for: the kernel has no more, an edge will tell. Once output has
        // failed there is only the end to be found.
        if received < asked, !outputFailureEndsInput { state.pointee.readable.drained() }
        accept(received)
        return received
    }

    /// Counts bytes taken from the kernel.
    @inline(__always)
    final func accept(_ received: Int) {
        state.pointee.bytesReceived &+= UInt64(received)
        state.pointee.receivedInTurn &+= Int32(truncatingIfNeeded: received)
        state.pointee.owesAnswer = true
    }

    private func receivedNothing(_ received: Int) -> Int {
        if received == -Int(EAGAIN) {
            if outputFailureEndsInput, let failure = state.pointee.outputFailure {
                end(failure, reset: true)
            } else {
                state.pointee.readable.blocked()
            }
        } else if received < 0 {
            // With a reset, lest the peer takes our end for a clean one: not each error is its own.
            end(.reset(Int32(truncatingIfNeeded: -received)), reset: true)
        } else if outputFailureEndsInput, let failure = state.pointee.outputFailure {
            // The error was told to a send already; what follows it is no clean end. (EPIPE came
            // after the peer's end, so that one was clean.)
            end(failure, reset: true)
        } else {
            state.pointee.inputEnded = true
        }
        return 0
    }

    // The one place that parks a reader is `parkReader`; two ways lead to it. They are small
    // functions of their own because their frames stay on the task of each idle connection.

    /// For the connection's own handler, which needs no cancellation handler.
    nonisolated(nonsending) final func waitAsHandler() async -> WaitOutcome {
        await withUnsafeContinuation { parkReader($0, number: loop.nextWaitNumber()) }
    }

    /// For every other task.
    nonisolated(nonsending) final func waitAsGuest() async -> WaitOutcome {
        await suspend { parkReader($0, number: $1) }
    }

    /// A read's wait is over.
    final func inputWaitEnded(_ outcome: WaitOutcome) throws(StreamError) {
        state.pointee.resultsInARow = 0
        if outcome == .ready { return }
        if outcome != .closed { readGivesUp() }
        throw error(of: outcome, state.pointee.inputFailure)
    }

    private func parkReader(
        _ continuation: UnsafeContinuation<WaitOutcome, Never>, number: UInt32
    ) {
        begin(continuation, number: number) { parkReader($0) }
    }

    /// Stores the wait of a read; false if there may be something to read already.
    final func parkReader(_ wait: Wait) -> Bool {
        // Once more, where nothing can come in between any longer.
        guard state.pointee.phase == .open, state.pointee.inputFailure == nil,
            !state.pointee.hasEnded, state.pointee.readable.park()
        else { return false }
        state.pointee.readWait = wait
        settleInput()
        if state.pointee.readWatch != nil { watchParkedRead() }
        return true
    }

    /// Whether the current task is the connection's own handler. Its cancellation comes from the
    /// server alone, which ends its waits here (`cancelHandlerWaits`); so it needs no cancellation
    /// handler at each wait, which saves it a third of the wait's time and the task's second memory
    /// slab.
    final var isHandlerTask: Bool {
        owner?.isHandlerTask ?? false
    }

    /// The handler's task was cancelled: ends its waits on this transport. Those of other tasks
    /// that read or write here end too; a handler's connection is closed when the handler ends.
    final func cancelHandlerWaits() {
        endReadWait(.cancelled)
        let waits = state.pointee.outputWaits
        state.pointee.outputWaits = []
        for waiting in waits { resume(waiting.wait, .cancelled) }
        tellMembers(.cancelled)
    }

    /// What a wait that was not answered throws.
    final func error(of outcome: WaitOutcome, _ failure: EndReason?) -> StreamError {
        switch outcome {
        case .cancelled: .cancelled
        case .timedOut: .timedOut
        case .closed, .ready: (failure ?? .closed).error
        }
    }

    /// Lets the loop's other work run after a row of results that never suspended.
    nonisolated(nonsending) final func takeTurns() async throws(StreamError) {
        state.pointee.resultsInARow = 0
        await EventLoop.yield()
        if Task.isCancelled { throw .cancelled }
        if Deadline.current <= loop.now() { throw .timedOut }
    }

    /// Nothing received that has not been answered, nothing on the way out. A member that reads may
    /// know better what has been answered.
    final var isIdle: Bool {
        state.pointee.unfinished == 0 && state.pointee.output.isEmpty
            && !(readingMember?.isAtWork ?? state.pointee.owesAnswer)
    }

    /// A server shuts down: an idle connection's input ends now, a busy one's when it becomes idle.
    final func startDraining() {
        state.pointee.isDraining = true
        guard state.pointee.readWait != nil, isIdle else { return }
        // The reader receives once more: a request that lies in the kernel already is answered.
        _ = state.pointee.readable.latch()
        endReadWait(.ready)
    }
}
