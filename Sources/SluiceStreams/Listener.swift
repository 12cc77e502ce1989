// Listener: one listening descriptor; hands accepted descriptors to its server. Floor 2, the loop's
// thread; it owns the descriptor.
//
// Registered level-triggered, so that a budget may stop an accept loop anywhere: what is left in
// the backlog is reported again. Pausing takes the interest away, and with it all cost.
//
// What accept4(2) may say, and what follows:
//   EAGAIN          nobody is waiting: done
//   ECONNABORTED EPROTO EPERM ENETDOWN ENOPROTOOPT EHOSTDOWN ENONET EHOSTUNREACH EOPNOTSUPP
//   ENETUNREACH ETIMEDOUT
//                   that connection died while it waited (accept(2) passes its network errors on),
//                   or a firewall forbids it: go on
//   EMFILE ENFILE ENOBUFS ENOMEM
//                   out of descriptors or memory: report, rest 100 ms, go on
//   EBADF EINVAL ENOTSOCK EFAULT, others
//                   the listener itself is broken: fail the server

internal import CEpoll
internal import Glibc
internal import SluiceReactor

// @unchecked Sendable by LoopMember.
final class Listener: LoopMember, @unchecked Sendable {
    /// -1 once closed.
    private var fd: Int32
    let address: SocketAddress
    /// Whether the kernel chose the port.
    let wasPortChosen: Bool
    /// The file of a Unix path that is ours to remove.
    private let file: ce_file_id?
    /// Set by the server before it hands the listener's loop a turn; the two hold each other until
    /// the listener is closed, so a server that nobody keeps goes on serving.
    var server: Server?
    private let accepts: Int
    private var restTimer: TimerToken = 0
    private(set) var isPaused = false

    /// Listens on `address`; port 0 is replaced by what the kernel chose.
    convenience init(
        address: SocketAddress, settings: ServerSettings, loop: EventLoop
    ) throws(StreamError) {
        var shim = address.shimAddress
        var options = settings.listenOptions
        var call: UnsafePointer<CChar>?
        let fd = ce_listen(loop.reactor, &shim, &options, &call)
        guard fd >= 0 else { throw Self.failure(address, call, fd) }
        try self.init(taking: fd, at: address, file: nil, settings: settings, loop: loop)
    }

    /// Listens on a Unix path, whose file gets `mode` first.
    convenience init(
        path address: SocketAddress, mode: UInt32, settings: ServerSettings, loop: EventLoop
    ) throws(StreamError) {
        var shim = address.shimAddress
        var options = settings.listenOptions
        var file = ce_file_id()
        var call: UnsafePointer<CChar>?
        let fd = ce_listen_unix(loop.reactor, &shim, &options, mode, &file, &call)
        guard fd >= 0 else { throw Self.failure(address, call, fd) }
        try self.init(taking: fd, at: address, file: file, settings: settings, loop: loop)
    }

    /// Takes over a descriptor that listens already; refused, it stays the caller's.
    convenience init(
        descriptor fd: Int32, settings: ServerSettings, loop: EventLoop
    ) throws(StreamError) {
        var local = ce_address()
        let result = ce_listening(loop.reactor, fd, &local)
        guard result == 0, let address = SocketAddress(local) else {
            throw .invalidOption(
                name: "descriptor",
                rule: "a listening stream socket (\(SystemError.text(of: -result)))")
        }
        try self.init(taking: fd, at: address, file: nil, settings: settings, loop: loop)
    }

    private init(
        taking fd: Int32, at wanted: SocketAddress, file: ce_file_id?, settings: ServerSettings,
        loop: EventLoop
    ) throws(StreamError) {
        self.fd = fd
        self.file = file
        accepts = settings.acceptsPerWakeUp
        var bound = ce_address()
        _ = ce_local_address(loop.reactor, fd, &bound)
        address = SocketAddress(bound) ?? wanted
        wasPortChosen = wanted.port == 0
        super.init(loop: loop)
        loop.admit(self)
        let result = ce_add(loop.reactor, fd, CE_WANT_IN.rawValue, token)
        guard result == 0 else {
            close()
            throw .listenFailed(address: wanted, SystemError(call: "epoll_ctl", errno: result))
        }
    }

    private static func failure(
        _ address: SocketAddress, _ call: UnsafePointer<CChar>?, _ errno: Int32
    ) -> StreamError {
        let name = call.map { String(cString: $0) } ?? "listen"
        return .listenFailed(address: address, SystemError(call: name, errno: errno))
    }

    /// Closes the descriptor; connections that still wait in its backlog are reset by the kernel. A
    /// Unix path's file goes first, while its inode cannot be another's.
    func close() {
        guard fd >= 0 else { return }
        loop.disarm(restTimer)
        restTimer = 0
        ce_remove(loop.reactor, fd)
        if let file {
            var shim = address.shimAddress
            _ = ce_unlink_file(loop.reactor, &shim, file)
        }
        ce_close(loop.reactor, fd)
        fd = -1
        server = nil
        loop.dismiss(self)
    }

    /// Stops accepting until `resume`.
    func pause() {
        guard !isPaused, fd >= 0 else { return }
        isPaused = true
        loseInterest()
    }

    /// Out of the set if the interest cannot be taken away: it would be reported without end.
    private func loseInterest() {
        if ce_modify(loop.reactor, fd, 0, token) < 0 { ce_remove(loop.reactor, fd) }
    }

    func resume() {
        guard isPaused, fd >= 0, restTimer == 0 else { return }
        var result = ce_modify(loop.reactor, fd, CE_WANT_IN.rawValue, token)
        if result == -ENOENT { result = ce_add(loop.reactor, fd, CE_WANT_IN.rawValue, token) }
        if result < 0 { return rest(SystemError(call: "epoll_ctl", errno: result)) }
        isPaused = false
    }

    override func becameReady(_ ready: UInt32) {
        // Neither could be done when it paused.
        if isPaused { loseInterest() }
        for _ in 0..<accepts {
            guard let server, fd >= 0, !isPaused else { return }
            guard server.hasRoom else { return pause() }
            var peer = ce_address()
            let accepted = ce_accept(loop.reactor, fd, &peer)
            if accepted >= 0 {
                server.accepted(accepted, from: SocketAddress(peer), on: self)
            } else if !goOn(after: -accepted) {
                return
            }
        }
    }

    /// Whether the accept loop goes on after this errno.
    private func goOn(after errno: Int32) -> Bool {
        switch errno {
        case EAGAIN:
            return false
        case ECONNABORTED, EPROTO, EPERM, ENETDOWN, ENOPROTOOPT, EHOSTDOWN, ENONET, EHOSTUNREACH,
            EOPNOTSUPP, ENETUNREACH, ETIMEDOUT:
            return true
        case EMFILE, ENFILE, ENOBUFS, ENOMEM:
            rest(SystemError(call: "accept4", errno: errno))
            return false
        default:
            server?.listenerFailed(SystemError(call: "accept4", errno: errno))
            return false
        }
    }

    private func rest(_ error: SystemError) {
        pause()
        restTimer = loop.arm(
            self, purpose: 0, deadline: loop.now() &+ StreamBounds.acceptPauseNanoseconds)
        server?.acceptPaused(address, error)
    }

    override func timerFired(_ purpose: UInt32) {
        restTimer = 0
        if server?.hasRoom == true { resume() }
    }

    override func loopStopped() {
        server?.loopStopped()
    }

    override func label() -> String { "the listener on \(address)" }
}
