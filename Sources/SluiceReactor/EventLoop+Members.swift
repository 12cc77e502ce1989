// What members ask of their loop: registration, timers, the flush list, ending waits. Floor 1, the
// loop's thread, but for `cancelWait`.

internal import CEpoll

extension EventLoop {
    /// Nanoseconds of the monotonic clock; a jump of the wall clock changes nothing.
    package func now() -> UInt64 { ce_now(reactor) }

    /// Stores a member and returns its token: of use for `ce_add`, and counted as a member.
    package func admit(_ member: LoopMember) {
        assert(isCurrent && member.token == 0)
        member.token = state.pointee.members.insert(member)
    }

    /// Ends a member's token: events still in the batch find nobody.
    package func dismiss(_ member: LoopMember) {
        assert(isCurrent)
        guard member.token != 0 else { return }
        let token = member.token
        member.token = 0
        member.isOnFlushList = false
        state.pointee.members.remove(token)
    }

    /// Arms a timer that calls `timerFired(purpose)` once `now()` has reached `deadline`.
    package func arm(_ member: LoopMember, purpose: UInt32, deadline: UInt64) -> TimerToken {
        assert(isCurrent)
        return state.pointee.timers.insert(
            deadline: deadline, TimerTarget(member: member, purpose: purpose, waitNumber: 0))
    }

    /// Arms a timer that ends a wait as timed out.
    func armWait(_ member: LoopMember, number: UInt32, deadline: UInt64) -> TimerToken {
        state.pointee.timers.insert(
            deadline: deadline, TimerTarget(member: member, purpose: 0, waitNumber: number))
    }

    /// Disarms a timer; 0 and stale tokens are fine.
    package func disarm(_ timer: TimerToken) {
        assert(isCurrent)
        if timer != 0 { _ = state.pointee.timers.cancel(timer) }
    }

    /// Puts a member on the flush list, once.
    package func listForFlush(_ member: LoopMember) {
        guard !member.isOnFlushList else { return }
        member.isOnFlushList = true
        state.pointee.flushList.append(member)
    }

    /// Has a member's `work` called before the next jobs. A member may be listed more than once.
    package func listForWork(_ member: LoopMember, _ outcome: WaitOutcome) {
        state.pointee.workers.append((member, outcome))
    }

    /// Takes a member off the flush list.
    package func withdraw(_ member: LoopMember) {
        member.isOnFlushList = false
    }

    /// Closes a descriptor that never became anybody's. On the loop's thread.
    package func closeDescriptor(_ fd: Int32) {
        ce_close(reactor, fd)
    }

    /// Names the present turn among its neighbours.
    package var turnNumber: UInt32 { UInt32(truncatingIfNeeded: state.pointee.watch.turns) }

    /// How many pieces `iovecs` has room for.
    package static var iovecCapacity: Int { Int(CE_IOVECS_MAX) }

    /// Reports readiness that did not come from epoll, in this turn's last phase.
    package func signal(_ member: LoopMember, _ ready: UInt32) {
        assert(isCurrent)
        state.pointee.signals.append((member, ready))
    }

    /// Numbers for waits; 0 is never given out.
    package func nextWaitNumber() -> UInt32 {
        state.pointee.waitNumber &+= 1
        if state.pointee.waitNumber == 0 { state.pointee.waitNumber = 1 }
        return state.pointee.waitNumber
    }

    /// A task's cancellation, from any thread: ends the wait if it is still waiting. A wait that is
    /// only about to begin sees the cancellation itself.
    func cancelWait(of member: LoopMember, number: UInt32) {
        if isCurrent { return member.endWait(number, .cancelled) }
        postAlways { member.endWait(number, .cancelled) }
    }
}

/// A `Duration` as nanoseconds, within 0 and about 292 years.
extension Duration {
    package var clampedNanoseconds: UInt64 {
        let (seconds, attoseconds) = components
        if seconds < 0 || attoseconds < 0 { return 0 }
        if seconds >= Int64.max / 1_000_000_000 { return UInt64(Int64.max) }
        // Rounded up, so that no timer is early.
        return UInt64(seconds) * 1_000_000_000 + UInt64((attoseconds + 999_999_999) / 1_000_000_000)
    }
}
