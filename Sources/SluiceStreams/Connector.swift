// Connector: one connection attempt. Floor 2, the loop's thread. Owns its descriptor until it is
// connected; cancelled or timed out, it closes it.

internal import CEpoll
internal import Glibc
internal import SluiceReactor

// @unchecked Sendable by LoopMember.
final class Connector: LoopMember, @unchecked Sendable {
    private var wait: Wait?
    private let socket: ce_socket_options

    init(loop: EventLoop, socket: ce_socket_options) {
        self.socket = socket
        super.init(loop: loop)
    }

    /// Returns a connected descriptor. Throws ECANCELED for cancellation and ETIME for the deadline
    /// of a surrounding `withTimeout`, neither of which connect(2) gives.
    nonisolated(nonsending) func connect(
        to address: SocketAddress, from local: SocketAddress? = nil
    ) async throws(SystemError) -> Int32 {
        var shim = address.shimAddress
        var options = socket
        var isInProgress = false
        var call: UnsafePointer<CChar>?
        let fd: Int32
        if let local {
            var shimLocal = local.shimAddress
            fd = ce_connect(loop.reactor, &shim, &shimLocal, &options, &isInProgress, &call)
        } else {
            fd = ce_connect(loop.reactor, &shim, nil, &options, &isInProgress, &call)
        }
        guard fd >= 0 else {
            throw SystemError(call: call.map { String(cString: $0) } ?? "connect", errno: fd)
        }
        guard isInProgress else { return fd }
        let errno = await waitConnected(fd)
        guard errno == 0 else {
            ce_close(loop.reactor, fd)
            throw SystemError(call: "connect", errno: errno)
        }
        return fd
    }

    private nonisolated(nonsending) func waitConnected(_ fd: Int32) async -> Int32 {
        loop.admit(self)
        defer { loop.dismiss(self) }
        let result = ce_add(
            loop.reactor, fd, CE_WANT_OUT.rawValue | CE_EDGE.rawValue, token)
        guard result == 0 else { return -result }
        let errno = await waitResult(fd)
        ce_remove(loop.reactor, fd)
        return errno
    }

    /// Readiness is a hint: SO_ERROR says whether the attempt failed, and a peer's address whether
    /// it is over at all.
    private nonisolated(nonsending) func waitResult(_ fd: Int32) async -> Int32 {
        while true {
            let outcome = await suspend { continuation, number in
                begin(continuation, number: number) { wait in
                    self.wait = wait
                    return true
                }
            }
            switch outcome {
            case .ready: break
            case .cancelled: return ECANCELED
            case .timedOut: return ETIME
            case .closed: return ECONNABORTED
            }
            let error = ce_socket_error(loop.reactor, fd)
            if error != 0 { return abs(error) }
            var peer = ce_address()
            let result = ce_remote_address(loop.reactor, fd, &peer)
            // ENOTCONN: the readiness was a false alarm, the attempt goes on.
            if result != -ENOTCONN { return -result }
        }
    }

    override func becameReady(_ ready: UInt32) { end(.ready) }

    override func endWait(_ number: UInt32, _ outcome: WaitOutcome) {
        if wait?.number == number { end(outcome) }
    }

    override func loopStopped() { end(.closed) }

    private func end(_ outcome: WaitOutcome) {
        guard let wait else { return }
        self.wait = nil
        resume(wait, outcome)
    }

    override func label() -> String { "a connection attempt" }
}
