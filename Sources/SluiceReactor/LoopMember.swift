// LoopMember: whatever the loop calls back: transports, listeners, sleeping tasks. Floor 1, the
// loop's thread. A member is reached by its token (readiness), by a timer, by the flush list, or by
// the number of one of its waits (deadline, cancellation). It only ever resumes tasks, which queues
// them; so none of these calls but `work` runs a user's code, and a member may close in any of
// them.

/// How a suspended wait ended. For the floors above this one.
public enum WaitOutcome: UInt8, Sendable {
    /// What was waited for may have come: try again.
    case ready
    /// The waiting task was cancelled.
    case cancelled
    /// The deadline of a surrounding `withTimeout` passed.
    case timedOut
    /// The member was closed, or its loop stopped.
    case closed
}

/// Who waits: a suspended task, or a member that is called back instead of one.
package enum Waiter {
    case task(UnsafeContinuation<WaitOutcome, Never>)
    case worker(LoopMember)
}

/// One wait: who, its number and its deadline's timer (0 for none).
package struct Wait {
    package var waiter: Waiter
    package var number: UInt32
    package var timer: TimerToken

    /// The wait of a member, whose `work` will be called.
    package init(worker: LoopMember) {
        waiter = .worker(worker)
        (number, timer) = (0, 0)
    }

    init(_ continuation: UnsafeContinuation<WaitOutcome, Never>, number: UInt32) {
        waiter = .task(continuation)
        (self.number, timer) = (number, 0)
    }
}

/// A transport, a listener or another thing that an event loop calls back. For the floors above
/// this one; it cannot be made or extended outside the package.
///
/// (It is `open` only because Swift has no class that may be subclassed throughout a package.)
// @unchecked Sendable: every stored property is touched on the loop's thread alone; the reference
// itself may travel (a cancellation handler carries it to the loop).
open class LoopMember: @unchecked Sendable {
    package final let loop: EventLoop
    /// The registration's token, 0 while not registered.
    package final var token: UInt64 = 0
    /// Whether the loop's flush list holds this member.
    package final var isOnFlushList = false

    package init(loop: EventLoop) {
        self.loop = loop
    }

    /// What reports call it.
    open func label() -> String { "a member" }

    /// Readiness came, as bits of `ce_readiness`.
    open func becameReady(_ ready: UInt32) {}

    /// A timer armed with `loop.arm` is due.
    open func timerFired(_ purpose: UInt32) {}

    /// The wait with this number is to end so, if it is still waiting.
    open func endWait(_ number: UInt32, _ outcome: WaitOutcome) {}

    /// A wait of its own has ended, or it was listed for work: called before the jobs of a turn, so
    /// that the tasks it resumes run in the same one. It may run users' pure code (codecs,
    /// predicates).
    open func work(_ outcome: WaitOutcome) {}

    /// Whether it still works on what has come; `nil` if it cannot tell.
    open var isAtWork: Bool? { nil }

    /// The loop is about to sleep: hand over what was gathered in this turn.
    open func flushOutput() {}

    /// The loop stops: end every wait, release every resource, now.
    open func loopStopped() {}
}

extension LoopMember {
    /// Suspends the current task, which must be at home, until its wait is ended.
    ///
    /// - Parameter park: gets the continuation and the wait's number, both for `begin`.
    package nonisolated(nonsending) final func suspend(
        _ park: (UnsafeContinuation<WaitOutcome, Never>, UInt32) -> Void
    ) async -> WaitOutcome {
        let number = loop.nextWaitNumber()
        defer { assert(loop.isCurrent, "a wait was begun by a task that was not at home") }
        return await withTaskCancellationHandler {
            await withUnsafeContinuation { park($0, number) }
        } onCancel: {
            loop.cancelWait(of: self, number: number)
        }
    }

    /// Begins a wait, inside the body that made the continuation: nothing can come in between.
    /// Cancellation and the deadline of a surrounding `withTimeout` end it through `endWait`.
    ///
    /// - Parameter store: puts the wait in its place and returns true, or returns false if what it
    ///   is for has come already.
    package final func begin(
        _ continuation: UnsafeContinuation<WaitOutcome, Never>, number: UInt32,
        _ store: (Wait) -> Bool
    ) {
        assert(loop.isCurrent)
        if loop.hasStopped { return continuation.resume(returning: .closed) }
        if Task.isCancelled { return continuation.resume(returning: .cancelled) }
        var wait = Wait(continuation, number: number)
        let deadline = Deadline.current
        if deadline != .max {
            if deadline <= loop.now() { return continuation.resume(returning: .timedOut) }
            wait.timer = loop.armWait(self, number: number, deadline: deadline)
        }
        if !store(wait) {
            loop.disarm(wait.timer)
            continuation.resume(returning: .ready)
        }
    }

    /// Ends a wait that its owner has already taken out of its place.
    package final func resume(_ wait: Wait, _ outcome: WaitOutcome) {
        if wait.timer != 0 { loop.disarm(wait.timer) }
        switch wait.waiter {
        case .task(let continuation):
            loop.state.pointee.origin = UInt32(truncatingIfNeeded: token)
            continuation.resume(returning: outcome)
            loop.state.pointee.origin = 0
        case .worker(let worker): loop.listForWork(worker, outcome)
        }
    }
}
