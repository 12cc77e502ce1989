// LoopBound: mutable state shared by the tasks of one loop, without a lock. Floor 1.

/// A value that tasks of one loop share: a chat's rooms, a cache, a counter.
///
/// Since all tasks of a loop run on one thread and ``withValue(_:)`` does not suspend, no lock is
/// needed and nothing interleaves inside it. Using it off its loop stops the program.
// @unchecked Sendable: the value is touched on the loop's thread alone, which `withValue` checks.
public final class LoopBound<Value>: @unchecked Sendable {
    private var value: Value
    private let loop: EventLoop

    /// Makes a bound value.
    ///
    /// - Parameters:
    ///   - value: the first value.
    ///   - loop: its loop; by default the one the caller runs on, else ``EventLoop/background``.
    public init(_ value: sending Value, on loop: EventLoop? = nil) {
        self.value = value
        self.loop = loop ?? EventLoop.current ?? EventLoop.background
    }

    /// Gives exclusive access to the value. On the loop's thread only.
    ///
    /// What it returns is not checked further: a reference that comes out of it belongs on the
    /// loop, too.
    ///
    /// - Parameter body: must not call `withValue` of the same object again.
    public func withValue<R>(_ body: (inout Value) throws -> R) rethrows -> R {
        guard loop.isCurrent else {
            stopProgram(
                "LoopBound.withValue was called off its loop; call it from a task of that loop, or "
                    + "from elsewhere inside await loop.spawn { }.value")
        }
        return try body(&value)
    }
}
