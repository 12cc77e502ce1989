// Signals as an AsyncSequence. Floor 1; a watch lives on its loop's thread.
//
// The handler, in the shim, only adds 1 to an eventfd of the watch; all else happens in the loop's
// turn. Threads of ours block every signal, so the loop's thread lets through those it watches: if
// all others block them too, they still arrive.

internal import CEpoll
internal import Glibc

/// Watches signals: from the return of this call on none of them is lost.
///
/// ```swift
/// for await signal in try await signals(.terminate, .interrupt) { … }
/// ```
///
/// While somebody watches a signal it does nothing else: the program goes on. Any number of
/// arrivals until the next look count as one, but each signal that arrived is given at least once
/// (signal(7) joins them as well). Up to eight sequences may watch the same signal, in any loops;
/// each sees it. When the last of them has gone, the disposition from before comes back,
/// sigaction(2).
///
/// - Parameters:
///   - kinds: one or more.
///   - loop: where they are watched; by default the loop the caller runs on, else
///     ``EventLoop/background``. Any task may iterate.
/// - Returns: the sequence. The signals are watched until it and its iterators are dropped, or the
///   loop stops.
/// - Throws: ``ReactorError/unwatchable(_:)`` for SIGKILL, SIGSTOP, numbers that are none, and the
///   faults (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP); ``ReactorError/system(_:)`` with EUSERS for
///   the ninth sequence of a signal, with EMFILE and its kin without a descriptor (one for each
///   signal); ``ReactorError/stopped``.
public nonisolated(nonsending) func signals(
    _ kinds: Signal..., on loop: EventLoop? = nil
) async throws(ReactorError) -> SignalSequence {
    try await signals(kinds, on: loop)
}

/// Watches the signals of an array; otherwise as `signals(_:on:)` of several arguments.
public nonisolated(nonsending) func signals(
    _ kinds: [Signal], on loop: EventLoop? = nil
) async throws(ReactorError) -> SignalSequence {
    precondition(!kinds.isEmpty, "signals(…) needs at least one signal")
    let loop = loop ?? EventLoop.current ?? EventLoop.background
    let result =
        loop.isCurrent
        ? SignalWatch.open(kinds, on: loop) : await loop.hop { SignalWatch.open(kinds, on: loop) }
    return SignalSequence(handle: try result.get())
}

/// The signals that arrive, made by `signals(_:on:)`.
///
/// It ends when the iterating task is cancelled, when the deadline of a surrounding `withTimeout`
/// passes, and when the loop stops. What has arrived and was not given by then is given to whoever
/// asks next. Iterators of one sequence share its signals; who has to see all of them makes a
/// sequence of its own.
public struct SignalSequence: AsyncSequence, Sendable {
    /// What arrived.
    public typealias Element = Signal
    /// Waiting does not fail, it ends.
    public typealias Failure = Never

    let handle: SignalHandle

    /// Gives the signals one by one.
    public struct AsyncIterator: AsyncIteratorProtocol {
        let handle: SignalHandle

        /// The next signal, or `nil` at the end.
        public mutating func next() async -> Signal? {
            await handle.watch.next()
        }

        /// The next signal, on the caller's actor.
        public mutating func next(isolation actor: isolated (any Actor)?) async -> Signal? {
            await handle.watch.next()
        }
    }

    /// Gives what has not been given.
    public func makeAsyncIterator() -> AsyncIterator {
        AsyncIterator(handle: handle)
    }
}

/// What the sequence and its iterators hold: the watch ends with the last of them.
final class SignalHandle: Sendable {
    let watch: SignalWatch

    init(_ watch: SignalWatch) {
        self.watch = watch
    }

    deinit {
        let watch = self.watch
        if watch.loop.isCurrent { return watch.end() }
        watch.loop.postAlways { watch.end() }
    }
}

/// Some signals' descriptors, all under one token of the loop.
// @unchecked Sendable by LoopMember: its state is touched on the loop's thread alone.
final class SignalWatch: LoopMember, @unchecked Sendable {
    private var watched: [(signal: Signal, fd: Int32)] = []
    /// Arrived and not given yet, in the order of arrival as far as that can be seen; each once.
    private var pending: [Signal] = []
    private var waiting: [Wait] = []
    private var hasEnded = false

