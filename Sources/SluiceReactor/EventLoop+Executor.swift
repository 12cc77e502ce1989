// The loop as an executor: how jobs come in, from its own thread and from others. Floor 1.

internal import CEpoll

/// The serial face of an ``EventLoop``, for actors that are to live on it. See
/// ``EventLoop/serialExecutor``.
// @unchecked Sendable: `loop` is set once, before the loop is handed to anybody.
public final class LoopSerialExecutor: SerialExecutor, @unchecked Sendable {
    /// Weak: the loop holds its face, and an actor may outlive a stopped loop.
    weak var loop: EventLoop?
    /// Keeps the jobs of an actor without a loop apart.
    private let late = Locked(())

    /// Called by the Swift runtime, on any thread: queues the job on the loop. Once the loop is
    /// gone, an actor's jobs run one by one on threads of the pool.
    public func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        if let loop { return loop.enqueue(job, face: .serial) }
        let isQueued = ThreadPool.shared.submit { self.runLate(job) }
        if !isQueued { runLate(job) }
    }

    private func runLate(_ job: UnownedJob) {
        late.withLock { _ in job.runSynchronously(on: asUnownedSerialExecutor()) }
    }

    /// Called by the Swift runtime: whether the current thread is the loop's.
    public func isIsolatingCurrentContext() -> Bool? {
        loop?.isCurrent
    }

    /// Called by the Swift runtime for `assumeIsolated` and its kin; stops the program off the
    /// loop.
    public func checkIsolated() {
        precondition(
            loop?.isCurrent ?? true, "this code is isolated to an event loop and ran off it")
    }
}

extension EventLoop {
    /// Called by the Swift runtime, on any thread: queues the job. On the loop's thread that is a
    /// plain store; from elsewhere it goes through the inbox and may wake the loop.
    public func enqueue(_ job: consuming ExecutorJob) {
        enqueue(UnownedJob(job), face: .task)
    }

    func enqueue(_ job: UnownedJob, face: JobFace) {
        if isCurrent {
            append(QueuedJob(job: job, face: face, origin: state.pointee.origin))
        } else {
            follow(inbox.put(QueuedJob(job: job, face: face, origin: 0)))
        }
    }

    private func follow(_ follow: Inbox.Follow) {
        switch follow {
        case .nothing: break
        case .wake: ce_wake(reactor)
        case .serve: serveAfterEnd()
        }
    }

    func append(_ job: QueuedJob) {
        state.pointee.jobs.append(job)
        state.pointee.watch.enqueues &+= 1
    }

    /// Runs a closure on the loop's thread, in its next turn. Any thread.
    ///
    /// - Parameter body: must not block. It runs before the timers and jobs of that turn.
    /// - Throws: ``ReactorError/inboxFull`` when the bound of waiting closures is reached, and
    ///   ``ReactorError/stopped`` after the loop was stopped; the closure is then not kept.
    public func post(_ body: @escaping @Sendable () -> Void) throws(ReactorError) {
        follow(try inbox.put(body))
    }

    /// For the loop's own needs, which must not be lost to the bound: as many as there are tasks.
    package func postAlways(_ body: @escaping @Sendable () -> Void) {
        follow(inbox.putAlways(.body(body)))
    }

    /// Starts a task on this loop, not bound to the current scope. Any thread.
    ///
    /// The task, its child tasks and what they await run on the loop's thread. (A bare `Task {}`
    /// would leave the loop.) Cancelling the returned task ends its Sluice waits with `cancelled`.
    ///
    /// - Parameters:
    ///   - name: shown in debuggers.
    ///   - body: the task's work.
    @discardableResult
    public func spawn<T: Sendable>(
        name: String? = nil, _ body: @escaping @Sendable () async throws -> T
    ) -> Task<T, any Error> {
        Task(name: name, executorPreference: self) {
            // Not bound to the scope, so neither to the deadline of a `withTimeout` around it.
            try await Deadline.$current.withValue(.max) { try await body() }
        }
    }

    /// Lets the other jobs of the current loop run, and its sockets and timers have their turn.
    ///
    /// Off a loop it is `Task.yield`.
    public nonisolated(nonsending) static func yield() async {
        guard let loop = EventLoop.current else { return await Task.yield() }
        // Resumed inside its own body a continuation would go on at once; so phase 3 resumes it
        // when its jobs are done, and it runs in the next turn.
        await withUnsafeContinuation { continuation in
            // A task that does not prefer the loop may have left it on the way here.
            guard loop.isCurrent else { return continuation.resume() }
            loop.state.pointee.yielded.append(continuation)
        }
    }

    /// Whether the current task runs on this loop and will be here again after each suspension. A
    /// task may be on the loop's thread without being at home: in an actor pinned to the loop, or
    /// begun by a bare `Task.immediate`. What suspends has to `hop` then, too.
    /// Nor is a task at home in an ordinary actor: its turns run on whichever thread keeps it busy.
    package func isHome(_ isolation: (any Actor)?) -> Bool {
        isCurrent && isolation == nil && isPreferredByCurrentTask
    }

    /// Whether the current task's nonisolated code runs on this loop.
    package var isPreferredByCurrentTask: Bool {
        withUnsafeCurrentTask { $0?.unownedTaskExecutor == asUnownedTaskExecutor() }
    }

    /// Runs `body` on this loop, from a task that is somewhere else.
    package nonisolated(nonsending) func hop<R: Sendable>(
        _ body: @escaping @Sendable () async -> R
    ) async -> R {
        await withTaskExecutorPreference(self) { await Self.onPreferred(body) }
    }

    /// `@concurrent`: leaves the caller's actor for the preferred executor, which is the loop.
    @concurrent
    private static func onPreferred<R: Sendable>(
        _ body: @escaping @Sendable () async -> R
    ) async -> R {
        await body()
    }
}
