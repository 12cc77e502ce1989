// PeerCredentials: which process stands behind one end of a Unix socket. Floor 2; a plain value.

internal import CEpoll
internal import Glibc

/// A process at one end of a Unix socket, unix(7): who connected (SO_PEERCRED), or who sent
/// something (SCM_CREDENTIALS).
public struct PeerCredentials: Hashable, Sendable {
    /// Process id; 0 for one that this process cannot see.
    public let process: Int32
    /// User id.
    public let user: UInt32
    /// Group id.
    public let group: UInt32

    /// Credentials to be sent: ``Ancillary/credentials``.
    ///
    /// - Parameters:
    ///   - process: 0 stands for this process, with its user and group.
    ///   - user: user id.
    ///   - group: group id.
    public init(process: Int32, user: UInt32 = 0, group: UInt32 = 0) {
        self.process = process
        self.user = user
        self.group = group
    }

    /// Those of this process, as the kernel would tell them to a peer.
    public static var own: PeerCredentials {
        PeerCredentials(process: getpid(), user: getuid(), group: getgid())
    }
}

extension PeerCredentials {
    init(_ shim: ce_credentials) {
        self.init(process: shim.process, user: shim.user, group: shim.group)
    }

    /// As SCM_CREDENTIALS takes it.
    var shim: ce_credentials {
        let sent = process == 0 ? Self.own : self
        return ce_credentials(process: sent.process, user: sent.user, group: sent.group)
    }
}
