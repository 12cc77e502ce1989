// What a datagram socket tells about itself. Floor 2, the loop's thread.

internal import SluiceReactor

extension DatagramSocket {
    /// A fact about the socket. On the loop's thread. Addresses stay known after the close.
    ///
    /// - Throws: ``StreamError/unavailable(_:)`` if the socket has nothing to say, `system` if the
    ///   kernel could not be asked.
    public func attribute<Value>(_ key: Attribute<Value>) throws(StreamError) -> Value {
        if !loop.isCurrent {
            stopProgram("DatagramSocket.attribute was called off its loop; use loop.spawn { }")
        }
        guard let value = try key.read(transport) else { throw .unavailable(key.name) }
        return value
    }

    /// A fact about the socket, or `standby` where ``attribute(_:)`` throws. On the loop's thread.
    public func attribute<Value>(_ key: Attribute<Value>, default standby: Value) -> Value {
        (try? attribute(key)) ?? standby
    }
}

extension DatagramTransport: SocketAccess {
    var localAddress: SocketAddress? { local }
    var remoteAddress: SocketAddress? { remote }
    var socketAccess: (any SocketAccess)? { self }

    /// They come with each datagram, ``DatagramOptions/receivesCredentials``, not with a peer.
    func credentialsOfPeer() throws(StreamError) -> PeerCredentials? { nil }
}
