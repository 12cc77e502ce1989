// Alarm: calls a closure at a deadline, for waits that are no loop's own. Floor 1; started and
// stopped by any task, fires on its loop's thread.

// @unchecked Sendable by LoopMember: its state is touched on the loop's thread alone.
final class Alarm: LoopMember, @unchecked Sendable {
    /// What to call; set before the start.
    var ring: @Sendable () -> Void = {}
    private var timer: TimerToken = 0
    private var hasRung = false

    /// Rings once after so many nanoseconds; at once if the loop has stopped or stops.
    nonisolated(nonsending) func start(in nanoseconds: UInt64) async {
        if loop.isHome(#isolation) { return arm(nanoseconds) }
        await loop.hop { self.arm(nanoseconds) }
    }

    /// Disarms it. Returns whether it had rung for its deadline.
    nonisolated(nonsending) func stop() async -> Bool {
        if loop.isHome(#isolation) { return disarm() }
        return await loop.hop { self.disarm() }
    }

    private func arm(_ nanoseconds: UInt64) {
        if loop.hasStopped { return ring() }
        loop.admit(self)
        let (end, isOver) = loop.now().addingReportingOverflow(nanoseconds)
        timer = loop.arm(self, purpose: 0, deadline: isOver ? .max : end)
    }

    private func disarm() -> Bool {
        loop.disarm(timer)
        loop.dismiss(self)
        return hasRung
    }

    override func timerFired(_ purpose: UInt32) {
        hasRung = true
        ring()
    }

    override func loopStopped() {
        loop.disarm(timer)
        loop.dismiss(self)
        ring()
    }

    override func label() -> String { "a timeout" }
}
