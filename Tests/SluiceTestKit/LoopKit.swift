// A loop for one test: started on a thread of its own, perhaps over a call table that fails, and
// audited at the end: nothing may stay registered, armed or borrowed. Test kit.

internal import Glibc
public import Sluice
public import Testing

/// Something stayed on a loop although its test was over.
public struct LoopNotEmpty: Error, CustomStringConvertible {
    public let description: String
}

/// Runs `body` as a task of a fresh loop, under a deadline, and stops the loop afterwards.
///
/// Once the body has returned, the loop must become empty: no member (connection, listener,
/// sleeping task), no armed timer, no buffer block in use; and with a fault table no descriptor
/// open but the loop's own two, none closed twice, none used after its close. Otherwise this throws
/// ``LoopNotEmpty`` with the statistics in its text. A body that throws is not audited.
///
/// - Parameters:
///   - faults: the loop's call table; nil for the kernel.
///   - options: the loop's settings.
///   - deadline: of the body; it judges nothing and only ends what hangs.
///   - body: the test.
@discardableResult
public func withLoop<R: Sendable>(
    faults: FaultTable? = nil, options: EventLoop.Options = .init(),
    deadline: Duration = .seconds(60), sourceLocation: SourceLocation = #_sourceLocation,
    _ body: @escaping @Sendable (EventLoop) async throws -> R
) async throws -> R {
    let loop = try startLoop(faults: faults, options: options)
    let result: R
    do {
        result = try await withDeadline(deadline, sourceLocation: sourceLocation) {
            let task = loop.spawn { try await body(loop) }
            return try await withTaskCancellationHandler {
                try await task.value
            } onCancel: {
                task.cancel()
            }
        }
        try await withDeadline(.seconds(20), sourceLocation: sourceLocation) {
            try await loop.spawn { try await audit(loop, faults, sourceLocation) }.value
        }
    } catch {
        // A loop that hangs cannot be waited for.
        Task { await loop.stop() }
        throw error
    }
    try await withDeadline(.seconds(20), sourceLocation: sourceLocation) { await loop.stop() }
    return result
}

/// Starts a loop over a fault table, or over the kernel.
public func startLoop(
    faults: FaultTable?, options: EventLoop.Options = .init()
) throws(SystemError) -> EventLoop {
    guard let faults else { return try EventLoop.start(options: options) }
    return try faults.withSystem { (system) throws(SystemError) in
        try EventLoop.start(options: options, system: system)
    }
}

/// The descriptors a loop itself has: its epoll set and its wake-up.
public let loopDescriptors: UInt64 = 2

private func audit(
    _ loop: EventLoop, _ faults: FaultTable?, _ sourceLocation: SourceLocation
) async throws {
    var last = ""
    do {
        try await waitUntil("the loop is empty", sourceLocation: sourceLocation) {
            let statistics = await loop.statistics()
            let ledger = faults?.ledger
            last = "\(statistics)\(faults.map { "; \($0)" } ?? "")"
            return statistics.members == 0 && statistics.timersArmed == 0
                && statistics.blocksInUse == 0 && (ledger?.open ?? 0) <= loopDescriptors
        }
    } catch is DeadlinePassed {
        throw LoopNotEmpty(description: "left on the loop, at \(sourceLocation): \(last)")
    }
    if let ledger = faults?.ledger, ledger.double_closes > 0 || ledger.bad_descriptors > 0 {
        throw LoopNotEmpty(description: "descriptors misused, at \(sourceLocation): \(last)")
    }
}

/// Waits until a condition holds: looks again in every turn of the loop, later each millisecond.
///
/// - Throws: ``DeadlinePassed`` with the claim in its text.
public func waitUntil(
    _ claim: String = "the condition holds", deadline: Duration = .seconds(10),
    sourceLocation: SourceLocation = #_sourceLocation, _ condition: () async throws -> Bool
) async throws {
    try await eventually(claim, within: deadline, sourceLocation: sourceLocation, condition)
}

/// A value that several threads share under a lock. The lock is pthread's, whose slow path the
/// thread sanitizer understands; that of `Mutex` it takes for a race.
// @unchecked Sendable: `stored` is used under the lock alone.
public final class Shared<Value: Sendable>: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private var stored: Value

    public init(_ value: Value) {
        stored = value
        pthread_mutex_init(mutex, nil)
    }

    deinit {
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
    }

    /// The value now.
    public var value: Value { withLock { $0 } }

    /// Sets the value.
    public func set(_ new: Value) { withLock { $0 = new } }

    /// Changes the value under the lock.
    public func withLock<R>(_ body: (inout Value) throws -> R) rethrows -> R {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return try body(&stored)
    }

    /// Blocks the calling thread until the value passes, at most 30 s; for threads that are no
    /// loop's.
    public func block(until isEnough: (Value) -> Bool) {
        let end = ContinuousClock.now + .seconds(30)
        while !isEnough(value), ContinuousClock.now < end { sched_yield() }
    }
}

extension Shared where Value: RangeReplaceableCollection, Value.Element: Sendable {
    /// Appends one element.
    public func append(_ element: Value.Element) { withLock { $0.append(element) } }
}

/// Names the calling thread, as long as it lives; pthread_self(3).
public func threadNumber() -> UInt { pthread_self() }
