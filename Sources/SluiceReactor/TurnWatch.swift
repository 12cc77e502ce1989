// TurnWatch: what a loop counts, and how it notices that a turn took too long. Floor 1.

internal import CEpoll

/// Counts since the loop's start, and the current turn's measure. The loop's thread.
struct TurnWatch {
    var turns: UInt64 = 0
    var jobs: UInt64 = 0
    var enqueues: UInt64 = 0
    var inboxItems: UInt64 = 0
    var longestTurn: UInt64 = 0
    var busyNanoseconds: UInt64 = 0
    private var began: UInt64 = 0
    /// The current turn's longest job by the coarse clock, and the slot that made it runnable.
    var longestJob: UInt64 = 0
    var longestJobOrigin: UInt32 = 0
    private(set) var lastTurn: UInt64 = 0

    mutating func turnBegan(at now: UInt64) {
        began = now
        longestJob = 0
        longestJobOrigin = 0
    }

    mutating func turnEnded(at now: UInt64) {
        turns &+= 1
        guard began != 0 else { return }
        lastTurn = now &- began
        busyNanoseconds &+= lastTurn
        if lastTurn > longestTurn { longestTurn = lastTurn }
    }
}

/// A loop's counts, as plain values. All counts run from the loop's start.
public struct LoopStatistics: Sendable, CustomStringConvertible {
    /// Turns taken.
    public var turns: UInt64
    /// Jobs run: one for each time a task was started or resumed.
    public var jobs: UInt64
    /// Jobs queued, from any thread.
    public var enqueues: UInt64
    /// Jobs and closures that came from other threads.
    public var inboxItems: UInt64
    /// The longest turn, from the end of one wait to the beginning of the next.
    public var longestTurn: Duration
    /// Time spent in turns, waits left out.
    public var busy: Duration
    /// Timers armed now.
    public var timersArmed: Int
    /// Timer entries stored now, cancelled ones included.
    public var timerEntries: Int
    /// Connections, listeners and other members now.
    public var members: Int
    /// Buffer blocks held by connections now, and their bytes.
    public var blocksInUse: Int
    /// Bytes of the blocks in use.
    public var blockBytesInUse: Int

    /// All counts in one line.
    public var description: String {
        """
        turns \(turns), jobs \(jobs), enqueues \(enqueues), inbox \(inboxItems), \
        longest turn \(longestTurn), busy \(busy), timers \(timersArmed) (\(timerEntries) stored), \
        members \(members), blocks \(blocksInUse) (\(blockBytesInUse) bytes)
        """
    }
}

extension EventLoop {
    /// The loop's counts now. From another thread it hops to the loop first.
    public nonisolated(nonsending) func statistics() async -> LoopStatistics {
        if isCurrent { return currentStatistics() }
        return await hop { self.currentStatistics() }
    }

    private func currentStatistics() -> LoopStatistics {
        let watch = state.pointee.watch
        // The loop's own: not what its users armed and left.
        let own = isReturningMemory ? 1 : 0
        return LoopStatistics(
            turns: watch.turns, jobs: watch.jobs, enqueues: watch.enqueues,
            inboxItems: watch.inboxItems,
            longestTurn: .nanoseconds(Int64(clamping: watch.longestTurn)),
            busy: .nanoseconds(Int64(clamping: watch.busyNanoseconds)),
            timersArmed: state.pointee.timers.count - own,
            timerEntries: state.pointee.timers.entriesStored,
            members: state.pointee.members.count - own,
            blocksInUse: state.pointee.blocks.blocksInUse,
            blockBytesInUse: state.pointee.blocks.bytesInUse)
    }

    /// A job the coarse clock saw: remembered if it is this turn's longest.
    @inline(never)
    func noteLongJob(_ nanoseconds: UInt64, origin: UInt32) {
        guard nanoseconds > state.pointee.watch.longestJob else { return }
        state.pointee.watch.longestJob = nanoseconds
        state.pointee.watch.longestJobOrigin = origin
    }

    /// Notes who ran when code of a user is called outside a job (a handler's first steps).
    package func noteRun(of member: LoopMember, since began: UInt64) {
        let spent = coarseNow() &- began
        if spent > 0 { noteLongJob(spent, origin: UInt32(truncatingIfNeeded: member.token)) }
    }

    /// The cheap clock, some milliseconds behind.
    package func coarseNow() -> UInt64 { ce_now_coarse(reactor) }

    func reportLongTurn() {
        let watch = state.pointee.watch
        guard watch.lastTurn > turnReportNanoseconds else { return }
        let duration = Duration.nanoseconds(Int64(clamping: watch.lastTurn))
        let who =
            watch.longestJobOrigin == 0
            ? "a task of no connection"
            : state.pointee.members.member(inSlot: watch.longestJobOrigin)?.label()
                ?? "the handler of a connection closed since"
        state.pointee.watch.turnBegan(at: 0)
        options.report(
            Report(
                kind: .turnTooLong,
                message: "a turn took \(duration); longest in it: \(who)", duration: duration))
    }
}
