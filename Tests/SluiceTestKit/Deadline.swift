// Deadlines for tests: no wait of a test is without end, and none is a fixed sleep. Test kit.

import Sluice
import Synchronization
public import Testing

/// A test's wait took longer than its deadline.
public struct DeadlinePassed: Error, CustomStringConvertible {
    public let description: String
}

/// Runs `body` and throws ``DeadlinePassed`` if it has not ended after `duration`.
///
/// The body runs in a task of its own, which is cancelled at the deadline and then left alone: a
/// body that waits for ever fails its test and does not stop the others. The deadline is far away,
/// since it judges nothing: it only ends what hangs.
public func withDeadline<R: Sendable>(
    _ duration: Duration = .seconds(30),
    sourceLocation: SourceLocation = #_sourceLocation,
    _ body: @escaping @Sendable () async throws -> R
) async throws -> R {
    try await withCheckedThrowingContinuation { continuation in
        let race = Race(continuation)
        let work = Task {
            do {
                race.finish(.success(try await body()))
            } catch {
                race.finish(.failure(error))
            }
        }
        race.clock = Task {
            guard (try? await Task.sleep(for: duration)) != nil else { return }
            let late = DeadlinePassed(
                description: "not ended after \(duration), started at \(sourceLocation)")
            race.finish(.failure(late))
            work.cancel()
        }
    }
}

/// Whoever comes first resumes the continuation.
private final class Race<R: Sendable>: Sendable {
    private struct State {
        var continuation: CheckedContinuation<R, any Error>?
        var clock: Task<Void, Never>?
    }

    private let state: Mutex<State>

    init(_ continuation: CheckedContinuation<R, any Error>) {
        state = Mutex(State(continuation: continuation))
    }

    /// The task that sleeps until the deadline; cancelled when the work was faster.
    var clock: Task<Void, Never>? {
        get { state.withLock { $0.clock } }
        set {
            let isOver = state.withLock {
                $0.clock = newValue
                return $0.continuation == nil
            }
            if isOver { newValue?.cancel() }
        }
    }

    func finish(_ result: Result<R, any Error>) {
        let first = state.withLock { state in
            defer { state.continuation = nil }
            return state.continuation
        }
        first?.resume(with: result)
        if first != nil { clock?.cancel() }
    }
}

/// Waits until a condition holds, looking again in every turn of the loop and then each
/// millisecond.
public func eventually(
    _ claim: String, within duration: Duration = .seconds(10),
    sourceLocation: SourceLocation = #_sourceLocation,
    _ condition: () async throws -> Bool
) async throws {
    let end = ContinuousClock.now + duration
    var looks = 0
    while try await !condition() {
        guard ContinuousClock.now < end else {
            throw DeadlinePassed(
                description: "not true after \(duration): \(claim), at \(sourceLocation)")
        }
        looks += 1
        if looks < 32 {
            await EventLoop.yield()
        } else {
            try await sleep(for: .milliseconds(1))
        }
    }
}

/// Lets the loop turn a few times: what other tasks can do without the outside world is done then,
/// and bytes on their way through loopback or memory have arrived.
public func settle() async {
    for _ in 0..<6 { await EventLoop.yield() }
}

/// Starts a task on the current loop and lets it run until it waits for something.
public func started<T: Sendable>(
    _ body: @escaping @Sendable () async throws -> T
) async -> Task<T, any Error> {
    guard let loop = EventLoop.current else { preconditionFailure("started { } is for loop tasks") }
    let task = loop.spawn { try await body() }
    await settle()
    return task
}
