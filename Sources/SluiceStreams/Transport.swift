// Transport: the one seam for kinds of byte carriers. Floor 2, the loop's thread.
//
// A kind overrides four verbs: receive, transmit, finish, release. Everything else is here and the
// same for all: both buffers, both cells, the waits, flow control, closing. Input: Transport+Input,
// output: Transport+Output, the end: Transport+Closing.
//
// Invariants: one place receives (`receiveOnce`) and one place parks a reader (`waitForInput`); one
// place transmits (`flushOutput`) and one place parks writers (`waitForOutput`). The descriptor is
// open exactly until `phase` is closed.

internal import Glibc
package import SluiceReactor
internal import Synchronization

/// Everything hot, behind one pointer: fields of a class would cost exclusivity checks. No field
/// may be of another module's resilient type: the layout would then be looked up at run time, at
/// each access.
package struct TransportState {
    enum Phase: UInt8 {
        case open
        /// `close` was called: no reads, no writes; output leaves, input is dropped.
        case closing
        case closed
    }

    var phase = Phase.open {
        didSet { acceptsWrites = false }
    }
    // Input
    var input = InputBuffer()
    /// Bytes of an unfinished packet that a decoder keeps in storage of its own, or passes over.
    var takenByDecoder = 0
    /// Bytes that came and are no whole result yet, wherever they are.
    var unfinished: Int { input.count &+ takenByDecoder }
    var readable = Readiness(ready: false)
    var readWait: Wait?
    /// A read has begun and not ended; another one is refused.
    var isReading = false
    /// A span of the buffer is being shown: it must not move.
    var isShowing = false
    var inputEnded = false
    /// The kernel has told of an error, which lies behind what has come.
    var hasError = false
    /// Results given in a row without suspending.
    var resultsInARow: UInt8 = 0
    /// The turn `receivedInTurn` counts for.
    var receiveTurn: UInt32 = 0
    var receivedInTurn: Int32 = 0
    /// Bytes asked for by one receive at most.
    var receiveLimit = Int32.max
    /// Whether anything was received since output was last queued: the peer waits for an answer.
    var owesAnswer = false
    /// A shutting-down server ends the input of idle connections.
    var isDraining = false
    /// It has ended this one's: readers see the end, but the peer's own is still to come.
    var inputCut = false
    var inputFailure: EndReason?
    /// Only with deadlines for reads.
    var readWatch: ReadWatch?
    /// What readers are told.
    var hasEnded: Bool { inputEnded || inputCut }
    // Output
    var output = OutputQueue()
    var writable = Readiness(ready: true)
    var outputWaits: [OutputWait] = []
    /// Open, not finished, not failed: what every write asks first.
    var acceptsWrites = true
    var finishRequested = false {
        didSet { acceptsWrites = false }
    }
    var outputFinished = false
    var outputFailure: EndReason? {
        didSet { acceptsWrites = false }
    }
    var high: Int
    var low: Int
    var stallTimer: TimerToken = 0
    /// What the peer had taken when the stall timer was armed.
    var stallMark: UInt64 = 0
    /// When the orderly close in progress becomes an abort.
    var closeDeadline: UInt64 = 0
    /// What the peer had taken when the deadline was set.
    var closeMark: UInt64 = 0
    /// Whether progress of the peer does not move it.
    var closeIsAbsolute = false
    /// The turn `flushedInTurn` counts for.
    var flushTurn: UInt32 = 0
    var flushedInTurn: Int32 = 0
    // The end
    /// The peer's end had come when this side began to close.
    var endedFirst = false
    var isDetached = false
    var closeTimer: TimerToken = 0
    var lingered: Int32 = 0
    var closeWaits: [Wait] = []
    var bytesReceived: UInt64 = 0
    var bytesSent: UInt64 = 0
    /// Descriptors that came with the beginning of a packet whose rest is missing.
    var arrived: ArrivedAncillary?
    /// Only while descriptors or credentials are queued.
    var passing: PassingOutput?
}

/// A task waiting for output to leave.
struct OutputWait {
    var wait: Wait
    /// `bytesSent` at which a flush is done; `nil` for a drain, done at the low mark.
    var sentMark: UInt64?
}