    /// All of the signals or none. On the loop's thread.
    static func open(
        _ kinds: [Signal], on loop: EventLoop
    ) -> Result<SignalHandle, ReactorError> {
        guard !loop.hasStopped else { return .failure(.stopped) }
        let watch = SignalWatch(loop: loop)
        loop.admit(watch)
        do throws(ReactorError) {
            for kind in kinds { try watch.add(kind) }
        } catch {
            watch.end()
            return .failure(error)
        }
        return .success(SignalHandle(watch))
    }

    private func add(_ signal: Signal) throws(ReactorError) {
        guard !watched.contains(where: { $0.signal == signal }) else { return }
        guard !signal.isFault else { throw .unwatchable(signal) }
        let fd = ce_signal_open(loop.reactor, signal.rawValue)
        if fd == -EINVAL { throw .unwatchable(signal) }
        guard fd >= 0 else {
            let call = fd == -EUSERS ? "sigaction" : "eventfd"
            throw .system(SystemError(call: call, errno: fd))
        }
        watched.append((signal, fd))
        // The handler is in place: what other threads hold back may come now.
        loop.letThrough(signal)
        let result = ce_add(loop.reactor, fd, CE_WANT_IN.rawValue, token)
        guard result == 0 else {
            throw .system(SystemError(call: "epoll_ctl", errno: result))
        }
    }

    /// Ends the watch and whoever waits in it. On the loop's thread; idempotent.
    func end() {
        guard !hasEnded else { return }
        hasEnded = true
        for (signal, fd) in watched {
            ce_remove(loop.reactor, fd)
            loop.holdBack(signal)
            ce_signal_close(loop.reactor, signal.rawValue, fd)
        }
        watched = []
        loop.dismiss(self)
        wake(.ready)
    }

    nonisolated(nonsending) func next() async -> Signal? {
        guard loop.isHome(#isolation) else { return await loop.hop { await self.next() } }
        while !Task.isCancelled {
            if !pending.isEmpty { return pending.removeFirst() }
            if hasEnded { return nil }
            let outcome = await suspend { continuation, number in
                begin(continuation, number: number) { wait in
                    guard pending.isEmpty, !hasEnded else { return false }
                    waiting.append(wait)
                    return true
                }
            }
            guard outcome == .ready else { return nil }
        }
        return nil
    }

    /// Which of them it was is seen by reading all. A read that fails is tried again in the next
    /// turn, since the descriptor stays readable.
    override func becameReady(_ ready: UInt32) {
        for (signal, fd) in watched
        where ce_signal_read(loop.reactor, fd) > 0 && !pending.contains(signal) {
            pending.append(signal)
        }
        if !pending.isEmpty { wake(.ready) }
    }

    override func endWait(_ number: UInt32, _ outcome: WaitOutcome) {
        guard let index = waiting.firstIndex(where: { $0.number == number }) else { return }
        resume(waiting.remove(at: index), outcome)
    }

    override func loopStopped() { end() }

    override func label() -> String {
        "a watch of \(watched.map(\.signal.description).joined(separator: ", "))"
    }

    private func wake(_ outcome: WaitOutcome) {
        let all = waiting
        waiting = []
        for wait in all { resume(wait, outcome) }
    }
}

extension EventLoop {
    /// Lets a signal reach the loop's thread, if it was blocked there, until as many `holdBack`.
    fileprivate func letThrough(_ signal: Signal) {
        if let count = state.pointee.signalsLetThrough[signal] {
            state.pointee.signalsLetThrough[signal] = count + 1
        } else if setBlocked(signal, false) {
            state.pointee.signalsLetThrough[signal] = 1
        }
    }

    fileprivate func holdBack(_ signal: Signal) {
        guard let count = state.pointee.signalsLetThrough[signal] else { return }
        state.pointee.signalsLetThrough[signal] = count > 1 ? count - 1 : nil
        if count == 1 { _ = setBlocked(signal, true) }
    }

    /// Whether the calling thread blocked it before.
    private func setBlocked(_ signal: Signal, _ isBlocked: Bool) -> Bool {
        var (set, before) = (sigset_t(), sigset_t())
        sigemptyset(&set)
        sigaddset(&set, signal.rawValue)
        pthread_sigmask(isBlocked ? SIG_BLOCK : SIG_UNBLOCK, &set, &before)
        return sigismember(&before, signal.rawValue) == 1
    }
}
