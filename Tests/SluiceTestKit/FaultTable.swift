// FaultTable: a call table of CFaults as a Swift object. It counts the system calls of the loop it
// was given to, keeps a ledger of descriptors, and fails, shortens or delays calls on demand.
// Test kit; any thread.

@_exported public import CFaults
internal import Synchronization

/// One loop's call table. Give it to ``withLoop(faults:options:sourceLocation:_:)``, one table to
/// one loop; it may fail calls before and while the loop runs.
// @unchecked Sendable: the pointer is constant and what it points at has a lock of its own.
public final class FaultTable: @unchecked Sendable, CustomStringConvertible {
    /// What the functions of CFaults take.
    public let state: OpaquePointer

    /// Every table ever made: a loop closes its own descriptors through its table when the last
    /// reference to it goes, which no test can foresee. So no table is freed.
    private static let kept = Mutex<[FaultTable]>([])

    /// A table that passes everything on to the kernel.
    public init() {
        state = cf_create()
        Self.kept.withLock { $0.append(self) }
    }

    /// The system calls to start a loop with; the loop copies them.
    public func withSystem<R, E: Error>(
        _ body: (UnsafePointer<ce_system>) throws(E) -> R
    ) throws(E) -> R {
        let table = UnsafeMutablePointer<ce_system>.allocate(capacity: 1)
        defer { table.deallocate() }
        table.initialize(to: cf_table(state))
        return try body(table)
    }

    // MARK: Counts

    /// What was counted for one kind of call, or with `CF_ANY` for all together.
    public func counts(_ call: cf_call) -> cf_counts { cf_counts(state, call) }

    /// How often one kind of call was made since the last reset.
    public func calls(_ call: cf_call) -> Int { Int(counts(call).calls) }

    /// The kinds of calls made since the last reset and how often; the clocks left out, which cost
    /// no system call on Linux, vdso(7).
    public var callsMade: [String: Int] {
        var made: [String: Int] = [:]
        for raw in 0..<CF_CALLS.rawValue {
            let call = cf_call(raw)
            guard call != CF_CLOCK, call != CF_CLOCK_COARSE, calls(call) > 0 else { continue }
            made[String(cString: cf_name(call))] = calls(call)
        }
        return made
    }

    /// Calls of both kinds of wait together.
    public var waits: Int { calls(CF_EPOLL_WAIT) + calls(CF_EPOLL_PWAIT2) }

    /// Starts counting again from zero.
    public func resetCounts() { cf_reset_counts(state) }

    /// The descriptors opened and closed.
    public var ledger: cf_ledger { cf_ledger(state) }

    // MARK: Failures and quirks

    /// Lets the n-th call from now on, 1 being the next, and the `times - 1` after it fail.
    public func fail(_ call: cf_call, with error: Int32, at n: UInt64 = 1, times: UInt64 = 1) {
        cf_fail(state, call, n, error, times)
    }

    /// Lets a share of the calls fail, in thousandths.
    public func failSometimes(_ call: cf_call, with error: Int32, odds: UInt32) {
        cf_fail_sometimes(state, call, error, odds)
    }

    /// Ends all failures.
    public func failNone() { cf_fail_none(state) }

    /// Sets what else the kernel may do: short reads and writes, EAGAIN first, false readiness.
    public func set(_ quirks: cf_quirks) {
        withUnsafePointer(to: quirks) { cf_set_quirks(state, $0) }
    }

    // MARK: The clock

    /// From now on the loop's clocks show this; a wait with nothing ready jumps to its end.
    public func setClock(nanoseconds: UInt64) { cf_set_clock(state, nanoseconds) }

    /// Lets virtual time pass at once.
    public func advance(nanoseconds: UInt64) { cf_advance(state, nanoseconds) }

    /// The calls made and the ledger, for the text of a failing test.
    public var description: String {
        let calls = callsMade.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }
        let ledger = ledger
        return """
            calls: \(calls.joined(separator: ", ")); opened \(ledger.opened), closed \
            \(ledger.closed), open \(ledger.open), double closes \(ledger.double_closes), \
            bad descriptors \(ledger.bad_descriptors)
            """
    }
}
