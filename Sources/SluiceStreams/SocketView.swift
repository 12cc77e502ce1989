// What attributes are read from: streams of any kind, and datagram sockets. Floor 2, the loop's
// thread.

internal import CEpoll
public import SluiceReactor

/// Who can tell something about itself.
protocol AttributeSource: AnyObject, Sendable {
    var localAddress: SocketAddress? { get }
    var remoteAddress: SocketAddress? { get }
    /// `nil` where there are none.
    func credentialsOfPeer() throws(StreamError) -> PeerCredentials?
    /// `nil` for what is no socket.
    var socketAccess: (any SocketAccess)? { get }
}

/// A socket's options, without its bytes.
protocol SocketAccess: AttributeSource {
    var loop: EventLoop { get }
    /// -1 once closed.
    var fd: Int32 { get }
}

extension SocketAccess {
    func option(level: Int32, name: Int32) throws(StreamError) -> Int32 {
        guard fd >= 0 else { throw .closed }
        var value: Int32 = 0
        let result = ce_get_option(loop.reactor, fd, level, name, &value)
        guard result == 0 else {
            throw .system(SystemError(call: "getsockopt", errno: result))
        }
        return value
    }

    func setOption(level: Int32, name: Int32, value: Int32) throws(StreamError) {
        guard fd >= 0 else { throw .closed }
        let result = ce_set_option(loop.reactor, fd, level, name, value)
        guard result == 0 else {
            throw .system(SystemError(call: "setsockopt", errno: result))
        }
    }
}

/// A socket for those who must neither read, write nor close it. On the stream's loop.
// @unchecked Sendable: an immutable reference; every call checks the thread.
public struct SocketView: @unchecked Sendable {
    private let socket: any SocketAccess

    init(_ socket: any SocketAccess) {
        self.socket = socket
    }

    /// The kind of its addresses; `nil` if it has none.
    public var family: SocketFamily? {
        (socket.remoteAddress ?? socket.localAddress)?.family
    }
    /// As ``StreamWriter/localAddress``.
    public var localAddress: SocketAddress? {
        check("localAddress")
        return socket.localAddress
    }
    /// As ``StreamWriter/remoteAddress``.
    public var remoteAddress: SocketAddress? { socket.remoteAddress }

    /// As ``StreamWriter/socketOption(level:name:)``.
    public func option(level: Int32, name: Int32) throws(StreamError) -> Int32 {
        check("option")
        return try socket.option(level: level, name: name)
    }

    /// As ``StreamWriter/setSocketOption(level:name:value:)``.
    public func setOption(level: Int32, name: Int32, value: Int32) throws(StreamError) {
        check("setOption")
        try socket.setOption(level: level, name: name, value: value)
    }

    private func check(_ name: String) {
        if !socket.loop.isCurrent {
            stopProgram("SocketView.\(name) was called off its loop; use loop.spawn { }")
        }
    }
}

extension Transport: AttributeSource {
    final func credentialsOfPeer() throws(StreamError) -> PeerCredentials? {
        guard passesDescriptors else { return nil }
        return try (self as? SocketTransport)?.credentials()
    }

    final var socketAccess: (any SocketAccess)? { self as? SocketTransport }
}

extension SocketTransport: SocketAccess {}
