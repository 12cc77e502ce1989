// Which errors each system call of the shim may plausibly give, by its man page and, for accept4,
// by the list in Listener.swift.
//
// Left out is what only a bug of ours could bring (EBADF, EFAULT, EINVAL of a bad argument), and
// EINPROGRESS and EPIPE of sendmsg, which come with a connection on its way and one that is shut:
// here there is none.

import Glibc
import SluiceTestKit

/// The errors to try for a kind of call; none for the clocks, which cannot fail.
func plausibleErrors(of call: cf_call) -> [Int32] {
    errors[call.rawValue] ?? []
}

private let errors: [UInt32: [Int32]] = [
    CF_EPOLL_CREATE1.rawValue: [EMFILE, ENFILE, ENOMEM],
    CF_EPOLL_CTL.rawValue: [ENOMEM, ENOSPC, EINTR],
    CF_EPOLL_WAIT.rawValue: [EINTR],
    CF_EPOLL_PWAIT2.rawValue: [EINTR, ENOSYS, EPERM],
    CF_EVENTFD.rawValue: [EMFILE, ENFILE, ENOMEM, ENODEV],
    CF_SOCKET.rawValue: [EMFILE, ENFILE, ENOBUFS, ENOMEM, EACCES, EAFNOSUPPORT],
    CF_BIND.rawValue: [EADDRINUSE, EACCES, EADDRNOTAVAIL, ENOMEM],
    CF_LISTEN.rawValue: [EADDRINUSE, EOPNOTSUPP],
    CF_ACCEPT4.rawValue: [
        EAGAIN, EINTR, ECONNABORTED, EMFILE, ENFILE, ENOBUFS, ENOMEM, EPROTO, EPERM, ENETDOWN,
        EHOSTUNREACH, EINVAL,
    ],
    CF_CONNECT.rawValue: [
        ECONNREFUSED, EINTR, ETIMEDOUT, ENETUNREACH, EHOSTUNREACH, EADDRNOTAVAIL, EAGAIN, EACCES,
    ],
    CF_SHUTDOWN.rawValue: [ENOTCONN, EINTR],
    CF_CLOSE.rawValue: [EIO, EINTR, ENOSPC],
    CF_FCNTL.rawValue: [EPERM, EINTR],
    CF_SETSOCKOPT.rawValue: [ENOBUFS, ENOPROTOOPT, EINVAL, EPERM],
    CF_GETSOCKOPT.rawValue: [ENOBUFS, ENOPROTOOPT],
    CF_GETSOCKNAME.rawValue: [ENOBUFS],
    CF_GETPEERNAME.rawValue: [ENOTCONN, ENOBUFS],
    CF_UNSENT.rawValue: [EINVAL, ENOTTY],
    CF_READ.rawValue: [EAGAIN, EINTR, EIO],
    CF_WRITE.rawValue: [EINTR],
    CF_WRITEV.rawValue: [EAGAIN, EINTR, EPIPE, EIO, ENOMEM],
    CF_RECV.rawValue: [EAGAIN, EINTR, ECONNRESET, ETIMEDOUT, ENOMEM, EHOSTUNREACH],
    CF_RECVMSG.rawValue: [EAGAIN, EINTR, ECONNRESET, ENOMEM],
    CF_SENDMSG.rawValue: [EAGAIN, EINTR, ECONNRESET, ENOBUFS, ENOMEM, ETIMEDOUT],
    CF_RECVMMSG.rawValue: [EAGAIN, EINTR, ECONNREFUSED, ENOMEM],
    CF_SENDMMSG.rawValue: [
        EAGAIN, EINTR, ECONNREFUSED, ENOBUFS, ENOMEM, EPERM, ENETUNREACH, EHOSTUNREACH,
    ],
    CF_OPEN.rawValue: [EMFILE, ENFILE, EACCES, ENOENT, ENOMEM],
    CF_FLOCK.rawValue: [EINTR, EWOULDBLOCK, ENOLCK],
    CF_FSTATAT.rawValue: [EACCES, EIO, ENOENT, ENOMEM],
    CF_FCHMODAT.rawValue: [EOPNOTSUPP, EPERM, EROFS],
    CF_UNLINKAT.rawValue: [EACCES, EBUSY, EROFS],
    CF_SLEEP.rawValue: [EINTR],
]
