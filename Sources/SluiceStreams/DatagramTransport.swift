// DatagramTransport: the owner of one datagram socket's descriptor and of both its queues. Floor 2,
// the loop's thread. Input: DatagramTransport+Input, output: DatagramTransport+Output,
// descriptors beside both: DatagramTransport+Ancillary.
//
// Invariants, as in Transport: one place receives (`receiveOnce`) and one parks a reader; one
// transmits (`flushNow`) and one parks senders. The descriptor is open exactly until `isOpen` is
// false.

internal import CEpoll
internal import Glibc
package import SluiceReactor

/// A datagram that came, or the news that one was too long or had too many descriptors.
package struct Arrival: Sendable {
    package var datagram: Datagram
    /// What came beside it, closed with it; `nil` for nothing.
    package var ancillary: ArrivedAncillary?
    /// The size of a datagram that was lost for it; 0 for none.
    var lostBytes = 0

    var isWhole: Bool { lostBytes == 0 && ancillary?.isCut != true }
}

/// A datagram on its way out.
struct Outgoing {
    var bytes: [UInt8]
    /// `nil`: to where the socket is connected.
    var address: SocketAddress?
    /// In the order of queueing, which is that of leaving but for full Unix peers.
    var number: UInt64
    /// What leaves beside it.
    var passing: PassingDatagram?
}

/// News of a peer that datagrams do not reach.
struct PeerFailure {
    var address: SocketAddress?
    var errno: Int32
    /// Set for a failure that is no peer's.
    var call: String?

    var error: StreamError {
        if let call { return .system(SystemError(call: call, errno: errno)) }
        return .peerFailed(address, errno: errno)
    }
}

/// A task waiting for datagrams to leave.
struct DatagramWait {
    enum Goal {
        /// Few enough before those of this peer.
        case drain(SocketAddress?)
        /// None left of those queued up to this number.
        case flush(UInt64)
    }

    var wait: Wait
    var goal: Goal
}

/// Everything hot, behind one pointer.
struct DatagramState {
    var isOpen = true
    var ending = EndReason.closed
    // Input
    var readable = Readiness(ready: false)
    var readWait: Wait?
    /// A receive has begun and not ended; another one is refused.
    var isReading = false
    var arrivals = CountedQueue<Arrival>()
    /// Descriptors beside them.
    var descriptorsWaiting = 0
    var failures: [PeerFailure] = []
    /// Results given in a row without suspending.
    var resultsInARow: UInt8 = 0
    var sendsInARow: UInt8 = 0
    /// SO_RXQ_OVFL's last word.
    var drops: UInt32 = 0
    // Output
    var writable = Readiness(ready: true)
    var output = CountedQueue<Outgoing>()
    var outputWaits: [DatagramWait] = []
    /// The number of the newest datagram queued.
    var newest: UInt64 = 0
    /// Descriptors kept open for what is queued.
    var descriptorsKept = 0
    var flushTurn: UInt32 = 0
    var flushedInTurn = 0
    /// What the kernel said when it refused the first datagram; it is asked once more.
    var refusal: Int32 = 0
    /// How often the first datagram was refused for what ICMP said of others.
    var refusalsForOthers = 0
    /// Whether the kernel takes several datagrams as one.
    var joins = false
    // Unix peers whose queues are full
    var fullPeers: Set<SocketAddress> = []
    var stalled = CountedQueue<Outgoing>()
    var restTimer: TimerToken = 0
    var rest: UInt64 = 0
    // The end
    var closeWaits: [Wait] = []
    var counts = DatagramStatistics()
}

