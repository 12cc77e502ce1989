// Readiness: the cell of one direction of one descriptor. A pure core. Floor 1.
//
// Edge-triggered epoll reports a change once, so it is latched here until a system call has used it
// up. idle: the kernel would block, an edge will come. ready: worth a try. parked: a task waits.
// Invariant: a task parks only in an idle cell, so a latched edge can never be slept through.

/// One direction's cell: idle, ready (latched) or parked.
package struct Readiness: Equatable, Sendable {
    package enum State: UInt8, Sendable {
        case idle
        case ready
        case parked
    }

    package private(set) var state: State
    /// The peer hung up or an error is pending: from now on only the end or the error ends trying.
    package private(set) var hangUp = false
    /// Urgent data was seen: receives stop at its mark, so a short one says nothing any more.
    package private(set) var hasMarks = false

    package init(ready: Bool) {
        state = ready ? .ready : .idle
    }

    /// Whether a system call is worth trying.
    package var mayTry: Bool { state == .ready }

    /// An edge came. Returns whether a parked task has to be resumed.
    package mutating func latch(hangUp: Bool = false) -> Bool {
        if hangUp { self.hangUp = true }
        let wasParked = state == .parked
        state = .ready
        return wasParked
    }

    /// Urgent data came. Returns as `latch`.
    package mutating func latchMark() -> Bool {
        hasMarks = true
        return latch()
    }

    /// The call said EAGAIN: whatever was latched is used up.
    package mutating func blocked() {
        if state == .ready { state = .idle }
    }

    /// The call did less than it was asked to, so the next would say EAGAIN; unless a hang-up is
    /// latched, for then the end or the error is still to be fetched and no edge will announce it.
    package mutating func drained() {
        if !hangUp, !hasMarks, state == .ready { state = .idle }
    }

    /// A task wants to wait. False: an edge is latched, try again.
    package mutating func park() -> Bool {
        guard state == .idle else { return false }
        state = .parked
        return true
    }

    /// The parked task leaves without an edge: deadline, cancellation or close.
    package mutating func unpark() {
        if state == .parked { state = .idle }
    }
}
