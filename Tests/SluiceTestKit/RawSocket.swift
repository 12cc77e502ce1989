// RawSocket: the other end of a Unix socket as plain system calls, for what no library sends: any
// control message with any bytes. Test kit; any thread, and it never blocks.

internal import CEpoll
internal import Glibc
internal import Sluice

/// One end of a socketpair(2), closed in the end.
// @unchecked Sendable: a number; the kernel takes care of the rest.
public final class RawSocket: @unchecked Sendable {
    /// The descriptor, nonblocking.
    public let fd: Int32

    /// Two connected ends; the first one for the test, the second to be adopted.
    public static func pair(isDatagram: Bool = false) throws -> (raw: RawSocket, other: Int32) {
        var ends: [Int32] = [-1, -1]
        let kind = isDatagram ? SOCK_DGRAM : SOCK_STREAM
        let flags = Int32(SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
        guard socketpair(AF_UNIX, Int32(kind.rawValue) | flags, 0, &ends) == 0 else {
            throw SystemError(call: "socketpair", errno: errno)
        }
        return (RawSocket(ends[0]), ends[1])
    }

    public init(_ fd: Int32) {
        self.fd = fd
    }

    deinit { close(fd) }

    /// Sends bytes and descriptors; throws also when it would block.
    @discardableResult
    public func send(_ bytes: [UInt8], descriptors: [Int32] = []) throws -> Int {
        var control: [UInt8] = []
        if !descriptors.isEmpty {
            control = descriptors.withUnsafeBytes { item(type: CE_RIGHTS, Array($0)) }
        }
        return try send(bytes, control: control)
    }

    /// Sends bytes and a control buffer as it is.
    @discardableResult
    public func send(_ bytes: [UInt8], control: [UInt8]) throws -> Int {
        var (bytes, control) = (bytes, control)
        let sent = withMessage(&bytes, &control) { sendmsg(fd, $0, Int32(MSG_NOSIGNAL)) }
        guard sent >= 0 else { throw SystemError(call: "sendmsg", errno: errno) }
        return sent
    }

    /// One control message; several may stand behind one another.
    public func item(level: Int32 = SOL_SOCKET, type: Int, _ data: [UInt8]) -> [UInt8] {
        var control = [UInt8](repeating: 0, count: ce_ancillary_space(data.count))
        var length = 0
        ce_ancillary_append(
            &control, control.count, &length, level, Int32(type), data, data.count)
        return control
    }

    /// One receive: the bytes and the descriptors, which the caller closes.
    public func receive() throws -> (bytes: [UInt8], descriptors: [Int32]) {
        var bytes = [UInt8](repeating: 0, count: 65_536)
        var control = [UInt8](repeating: 0, count: 2_048)
        var length = 0
        let received = withMessage(&bytes, &control) { message in
            let received = recvmsg(fd, message, Int32(MSG_CMSG_CLOEXEC))
            length = message.pointee.msg_controllen
            return received
        }
        guard received >= 0 else { throw SystemError(call: "recvmsg", errno: errno) }
        var descriptors: [Int32] = []
        var offset = 0
        var item = ce_ancillary_item()
        while ce_ancillary_next(control, length, &offset, &item) == 1 {
            guard item.level == SOL_SOCKET, Int(item.type) == CE_RIGHTS else { continue }
            let data = UnsafeRawBufferPointer(start: item.data, count: item.length)
            descriptors += Array(data.bindMemory(to: Int32.self))
        }
        return (Array(bytes.prefix(received)), descriptors)
    }

    private func withMessage<R>(
        _ bytes: inout [UInt8], _ control: inout [UInt8],
        _ body: (UnsafeMutablePointer<msghdr>) -> R
    ) -> R {
        bytes.withUnsafeMutableBytes { bytes in
            control.withUnsafeMutableBytes { control in
                var piece = iovec(iov_base: bytes.baseAddress, iov_len: bytes.count)
                return withUnsafeMutablePointer(to: &piece) { piece in
                    var message = msghdr()
                    (message.msg_iov, message.msg_iovlen) = (piece, 1)
                    message.msg_control = control.isEmpty ? nil : control.baseAddress
                    message.msg_controllen = control.count
                    return body(&message)
                }
            }
        }
    }
}

/// Which open file a descriptor is of: device and inode; nil if it is not open.
public func fileIdentity(_ fd: Int32) -> [UInt64]? {
    var status = stat()
    guard fstat(fd, &status) == 0 else { return nil }
    return [UInt64(status.st_dev), UInt64(status.st_ino)]
}

/// A pipe, whose reading end sees the end once every descriptor of the writing one is closed: so
/// a test learns whether a passed descriptor was closed, whatever else the process opens.
// @unchecked Sendable: numbers.
public final class WatchedPipe: @unchecked Sendable {
    /// To be passed about.
    public let writing: Int32
    private let reading: Int32
    private var isWritingOpen = true

    public init() throws {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { throw SystemError(call: "pipe", errno: errno) }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        (reading, writing) = (ends[0], ends[1])
    }

    deinit {
        close(reading)
        closeWriting()
    }

    /// Closes the test's own descriptor of the writing end.
    public func closeWriting() {
        if isWritingOpen { close(writing) }
        isWritingOpen = false
    }

    /// Whether a descriptor of the writing end is open anywhere, also inside a socket.
    public var isOpen: Bool { !hangsUp(within: 0) }

    /// Whether none is. Blocks for a moment if one is: a child that another test starts has all of
    /// them until its exec.
    public var isForgotten: Bool { hangsUp(within: 2_000) }

    private func hangsUp(within milliseconds: Int32) -> Bool {
        var poller = pollfd(fd: reading, events: 0, revents: 0)
        return poll(&poller, 1, milliseconds) == 1
    }
}
