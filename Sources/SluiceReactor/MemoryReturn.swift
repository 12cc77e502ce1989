// MemoryReturn: what a peak of connections took is given back to the system. Floor 1, the loop's
// thread.
//
// free(3) keeps what it is given for the next malloc, and between freed blocks there is nearly
// always one in use: without this, a process would stay as large as its busiest moment made it.
// malloc_trim(3) looks for whole free pages. That takes milliseconds, so it is done on a thread of
// the pool, once much has become free and no more has for a second, and only if most of it still
// is. An embedded loop leaves it to its host, which may want no thread of ours.

internal import CEpoll

extension EventLoop {
    /// Whether a peak is being looked at, by a member with a timer that statistics do not count.
    package var isReturningMemory: Bool { state.pointee.isReturningMemory }

    /// Called once a turn: remembers the peak, and notices when the loop is far below it.
    @inline(__always)
    package func noteHeldMemory() {
        let held = heldMemory
        if held >= state.pointee.heldMemoryPeak {
            state.pointee.heldMemoryPeak = held
        } else if state.pointee.heldMemoryPeak - held >= ReactorBounds.returnedBytes,
            !state.pointee.isReturningMemory, !state.pointee.hasStopped, embedding == nil
        {
            MemoryReturn(loop: self).begin()
        }
    }

    /// An estimate: buffers, and for each connection its task and objects.
    fileprivate var heldMemory: Int {
        state.pointee.blocks.bytesInUse &+ state.pointee.members.count &* ReactorBounds.memberBytes
    }
}

/// The wait before the memory is returned: until a second has freed nothing more, or ten are over.
// @unchecked Sendable by LoopMember.
private final class MemoryReturn: LoopMember, @unchecked Sendable {
    private var timer: TimerToken = 0
    private var heldBefore = 0
    private var looks = 0

    @inline(never)
    func begin() {
        loop.state.pointee.isReturningMemory = true
        loop.admit(self)
        look()
    }

    private func look() {
        looks += 1
        heldBefore = loop.heldMemory
        timer = loop.arm(
            self, purpose: 0, deadline: loop.now() &+ ReactorBounds.returnPauseNanoseconds)
    }

    override func timerFired(_ purpose: UInt32) {
        timer = 0
        let held = loop.heldMemory
        // What is freed a moment later would be too little to return alone.
        let isEbbing = heldBefore - held >= ReactorBounds.returnedBytes / 16
        if isEbbing, looks < ReactorBounds.returnLooks { return look() }
        end()
        guard loop.state.pointee.heldMemoryPeak - held >= ReactorBounds.returnedBytes else {
            return
        }
        loop.state.pointee.heldMemoryPeak = held
        // Refused, the next peak will see to it.
        _ = ThreadPool.shared.submit { ce_return_memory() }
    }

    override func loopStopped() {
        loop.disarm(timer)
        end()
    }

    private func end() {
        loop.state.pointee.isReturningMemory = false
        loop.dismiss(self)
    }

    override func label() -> String { "the return of memory" }
}
