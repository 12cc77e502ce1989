// A loop's life: on the calling thread, or on a thread of its own, and its end. Floor 1.

package import CEpoll
internal import Glibc

extension EventLoop {
    /// The process-wide loop, on a thread of its own, started at first use and never stopped. It
    /// serves callers that run on no loop.
    public static let background: EventLoop = {
        do {
            return try start(options: Options())
        } catch {
            // Without epoll or threads there is nothing this library could do instead.
            preconditionFailure("the background loop cannot start: \(error)")
        }
    }()

    /// Runs an async main on the calling thread: turns it into a loop until `body` has ended.
    ///
    /// When it returns, connections still open on the loop are aborted and their tasks' waits end.
    /// While it occupies the main thread, nothing isolated to `@MainActor` runs. Not to be called
    /// on a thread that already runs a loop.
    ///
    /// - Parameters:
    ///   - options: the loop's settings.
    ///   - body: the program.
    /// - Returns: what `body` returns.
    /// - Throws: what `body` throws; ``SystemError`` if there is no descriptor for a loop.
    public static func run<T: Sendable>(
        options: Options = Options(), _ body: @escaping @Sendable () async throws -> T
    ) throws -> T {
        precondition(EventLoop.current == nil, "EventLoop.run: this thread already runs a loop")
        let loop = try EventLoop(options: options)
        let box = ResultBox<T>()
        Task(executorPreference: loop) {
            let outcome: Result<T, any Error>
            do { outcome = .success(try await body()) } catch { outcome = .failure(error) }
            box.result.withLock { $0 = outcome }
            loop.state.pointee.isStopRequested = true
        }
        loop.turnUntilStopped()
        guard let outcome = box.result.withLock({ $0 }) else { throw ReactorError.stopped }
        return try outcome.get()
    }

    /// Starts a loop on a thread of its own. Any thread.
    ///
    /// The loop and its thread live until ``stop()``.
    ///
    /// - Throws: ``SystemError`` if there is no descriptor or no thread for it.
    public static func start(options: Options = Options()) throws(SystemError) -> EventLoop {
        try start(options: options, system: nil)
    }

    /// The same over a call table of the caller's, which is copied.
    package static func start(
        options: Options = Options(), system: UnsafePointer<ce_system>?
    ) throws(SystemError) -> EventLoop {
        let loop = try EventLoop(options: options, system: system)
        let isStarted = startDetachedThread(name: options.name) { loop.turnUntilStopped() }
        guard isStarted else { throw SystemError(call: "pthread_create", errno: EAGAIN) }
        return loop
    }

    /// Stops a started loop, or an embedded one in its next turn: aborts its connections, ends its
    /// tasks' waits, runs what that makes ready, and lets its thread end. Any thread but the loop's
    /// own tasks should wait for it.
    ///
    /// Later posts throw ``ReactorError/stopped``, and so do later waits. Tasks that come back to
    /// the stopped loop from other people's awaits run on a thread of the pool. A second call
    /// returns once the first is done.
    public nonisolated(nonsending) func stop() async {
        requestStop()
        guard !isCurrent else { return }
        await withUnsafeContinuation { continuation in ending.wait(continuation) }
    }

    /// Asks a loop to stop, without waiting for it. Any thread.
    func requestStop() {
        postAlways { self.state.pointee.isStopRequested = true }
    }

    /// Whether the loop was stopped: nothing waits on it any more.
    package var hasStopped: Bool { state.pointee.hasStopped }

    /// The thread's whole life.
    func turnUntilStopped() {
        let before = ce_enter(reactor, Unmanaged.passUnretained(self).toOpaque())
        state.pointee.watch.turnBegan(at: now())
        while !state.pointee.isStopRequested { turn(wait: true) }
        finish(before)
    }

    /// The loop's end, on the thread that took its turns; `before` is what that thread ran before.
    func finish(_ before: ce_thread) {
        inbox.close()
        state.pointee.hasStopped = true
        for member in state.pointee.members.all() { member.loopStopped() }
        let isDone = turnUntilForsaken()
        ce_leave(before)
        // A task that goes on yielding holds nobody up: the rest is left to the pool.
        if !isDone { serveAfterEnd() }
        ending.end()
    }

    /// Runs what is left, and what that makes ready; the waits in it end at once. Returns false if
    /// after many turns there still is something.
    private func turnUntilForsaken() -> Bool {
        repeat {
            for _ in 0..<ReactorBounds.turnsToStop {
                turn(wait: false)
                if !hasWork { break }
            }
            if hasWork { return false }
        } while !inbox.forsake()
        return true
    }

    /// Runs what reached the loop after its thread had ended, on a thread of the pool; one at a
    /// time, since only the first item after `forsake` calls for it.
    func serveAfterEnd() {
        let serve: @Sendable () -> Void = {
            let before = ce_enter(self.reactor, Unmanaged.passUnretained(self).toOpaque())
            while !self.turnUntilForsaken() {}
            ce_leave(before)
        }
        if !ThreadPool.shared.submit(serve), !startDetachedThread(name: options.name, serve) {
            // Out of threads: here is better than never.
            serve()
        }
    }
}

/// Where the root task leaves its result.
private final class ResultBox<T: Sendable>: Sendable {
    let result = Locked<Result<T, any Error>?>(nil)
}

/// Those who wait for a loop's thread to end.
final class LoopEnding: Sendable {
    private struct State {
        var waiters: [UnsafeContinuation<Void, Never>] = []
        var hasEnded = false
    }
    private let state = Locked(State())

    func wait(_ continuation: UnsafeContinuation<Void, Never>) {
        let hasEnded = state.withLock { state in
            if !state.hasEnded { state.waiters.append(continuation) }
            return state.hasEnded
        }
        if hasEnded { continuation.resume() }
    }

    func end() {
        let waiters = state.withLock { state in
            state.hasEnded = true
            let waiters = state.waiters
            state.waiters = []
            return waiters
        }
        for waiter in waiters { waiter.resume() }
    }
}
