// ReadTimeouts: how long a peer may keep a read waiting. Floor 2, the loop's thread.
//
// One timer per connection. It is armed when a read parks, and left alone afterwards: reads note
// when their wait began, and the timer looks at that when it fires. Streams without these options
// own nothing of it.

internal import SluiceReactor

/// A deadline that a peer let pass.
public enum PeerDeadline: String, Hashable, Sendable {
    /// It never sent a byte.
    case firstByte
    /// It sent the beginning of what a read wants, and not the rest.
    case message
    /// It sent nothing, and took nothing, for a long time.
    case idle

    var words: String {
        switch self {
        case .firstByte: "the peer has not sent a first byte in time"
        case .message: "the peer has not sent the rest of a message in time"
        case .idle: "the peer has been idle for too long"
        }
    }
}

/// The options behind it, in nanoseconds; 0 for none.
struct ReadTimeouts: Sendable {
    let firstByte: UInt64
    let message: UInt64
    let idle: UInt64

    var isEmpty: Bool { firstByte == 0 && message == 0 && idle == 0 }
}

/// What a stream with such options knows of its reads.
final class ReadWatch {
    private let timeouts: ReadTimeouts
    /// When a read first waited for the first byte; 0: none has.
    private var firstWaitBegan: UInt64 = 0
    /// What had been received when the read in progress first waited; `nil`: it has not.
    private var receivedAtFirst: UInt64?
    /// When the read in progress first waited with a part of what it wants; 0: it has none.
    private var partBegan: UInt64 = 0
    /// When the idle time began: the first wait after bytes came or went.
    private var idleBegan: UInt64 = 0
    private var (received, written) = (UInt64.max, UInt64.max)
    /// What the peer had taken when the timer last looked in this idle time.
    private var takenAtLook: UInt64?
    /// More was written than a peer takes at once, and no look has found all of it taken.
    private var mayBeTaking = false
    /// When a read gave up by itself, and none has waited since: the peer's time stands still. 0:
    /// none has.
    private var gaveUpAt: UInt64 = 0
    /// What had been consumed then.
    private var consumedThen: UInt64 = 0
    /// Whose output the peer takes, if this stream is stapled to another one's writer.
    weak var outgoing: Transport?
    /// Past a deadline: the read has been woken to look into the kernel once more.
    var isLastLook = false
    var timer: TimerToken = 0
    var timerDeadline: UInt64 = 0

    init(_ timeouts: ReadTimeouts) {
        self.timeouts = timeouts
    }

    /// A read begins to wait, at this time and with these counts of bytes.
    func waits(now: UInt64, received: UInt64, buffered: Int, written: UInt64) {
        if gaveUpAt != 0 { goOn(now: now, consumed: received &- UInt64(buffered)) }
        if firstWaitBegan == 0 { firstWaitBegan = now }
        let before = receivedAtFirst ?? received
        receivedAtFirst = before
        if partBegan == 0, buffered > 0 || received != before { partBegan = now }
        if written &- self.written > StreamBounds.takenAtOnce { mayBeTaking = true }
        if received != self.received || written != self.written {
            idleBegan = now
            takenAtLook = nil
        }
        (self.received, self.written) = (received, written)
    }

    /// The read gives up by itself, for a cancellation or a deadline of the caller's.
    func givesUp(now: UInt64, consumed: UInt64) {
        if gaveUpAt == 0 { (gaveUpAt, consumedThen) = (now, consumed) }
    }

    /// The first wait since then: what the peer had begun goes on, unless it was taken otherwise.
    private func goOn(now: UInt64, consumed: UInt64) {
        let pause = now &- gaveUpAt
        gaveUpAt = 0
        if firstWaitBegan != 0 { firstWaitBegan &+= pause }
        idleBegan &+= pause
        partBegan = partBegan == 0 || consumed != consumedThen ? 0 : partBegan &+ pause
    }

    /// The read has ended, with or without a result.
    func readEnded() {
        if gaveUpAt == 0 { partBegan = 0 }
        receivedAtFirst = nil
        isLastLook = false
    }

