// Embedding: a loop without a thread, whose turns are taken by another loop of the program, the
// host's. Floor 1; the host's thread.
//
// The host knows one thing of the loop: a descriptor that is readable while there is something to
// do. epoll(7) sees to that for sockets; a timer of the shim's does it for deadlines; the wake-up
// does it for what other threads post, and for jobs that a turn left behind. So between turns the
// inbox counts as asleep, and a turn begins with its wait: what made the descriptor readable is
// then done in one turn, in the order 5 6 1 2 3 4.

package import CEpoll
internal import Glibc
internal import Synchronization

extension EventLoop {
    /// Makes a loop without a thread, for a program that has a loop of its own. Any thread.
    ///
    /// The host watches ``fileDescriptor``, level-triggered and for reading, and calls
    /// ``turn(timeout:)`` when it is readable; nothing is missed by a host that does only this.
    /// Start work on the loop with ``spawn(name:_:)`` or by calls that take `on:`; everything runs
    /// inside the host's turns, and a server on a numeric address needs no thread beside it.
    /// (Names are resolved on a thread of the pool, as `offload` works on one.)
    ///
    /// The loop lives until ``close()``.
    ///
    /// - Throws: ``SystemError`` if there are no descriptors for it: it has three.
    public static func makeEmbedded(
        options: Options = Options()
    ) throws(SystemError) -> EventLoop {
        try makeEmbedded(options: options, system: nil)
    }

    /// The same over a call table of the caller's, which is copied.
    package static func makeEmbedded(
        options: Options = Options(), system: UnsafePointer<ce_system>?
    ) throws(SystemError) -> EventLoop {
        let loop = try EventLoop(options: options, system: system, embedding: Embedding())
        var call: UnsafePointer<CChar>?
        let result = ce_timer_open(loop.reactor, &call)
        guard result == 0 else {
            throw SystemError(call: call.map { String(cString: $0) } ?? "timer", errno: result)
        }
        _ = loop.inbox.fallAsleep()
        return loop
    }

    /// What the host of an embedded loop watches for reading: readable while a turn has something
    /// to do, be it a socket's event, a timer, a task that is ready or a closure that was posted.
    ///
    /// It is an epoll descriptor, epoll(7), for poll(2), select(2) or another epoll set, watched
    /// level-triggered; reading from it and closing it are not the host's. Valid until the last
    /// reference to the closed loop is gone. Any thread.
    public var fileDescriptor: Int32 {
        if embedding == nil {
            stopProgram("EventLoop.fileDescriptor \(TurnRefusal.notEmbedded.rawValue)")
        }
        return ce_descriptor(reactor)
    }

    /// One turn of an embedded loop: takes what is ready, runs the tasks that it makes ready, and
    /// sends what they wrote.
    ///
    /// On the one thread that took the first turn; outside of any loop's tasks and callbacks. Both
    /// are checked: the program is stopped with a message.
    ///
    /// - Parameter timeout: how long to wait if nothing is ready; zero or less polls, `nil` waits
    ///   until something is. With a descriptor that is readable, or a task that is ready, no turn
    ///   waits.
    /// - Returns: true; false if the loop was closed or has now come to the end that
    ///   ``stop()`` asked for. Nothing is done then, now and later.
    @discardableResult
    public func turn(timeout: Duration? = .zero) -> Bool {
        refuse("turn")
        guard !state.pointee.hasStopped else { return false }
        let before = ce_enter(reactor, Unmanaged.passUnretained(self).toOpaque())
        let nanoseconds = timeout.map { Int64(clamping: $0.clampedNanoseconds) } ?? -1
        resume(waitBetweenTurns(nanoseconds))
        work()
        guard !state.pointee.isStopRequested else {
            finish(before)
            return false
        }
        handBack()
        ce_leave(before)
        return true
    }

    /// Ends an embedded loop: aborts its connections, ends its tasks' waits, and runs what that
    /// makes ready.
    ///
    /// On the thread of the turns, outside of them, checked as there; a second call does nothing.
    /// Later posts throw ``ReactorError/stopped``, and so do later waits. Tasks that come back to
    /// the closed loop from other people's awaits run on a thread of the pool. From elsewhere, and
    /// from a task of the loop, call ``stop()``.
    public func close() {
        refuse("close")
        guard !state.pointee.hasStopped else { return }
        finish(ce_enter(reactor, Unmanaged.passUnretained(self).toOpaque()))
    }

    /// Why the calling thread may not take a turn now; `nil` if it may.
    package func turnRefusal() -> TurnRefusal? {
        guard let embedding else { return .notEmbedded }
        guard EventLoop.current == nil else { return .nested }
        return embedding.isOwner() ? nil : .otherThread
    }

    private func refuse(_ call: String) {
        if let refusal = turnRefusal() { stopProgram("EventLoop.\(call) \(refusal.rawValue)") }
    }

    /// The inbox still counts as asleep: whatever is posted ends the wait.
    private func waitBetweenTurns(_ nanoseconds: Int64) -> Int {
        var timeout = isBusy ? 0 : nanoseconds
        if timeout != 0, let deadline = state.pointee.timers.nextDeadline() {
            let now = now()
            let left = Int64(clamping: deadline > now ? deadline - now : 0)
            timeout = timeout < 0 ? left : min(timeout, left)
        }
        let count = wait(nanoseconds: timeout)
        inbox.wokeUp()
        return count
    }

    /// Ends a turn: from here on the descriptor has to say when the next one is due.
    private func handBack() {
        let end = now()
        state.pointee.watch.turnEnded(at: end)
        reportLongTurn()
        let isArmed = armHostTimer(now: end)
        let mayRest = inbox.fallAsleep()
        if isBusy || !mayRest || !isArmed { ce_wake(reactor) }
    }

    /// Sets the shim's timer if the next deadline comes before the one it is set to. One that moved
    /// away costs a turn for nothing instead of a system call for each: a read with a timeout moves
    /// it at every message. False if the system refused.
    private func armHostTimer(now: UInt64) -> Bool {
        if state.pointee.hostDeadline <= now { state.pointee.hostDeadline = .max }
        let deadline = state.pointee.timers.nextDeadline() ?? .max
        guard deadline < state.pointee.hostDeadline else { return true }
        let result = ce_timer_set(reactor, deadline)
        if result == 0 { state.pointee.hostDeadline = deadline }
        return result == 0
    }
}

/// Why a turn may not be taken, as the end of a sentence that begins with the call.
package enum TurnRefusal: String {
    case notEmbedded = "is for loops made by EventLoop.makeEmbedded; this one runs on a thread"
    case nested = "was called inside a task or callback of a loop; turns are the host's to take"
    case otherThread = "was called on another thread than the first turn; a loop has one thread"
}

/// An embedded loop's one thread, known from its first turn on.
package final class Embedding: Sendable {
    private let owner = Atomic<UInt>(0)

    /// Whether the calling thread is the owner; the first one to ask becomes it.
    func isOwner() -> Bool {
        let this = UInt(pthread_self())
        let (isFirst, owner) = owner.compareExchange(
            expected: 0, desired: this, ordering: .relaxed)
        return isFirst || owner == this
    }
}
