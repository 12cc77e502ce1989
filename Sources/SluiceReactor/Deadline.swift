// Deadlines: how `withTimeout` reaches the waits inside its body. Floor 1; any task.
//
// The deadline is a task-local, so that child tasks on any loop inherit it. A wait that really
// suspends reads it and arms a timer of its own; a call that finds its data buffered never looks.

internal import CEpoll

/// The deadline of the innermost-in-time `withTimeout` around the current task.
package enum Deadline {
    /// Nanoseconds of the monotonic clock; `.max` for none.
    @TaskLocal package static var current: UInt64 = .max
}

/// Runs `body` in the current task; once `duration` has passed, each Sluice wait in it that would
/// suspend throws `timedOut` (``ReactorError/timedOut`` or the error type of its floor).
///
/// Waits inside child tasks are included. Other people's awaits are not interrupted: for those use
/// ``withTimeout(cancelling:_:)``. A read that timed out has consumed nothing and may be repeated.
/// Cancellation of the task is told apart: it ends the waits as `cancelled`. Nested timeouts: the
/// earliest deadline counts. A body that ends in time, or without waiting, is left alone.
///
/// - Parameters:
///   - duration: from now on; zero or less times out at the first wait.
///   - body: the work.
/// - Returns: what `body` returns.
/// - Throws: what `body` throws, among it the `timedOut` of its waits.
public nonisolated(nonsending) func withTimeout<T>(
    _ duration: Duration, _ body: nonisolated(nonsending) () async throws -> T
) async throws -> T {
    let now = (EventLoop.current ?? .background).now()
    let (end, isOver) = now.addingReportingOverflow(duration.clampedNanoseconds)
    let deadline = min(Deadline.current, isOver ? .max - 1 : end)
    return try await Deadline.$current.withValue(deadline) { try await body() }
}

/// Runs `body` as one task of its own and cancels that task once `duration` has passed, or once the
/// caller's task is cancelled.
///
/// For work that waits in other people's awaits. The call returns when that task has ended, so a
/// body that ignores cancellation holds it up.
///
/// - Parameters:
///   - duration: from now on.
///   - body: the work; on the same loop as the caller, if the caller prefers one.
/// - Returns: what `body` returns, also if it came late but did not throw.
/// - Throws: ``ReactorError/timedOut`` if `body` threw after the deadline had cancelled it; else
///   what `body` throws.
public nonisolated(nonsending) func withTimeout<T: Sendable>(
    cancelling duration: Duration, _ body: @escaping @Sendable () async throws -> T
) async throws -> T {
    let loop = EventLoop.current ?? .background
    let task = Task(executorPreference: EventLoop.current) { try await body() }
    let alarm = Alarm(loop: loop)
    alarm.ring = { task.cancel() }
    await alarm.start(in: duration.clampedNanoseconds)
    let result = await withTaskCancellationHandler {
        await task.result
    } onCancel: {
        task.cancel()
    }
    let didFire = await alarm.stop()
    switch result {
    case .success(let value): return value
    case .failure(let error): throw didFire ? ReactorError.timedOut : error
    }
}
