// Sleeping on a loop's timers. Floor 1. (Task.sleep is never used: a cancelled one stays queued.)

/// Suspends the current task for at least `duration`, measured by the monotonic clock.
///
/// On a loop it takes one timer there; elsewhere one of ``EventLoop/background``.
///
/// - Parameter duration: zero or less returns at once.
/// - Throws: ``ReactorError/cancelled`` when the task is cancelled, ``ReactorError/timedOut`` when
///   the deadline of a surrounding ``withTimeout(_:_:)`` passes first. The timer is gone in either
///   case.
public nonisolated(nonsending) func sleep(for duration: Duration) async throws(ReactorError) {
    let nanoseconds = duration.clampedNanoseconds
    guard nanoseconds > 0 else { return }
    let outcome: WaitOutcome
    let loop = EventLoop.current ?? .background
    if loop.isHome(#isolation) {
        outcome = await Sleeper(loop: loop).sleep(nanoseconds)
    } else {
        outcome = await loop.hop { await Sleeper(loop: loop).sleep(nanoseconds) }
    }
    switch outcome {
    case .ready: return
    case .cancelled: throw .cancelled
    case .timedOut: throw .timedOut
    case .closed: throw .stopped
    }
}

/// One sleeping task.
// @unchecked Sendable by LoopMember: its state is touched on the loop's thread alone.
private final class Sleeper: LoopMember, @unchecked Sendable {
    private var wait: Wait?
    private var timer: TimerToken = 0

    nonisolated(nonsending) func sleep(_ nanoseconds: UInt64) async -> WaitOutcome {
        loop.admit(self)
        defer { loop.dismiss(self) }
        let (end, isOver) = loop.now().addingReportingOverflow(nanoseconds)
        return await suspend { continuation, number in
            begin(continuation, number: number) { wait in
                timer = loop.arm(self, purpose: 0, deadline: isOver ? .max : end)
                self.wait = wait
                return true
            }
        }
    }

    override func timerFired(_ purpose: UInt32) {
        end(.ready)
    }

    override func endWait(_ number: UInt32, _ outcome: WaitOutcome) {
        if wait?.number == number { end(outcome) }
    }

    override func loopStopped() {
        end(.closed)
    }

    private func end(_ outcome: WaitOutcome) {
        guard let wait else { return }
        self.wait = nil
        loop.disarm(timer)
        // First: what runs next is the task's own doing, not that of a connection closed since.
        loop.dismiss(self)
        resume(wait, outcome)
    }

    override func label() -> String { "a sleeping task" }
}