    /// What is due next for the waiting read, and when; `nil`: nothing ever.
    func next() -> (kind: PeerDeadline, deadline: UInt64)? {
        var first: (kind: PeerDeadline, deadline: UInt64)?
        func consider(_ kind: PeerDeadline, _ began: UInt64, _ nanoseconds: UInt64) {
            guard nanoseconds > 0 else { return }
            let (sum, isOver) = began.addingReportingOverflow(nanoseconds)
            let deadline = isOver ? .max : sum
            if deadline < first?.deadline ?? .max { first = (kind, deadline) }
        }
        if received == 0 { consider(.firstByte, firstWaitBegan, timeouts.firstByte) }
        if partBegan != 0 { consider(.message, partBegan, timeouts.message) }
        consider(.idle, idleBegan, timeouts.idle)
        return first
    }

    /// The idle time is over: whether bytes have gone out meanwhile, so that it begins anew.
    ///
    /// - Parameters:
    ///   - written: bytes given to the writer since the start.
    ///   - taken: those of them that the peer has taken.
    func outputMoved(now: UInt64, written: UInt64, taken: UInt64) -> Bool {
        let hasTaken = takenAtLook.map { $0 != taken } ?? (mayBeTaking || taken != written)
        let hasMoved = written != self.written || hasTaken
        takenAtLook = taken
        mayBeTaking = taken != written
        self.written = written
        if hasMoved { idleBegan = now }
        return hasMoved
    }
}

extension Transport {
    /// A read has parked. Its deadline may have passed already, if this was the last look.
    final func watchParkedRead() {
        guard let watch = state.pointee.readWatch else { return }
        let now = loop.now()
        watch.waits(
            now: now, received: state.pointee.bytesReceived,
            buffered: state.pointee.unfinished, written: outgoing(watch).bytesWritten)
        guard let next = watch.next() else { return }
        if watch.isLastLook {
            watch.isLastLook = false
            if next.deadline <= now { return endInput(.peerTimedOut(next.kind)) }
        }
        if watch.timer == 0 || next.deadline < watch.timerDeadline {
            armReadTimer(watch, next.deadline)
        }
    }

    private func armReadTimer(_ watch: ReadWatch, _ deadline: UInt64) {
        loop.disarm(watch.timer)
        watch.timer = loop.arm(self, purpose: TransportTimer.read.rawValue, deadline: deadline)
        watch.timerDeadline = deadline
    }

    /// The read in progress gives up by itself.
    final func readGivesUp() {
        guard let watch = state.pointee.readWatch else { return }
        let buffered = UInt64(state.pointee.unfinished)
        watch.givesUp(now: loop.now(), consumed: state.pointee.bytesReceived &- buffered)
    }

    /// With no read in progress nobody waits for the peer, and the next one arms the timer again.
    /// Past the deadline the read looks into the kernel once more: after a pause of the whole
    /// process its bytes may lie there. (One that has just been woken is about to: a flood would
    /// otherwise never be seen waiting.)
    final func readTimerFired() {
        guard let watch = state.pointee.readWatch else { return }
        watch.timer = 0
        let now = loop.now()
        guard state.pointee.isReading, let next = watch.next() else { return }
        let outgoing = outgoing(watch)
        if next.deadline > now {
            armReadTimer(watch, next.deadline)
        } else if next.kind == .idle,
            watch.outputMoved(
                now: now, written: outgoing.bytesWritten, taken: outgoing.takenByPeer),
            let next = watch.next()
        {
            armReadTimer(watch, next.deadline)
        } else {
            watch.isLastLook = true
            if state.pointee.readable.latch() { endReadWait(.ready) }
        }
    }

    final func disarmReadTimer() {
        guard let watch = state.pointee.readWatch else { return }
        loop.disarm(watch.timer)
        watch.timer = 0
    }

    private func outgoing(_ watch: ReadWatch) -> Transport { watch.outgoing ?? self }

    private var bytesWritten: UInt64 {
        state.pointee.bytesSent &+ UInt64(state.pointee.output.count)
    }

    /// No more bytes for this side's reads; what it writes still leaves.
    private func endInput(_ reason: EndReason) {
        if state.pointee.inputFailure == nil { state.pointee.inputFailure = reason }
        endReadWait(.closed)
    }
}
