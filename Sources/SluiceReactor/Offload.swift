// offload: blocking or CPU-heavy work on a bounded pool of threads, away from every loop. Floor 1.

internal import Glibc

/// Runs blocking or CPU-heavy work on a thread of a bounded pool and gives its result back.
///
/// The loop goes on meanwhile. At most 16 threads work at a time, further closures wait in order.
///
/// - Parameter body: may block. It is not interrupted once it has begun.
/// - Returns: what `body` returns, back on the caller's loop.
/// - Throws: ``ReactorError/timedOut`` when the deadline of a surrounding `withTimeout` passes
///   first (a closure that has begun runs on, its result is dropped); what `body` throws;
///   ``ReactorError/cancelled`` if the task was cancelled while the closure was still waiting (it
///   is then never run); ``ReactorError/offloadFull`` if 4,096 already wait.
public nonisolated(nonsending) func offload<T: Sendable>(
    _ body: @escaping @Sendable () throws -> T
) async throws -> T {
    if Task.isCancelled { throw ReactorError.cancelled }
    let work = OffloadedWork<T>()
    let deadline = Deadline.current
    guard deadline != .max else { return try await wait(for: work, body) }
    let loop = EventLoop.current ?? .background
    let now = loop.now()
    guard deadline > now else { throw ReactorError.timedOut }
    let alarm = Alarm(loop: loop)
    alarm.ring = { work.end(.timedOut) }
    await alarm.start(in: deadline - now)
    do {
        let result = try await wait(for: work, body)
        _ = await alarm.stop()
        return result
    } catch {
        _ = await alarm.stop()
        throw error
    }
}

private nonisolated(nonsending) func wait<T: Sendable>(
    for work: OffloadedWork<T>, _ body: @escaping @Sendable () throws -> T
) async throws -> T {
    try await withTaskCancellationHandler {
        try await withUnsafeThrowingContinuation { continuation in
            work.begin(continuation)
            let isQueued = ThreadPool.shared.submit {
                guard work.start() else { return }
                let result = Result { try body() }
                work.take()?.resume(with: result)
            }
            if !isQueued { work.take()?.resume(throwing: ReactorError.offloadFull) }
        }
    } onCancel: {
        work.end(.cancelled)
    }
}

/// One closure's caller: resumed once, by the thread that runs it or by its cancellation.
private final class OffloadedWork<T: Sendable>: Sendable {
    private struct State {
        var continuation: UnsafeContinuation<T, any Error>?
        var ending: ReactorError?
        var hasStarted = false
    }
    private let state = Locked(State())

    func begin(_ continuation: UnsafeContinuation<T, any Error>) {
        let ending = state.withLock { state in
            if state.ending == nil { state.continuation = continuation }
            return state.ending
        }
        if let ending { continuation.resume(throwing: ending) }
    }

    /// A thread is about to run it. False: nobody waits for it any more.
    func start() -> Bool {
        state.withLock { state in
            state.hasStarted = true
            return state.continuation != nil
        }
    }

    func take() -> UnsafeContinuation<T, any Error>? {
        state.withLock { state in
            let continuation = state.continuation
            state.continuation = nil
            return continuation
        }
    }

    /// The caller waits no longer; a cancelled one only if the closure has not begun.
    func end(_ ending: ReactorError) {
        let continuation: UnsafeContinuation<T, any Error>? = state.withLock { state in
            if state.hasStarted, ending == .cancelled { return nil }
            state.ending = ending
            let continuation = state.continuation
            state.continuation = nil
            return continuation
        }
        continuation?.resume(throwing: ending)
    }
}

/// Threads made when needed, up to a bound, that leave after a while without work.
final class ThreadPool: @unchecked Sendable {
    static let shared = ThreadPool()

    // @unchecked Sendable: everything below is used under `mutex` alone.
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let workCame = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var queue: [@Sendable () -> Void] = []
    private var head = 0
    private var threads = 0
    private var idle = 0

    private init() {
        pthread_mutex_init(mutex, nil)
        // Waits by the monotonic clock, so that a jump of the wall clock changes nothing.
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(workCame, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    /// Queues a closure. False: the bound is reached, or no thread could be made to run it.
    func submit(_ work: @escaping @Sendable () -> Void) -> Bool {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        let waiting = queue.count - head
        guard waiting < ReactorBounds.offloadQueue else { return false }
        if idle <= waiting, threads < ReactorBounds.offloadThreads, startThread() { threads += 1 }
        guard threads > 0 else { return false }
        queue.append(work)
        pthread_cond_signal(workCame)
        return true
    }

    private func startThread() -> Bool {
        startDetachedThread(name: "sluice-offload") { self.work() }
    }

    private func work() {
        pthread_mutex_lock(mutex)
        while let work = nextWork() {
            pthread_mutex_unlock(mutex)
            work()
            pthread_mutex_lock(mutex)
        }
        threads -= 1
        pthread_mutex_unlock(mutex)
    }

    /// With the mutex held: the next closure, or `nil` after a while without any.
    private func nextWork() -> (@Sendable () -> Void)? {
        var until = timespec()
        clock_gettime(CLOCK_MONOTONIC, &until)
        until.tv_sec += ReactorBounds.offloadIdleSeconds
        while head == queue.count {
            idle += 1
            let result = pthread_cond_timedwait(workCame, mutex, &until)
            idle -= 1
            if result == ETIMEDOUT, head == queue.count { return nil }
        }
        let work = queue[head]
        head += 1
        if head == queue.count || head >= 1_024 {
            queue.removeFirst(head)
            head = 0
        }
        return work
    }
}