// @unchecked Sendable by LoopMember: the state is touched on the loop's thread alone.
package final class DatagramTransport: LoopMember, @unchecked Sendable {
    let state: UnsafeMutablePointer<DatagramState>
    let settings: DatagramSettings
    let slab: DatagramSlab
    /// -1 once closed.
    private(set) var fd: Int32
    let local: SocketAddress
    let remote: SocketAddress?
    /// UDP, whose kernel notes drops and keeps errors.
    let isInternet: Bool
    /// The most bytes that can be sent as one datagram.
    let sizeMax: Int
    /// The file of a Unix path that is ours to remove.
    private let file: ce_file_id?

    /// Takes over a bound or connected descriptor, also when it throws (it is closed then).
    init(
        fd: Int32, loop: EventLoop, settings: DatagramSettings, local: SocketAddress,
        remote: SocketAddress?, file: ce_file_id?
    ) throws(SystemError) {
        self.fd = fd
        self.settings = settings
        self.remote = remote
        self.file = file
        self.local = local
        isInternet = local.datagramBytesMax != nil
        var buffer: Int32 = 0
        _ = ce_get_option(loop.reactor, fd, SOL_SOCKET, SO_SNDBUF, &buffer)
        // af_unix.c: what is longer than this is refused with EMSGSIZE.
        sizeMax = local.datagramBytesMax ?? max(0, Int(buffer) - 32)
        slab = DatagramSlab.of(loop)
        state = .allocate(capacity: 1)
        state.initialize(to: DatagramState())
        super.init(loop: loop)
        if isInternet, settings.options.joinsDatagrams {
            var size: Int32 = 0
            let result = ce_get_option(loop.reactor, fd, Int32(IPPROTO_UDP), udpSegment, &size)
            state.pointee.joins = result == 0
        }
        do throws(SystemError) {
            try enter(fd, for: CE_WANT_IN.rawValue | CE_WANT_OUT.rawValue)
        } catch {
            close(.closed)
            throw error
        }
    }

    deinit {
        state.deinitialize(count: 1)
        state.deallocate()
    }

    // MARK: Called by the loop

    package override func becameReady(_ ready: UInt32) {
        if ready & readinessError != 0 { collectFailures() }
        if ready & (readinessIn | readinessHangUp | readinessError) != 0 { inputBecameReady() }
        if ready & (readinessOut | readinessError) != 0 { outputBecameReady() }
    }

    package override func timerFired(_ purpose: UInt32) { restEnded() }

    package override func endWait(_ number: UInt32, _ outcome: WaitOutcome) {
        if state.pointee.readWait?.number == number {
            endReadWait(outcome)
        } else if let index = state.pointee.outputWaits.firstIndex(where: {
            $0.wait.number == number
        }) {
            resume(state.pointee.outputWaits.remove(at: index).wait, outcome)
        } else if let index = state.pointee.closeWaits.firstIndex(where: { $0.number == number }) {
            resume(state.pointee.closeWaits.remove(at: index), outcome)
        }
    }

    package override func flushOutput() { flushNow() }

    package override func loopStopped() { close(.loopStopped) }

    package override func label() -> String { "the datagram socket \(local)" }

    // MARK: The end

    /// Closes: what the kernel takes at once still leaves, everything else is dropped, whoever
    /// waits is told. Idempotent. A Unix path's file goes first, while its inode cannot be
    /// another's.
    func close(_ reason: EndReason) {
        guard state.pointee.isOpen else { return }
        if reason == .closed, fd >= 0 {
            repeat {
                // The last turn of this one: no share has to be kept for later.
                state.pointee.flushedInTurn = 0
                flushNow()
            } while !state.pointee.output.isEmpty && state.pointee.writable.mayTry
        }
        state.pointee.isOpen = false
        state.pointee.ending = reason
        state.pointee.counts.notSent +=
            state.pointee.output.count + state.pointee.stalled.count
        state.pointee.output = CountedQueue()
        state.pointee.stalled = CountedQueue()
        state.pointee.arrivals = CountedQueue()
        (state.pointee.descriptorsWaiting, state.pointee.descriptorsKept) = (0, 0)
        state.pointee.failures = []
        loop.disarm(state.pointee.restTimer)
        state.pointee.restTimer = 0
        loop.withdraw(self)
        release()
        endReadWait(.closed)
        let waits = state.pointee.outputWaits
        state.pointee.outputWaits = []
        for waiting in waits { resume(waiting.wait, .closed) }
        let closeWaits = state.pointee.closeWaits
        state.pointee.closeWaits = []
        for wait in closeWaits { resume(wait, .ready) }
        loop.dismiss(self)
    }

    private func release() {
        ce_remove(loop.reactor, fd)
        if let file {
            var shim = local.shimAddress
            _ = ce_unlink_file(loop.reactor, &shim, file)
        }
        ce_close(loop.reactor, fd)
        fd = -1
    }

    /// Waits until it has been closed.
    nonisolated(nonsending) func waitClosed() async throws(StreamError) {
        while state.pointee.isOpen {
            let outcome = await suspend { continuation, number in
                begin(continuation, number: number) { wait in
                    guard state.pointee.isOpen else { return false }
                    state.pointee.closeWaits.append(wait)
                    return true
                }
            }
            if outcome == .cancelled { throw .cancelled }
            if outcome == .timedOut { throw .timedOut }
            if outcome == .closed { return }
        }
    }

    /// What a wait that was not answered throws.
    func error(of outcome: WaitOutcome) -> StreamError {
        switch outcome {
        case .cancelled: .cancelled
        case .timedOut: .timedOut
        case .closed, .ready: state.pointee.ending.error
        }
    }

    /// Lets the loop's other work run after a row of results that never suspended.
    nonisolated(nonsending) func takeTurns() async throws(StreamError) {
        state.pointee.resultsInARow = 0
        state.pointee.sendsInARow = 0
        await EventLoop.yield()
        if Task.isCancelled { throw .cancelled }
        if Deadline.current <= loop.now() { throw .timedOut }
    }

    package func statistics() -> DatagramStatistics {
        var counts = state.pointee.counts
        counts.waiting = state.pointee.arrivals.count
        counts.waitingBytes = state.pointee.arrivals.bytes
        counts.waitingDescriptors = state.pointee.descriptorsWaiting
        counts.queued = state.pointee.output.count + state.pointee.stalled.count
        return counts
    }
}

/// UDP_SEGMENT of linux/udp.h.
private let udpSegment: Int32 = 103
