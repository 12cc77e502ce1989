// SocketTransport: a connected stream socket. Floor 2, the loop's thread; it owns the descriptor.

internal import CEpoll
internal import Glibc
internal import SluiceReactor

let readinessIn = CE_IN.rawValue
let readinessOut = CE_OUT.rawValue
let readinessHangUp = CE_HANG_UP.rawValue
let readinessError = CE_ERROR.rawValue
let readinessUrgent = CE_URGENT.rawValue

extension LoopMember {
    /// Becomes the loop's member with a descriptor, registered edge-triggered for these directions
    /// and hang-up; none if it throws, and the descriptor stays open.
    func enter(_ fd: Int32, for interest: UInt32) throws(SystemError) {
        loop.admit(self)
        let result = ce_add(loop.reactor, fd, interest | CE_EDGE.rawValue, token)
        if result < 0 {
            loop.dismiss(self)
            throw SystemError(call: "epoll_ctl", errno: result)
        }
    }
}

// @unchecked Sendable by Transport.
final class SocketTransport: Transport, @unchecked Sendable {
    /// -1 once closed.
    private(set) var fd: Int32
    private let remote: SocketAddress?
    private var local: SocketAddress?
    /// A Unix socket: descriptors may come with its bytes.
    private let isUnix: Bool
    /// Asked for once.
    private var peerCredentials: PeerCredentials?

    /// Takes over a connected, nonblocking descriptor, also when it throws (it is closed then).
    ///
    /// Registered once, edge-triggered, for both directions and hang-up. The kernel reports at once
    /// what is there already, so the first read parks without asking.
    ///
    /// - Parameter local: its own address if known; asked for when needed otherwise.
    init(
        fd: Int32, loop: EventLoop, settings: StreamSettings, local: SocketAddress?,
        remote: SocketAddress?
    ) throws(SystemError) {
        self.fd = fd
        self.local = local
        self.remote = remote
        isUnix = (remote ?? local)?.isUnix ?? false
        super.init(loop: loop, settings: settings)
        do throws(SystemError) {
            try enter(fd, for: CE_WANT_IN.rawValue | CE_WANT_OUT.rawValue)
        } catch {
            ce_close(loop.reactor, fd)
            self.fd = -1
            throw error
        }
    }

    override func receive(into buffer: UnsafeMutableRawPointer, count: Int) -> Int {
        guard isUnix else { return ce_receive(loop.reactor, fd, buffer, count) }
        if let collector {
            let taken = collector(buffer, count)
            if taken < count, taken > 0 { loop.signal(self, readinessIn) }
            return taken
        }
        // Without room for them the kernel drops descriptors that nobody has asked for.
        let message = receive(into: buffer, count: count, isLook: false, nil)
        // A receive stops behind such a message, so that a short one does not mean the end of what
        // is there.
        if message.isCut, message.count < count { loop.signal(self, readinessIn) }
        return message.count
    }

    override func receive(
        into buffer: UnsafeMutableRawPointer, count: Int, isLook: Bool,
        _ control: UnsafeMutableRawBufferPointer?
    ) -> ReceivedMessage {
        var piece = iovec(iov_base: buffer, iov_len: count)
        return withUnsafeMutablePointer(to: &piece) { piece in
            var message = msghdr()
            (message.msg_iov, message.msg_iovlen) = (piece, 1)
            message.msg_control = control?.baseAddress
            message.msg_controllen = control?.count ?? 0
            let flags = isLook ? Int32(MSG_PEEK) : 0
            let received = ce_receive_message(loop.reactor, fd, &message, flags)
            return ReceivedMessage(
                count: received, control: message.msg_controllen,
                isCut: message.msg_flags & Int32(MSG_CTRUNC) != 0)
        }
    }

    override func transmit(
        _ pieces: UnsafePointer<iovec>, count: Int, control: UnsafeRawBufferPointer
    ) -> Int {
        var message = msghdr()
        message.msg_iov = UnsafeMutablePointer(mutating: pieces)
        message.msg_iovlen = count
        message.msg_control = UnsafeMutableRawPointer(mutating: control.baseAddress)
        message.msg_controllen = control.count
        return ce_send_message(loop.reactor, fd, &message, 0)
    }

    override var passesDescriptors: Bool { isUnix }

    override func transmit(_ pieces: UnsafePointer<iovec>, count: Int) -> Int {
        ce_send(loop.reactor, fd, pieces, count)
    }

    override func finish() {
        // ENOTCONN after the peer's reset: the next read or write tells.
        _ = ce_finish(loop.reactor, fd)
    }

    override func release(reset: Bool) {
        guard fd >= 0 else { return }
        if local?.isWildcard != false { local = localAddress }
        ce_remove(loop.reactor, fd)
        if reset { ce_close_reset(loop.reactor, fd) } else { ce_close(loop.reactor, fd) }
        fd = -1
    }

    override func detachDescriptor() -> Int32? {
        guard fd >= 0 else { return nil }
        ce_remove(loop.reactor, fd)
        defer { fd = -1 }
        return fd
    }

    override var unacknowledged: Int {
        Int(ce_unsent(loop.reactor, fd))
    }

    override var remoteAddress: SocketAddress? { remote }

    override var localAddress: SocketAddress? {
        if let local, !local.isWildcard || fd < 0 { return local }
        guard fd >= 0 else { return nil }
        var address = ce_address()
        guard ce_local_address(loop.reactor, fd, &address) == 0 else { return local }
        local = SocketAddress(address)
        return local
    }

    /// SO_PEERCRED of a Unix peer, which never changes.
    func credentials() throws(StreamError) -> PeerCredentials {
        if let peerCredentials { return peerCredentials }
        guard fd >= 0 else { throw .closed }
        var credentials = ce_credentials()
        let result = ce_peer_credentials(loop.reactor, fd, &credentials)
        guard result == 0 else {
            throw .system(SystemError(call: "getsockopt", errno: result))
        }
        let known = PeerCredentials(credentials)
        peerCredentials = known
        return known
    }
}