// @unchecked Sendable by LoopMember: the state is touched on the loop's thread alone; `handles` is
// atomic since a reader or writer may be released anywhere.
package class Transport: LoopMember, @unchecked Sendable {
    final let state: UnsafeMutablePointer<TransportState>
    final let settings: StreamSettings
    /// Told once, when the descriptor has gone.
    final var owner: (any TransportOwner)?
    /// Have their `work` called with `closed` when the stream has ended, however: one for each
    /// half, perhaps the same.
    final weak var readingMember: LoopMember?
    final weak var writingMember: LoopMember?
    /// The stream of the reader that is stapled to this one's writer: it ends with this one.
    final var partner: Transport?
    /// The same, as long as somebody holds it: attributes are asked for after the end too.
    final weak var stapled: Transport?
    /// Receives for somebody who wants what comes beside the bytes too; during one call.
    final var collector: ((UnsafeMutableRawPointer, Int) -> Int)?
    /// What was set, by name and type.
    final var attributes: [String: any Sendable]?
    /// The reader and the writer; when both are gone nobody can close but the loop.
    private final let handles = Atomic(2)

    init(loop: EventLoop, settings: StreamSettings) {
        self.settings = settings
        state = .allocate(capacity: 1)
        state.initialize(to: TransportState(high: settings.high, low: settings.low))
        if !settings.reads.isEmpty { state.pointee.readWatch = ReadWatch(settings.reads) }
        super.init(loop: loop)
    }

    deinit {
        // Only a loop that stopped first leaves a block behind.
        state.pointee.input.deallocate()
        state.deinitialize(count: 1)
        state.deallocate()
    }

    // MARK: The verbs of a kind

    /// Receives up to `count` bytes, more than 0. Returns how many, 0 at the end, or -errno;
    /// -EAGAIN promises that `becameReady` will tell when to try again.
    func receive(into buffer: UnsafeMutableRawPointer, count: Int) -> Int { -38 }

    /// Sends from the pieces in order. Returns how much was taken, more than 0, or -errno as above.
    func transmit(_ pieces: UnsafePointer<iovec>, count: Int) -> Int { -38 }

    /// The same, one sendmsg(2) with these control messages.
    func transmit(
        _ pieces: UnsafePointer<iovec>, count: Int, control: UnsafeRawBufferPointer
    ) -> Int { -95 }

    /// As `receive`, one recvmsg(2) with room for control messages. `isLook`: nothing is taken.
    func receive(
        into buffer: UnsafeMutableRawPointer, count: Int, isLook: Bool,
        _ control: UnsafeMutableRawBufferPointer?
    ) -> ReceivedMessage { ReceivedMessage(count: -95) }

    /// Whether the last two are there.
    var passesDescriptors: Bool { false }

    /// Says our end to the peer. Called once, with nothing queued.
    func finish() {}

    /// Output has failed for good: for kinds whose peer would otherwise not learn of it.
    func outputBroke() {}

    /// Gives back what carries the bytes, at once. `reset`: the peer is told that bytes were lost.
    func release(reset: Bool) {}

    /// Gives the descriptor away, out of the reactor, instead of releasing it; `nil` for kinds that
    /// have none, or no longer.
    func detachDescriptor() -> Int32? { nil }

    /// Bytes accepted by `transmit` that the peer has not taken yet, if the kind can tell.
    var unacknowledged: Int { 0 }

    var localAddress: SocketAddress? { nil }
    var remoteAddress: SocketAddress? { nil }

    /// For kinds of one direction: there is no output, and none will be accepted.
    final func becomeReadOnly() {
        state.pointee.outputFinished = true
        state.pointee.finishRequested = true
        // With nothing said there is nothing to lose by closing before the peer's end.
        state.pointee.lingered = StreamBounds.lingerBytes
    }

    /// For kinds of one direction: the input has ended before it began.
    final func becomeWriteOnly() {
        state.pointee.inputEnded = true
    }

    // MARK: Called by the loop

    package override final func becameReady(_ ready: UInt32) {
        let hangUp = ready & (readinessHangUp | readinessError) != 0
        if ready & readinessError != 0 { state.pointee.hasError = true }
        if ready & readinessUrgent != 0, state.pointee.readable.latchMark() { endReadWait(.ready) }
        if ready & readinessIn != 0 || hangUp { inputBecameReady(hangUp: hangUp) }
        // A half-closed peer still takes bytes, so its hang-up alone says nothing about output.
        if ready & (readinessOut | readinessError) != 0 { outputBecameReady() }
    }

    package override final func timerFired(_ purpose: UInt32) {
        switch TransportTimer(rawValue: purpose) {
        case .stall: stallTimerFired()
        case .close: closeTimerFired()
        case .read: readTimerFired()
        case .passing: passingTimerFired()
        case nil: break
        }
    }

    package override final func endWait(_ number: UInt32, _ outcome: WaitOutcome) {
        if state.pointee.readWait?.wait(number) == true {
            endReadWait(outcome)
        } else if let index = state.pointee.outputWaits.firstIndex(where: {
            $0.wait.number == number
        }) {
            resume(state.pointee.outputWaits.remove(at: index).wait, outcome)
        } else if let index = state.pointee.closeWaits.firstIndex(where: { $0.number == number }) {
            resume(state.pointee.closeWaits.remove(at: index), outcome)
        }
    }

    package override final func flushOutput() {
        flushNow()
        advanceClosing()
    }

    package override final func loopStopped() {
        end(.loopStopped, reset: true)
    }

    package override func label() -> String {
        "the handler of \(remoteAddress.map(\.description) ?? "a local stream")"
    }

    /// Only one of the two halves will be made: the other counts as gone.
    final func halveHandles() {
        handles.subtract(1, ordering: .relaxed)
    }

    /// A reader or writer has gone. Any thread. With both gone nobody can read what is left or
    /// close.
    final func releaseHandle() {
        guard handles.subtract(1, ordering: .acquiringAndReleasing).newValue == 0 else { return }
        if loop.isCurrent { return forsake() }
        loop.postAlways { self.forsake() }
    }

    private func forsake() {
        if state.pointee.phase == .open { startClosing(within: nil) }
        discardInput()
    }
}

/// What the timers of a transport are for.
enum TransportTimer: UInt32 {
    case stall = 1
    case close = 2
    case read = 3
    case passing = 4
}

/// Whoever has to know that a transport has closed: a server.
protocol TransportOwner: AnyObject {
    func transportClosed(_ transport: Transport)
    /// Whether the current task is the one whose cancellation the owner passes on by itself.
    var isHandlerTask: Bool { get }
}

extension Wait {
    func wait(_ number: UInt32) -> Bool { self.number == number }
}
