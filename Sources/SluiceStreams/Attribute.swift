// Attributes: typed keys for what a stream can tell about itself, whatever carries its bytes, and a
// datagram socket. Floor 2; keys are plain values, the look-up is made on the stream's loop.

public import SluiceReactor

/// A key for a fact about a stream or a datagram socket: ``StreamWriter/attribute(_:)``,
/// ``DatagramSocket/attribute(_:)``.
///
/// A key made here has a value where somebody has set one:
/// ``StreamWriter/setAttribute(_:to:)``. The same way what is laid around a stream, such as a
/// decoder of proxy headers, may say something better than the stream itself.
public struct Attribute<Value: Sendable>: Sendable {
    /// Tells it from others of the same type.
    public let name: String
    /// What the stream or socket itself knows; throws what made the asking fail.
    let read: @Sendable (any AttributeSource) throws(StreamError) -> Value?

    /// A key without a value of the stream's own.
    ///
    /// - Parameter name: unlike those of other keys with this type of value.
    public init(_ name: String) {
        self.init(name) { _ in nil }
    }

    init(
        _ name: String,
        _ read: @escaping @Sendable (any AttributeSource) throws(StreamError) -> Value?
    ) {
        self.name = name
        self.read = read
    }

    /// What values are kept under: two keys of one name and different types have nothing in common.
    var place: String { "\(name): \(Value.self)" }
}

extension Attribute where Value == SocketAddress {
    /// This side's address, also after the close.
    public static var localAddress: Self { Self("localAddress") { $0.localAddress } }
    /// The peer's address, also after the close.
    public static var remoteAddress: Self { Self("remoteAddress") { $0.remoteAddress } }
}

extension Attribute where Value == SocketFamily {
    /// The socket's kind of address.
    public static var family: Self {
        Self("family") { ($0.remoteAddress ?? $0.localAddress)?.family }
    }
}

extension Attribute where Value == UnixName {
    /// This side's name, of a Unix socket.
    public static var localName: Self { Self("localName") { $0.localAddress?.unixName } }
    /// The peer's name, of a Unix socket.
    public static var remoteName: Self { Self("remoteName") { $0.remoteAddress?.unixName } }
}

extension Attribute where Value == PeerCredentials {
    /// Who is at the other end of a Unix socket; SO_PEERCRED, asked for once.
    public static var peerCredentials: Self {
        Self("peerCredentials") { (source) throws(StreamError) in
            try source.credentialsOfPeer()
        }
    }
}

extension Attribute where Value == SocketView {
    /// The socket's options and names, without its bytes.
    public static var socket: Self {
        Self("socket") { $0.socketAccess.map(SocketView.init) }
    }
}

/// Keys reserved for streams inside TLS, which nothing sets so far.
extension Attribute where Value == String {
    /// For example `TLSv1.3`.
    public static var tlsVersion: Self { Self("tlsVersion") }
    /// The cipher's name.
    public static var tlsCipher: Self { Self("tlsCipher") }
    /// The name that the client asked for, RFC 6066.
    public static var tlsServerName: Self { Self("tlsServerName") }
    /// What both sides will speak inside, RFC 7301.
    public static var tlsApplicationProtocol: Self { Self("tlsApplicationProtocol") }
}

/// Keys reserved for streams inside TLS, which nothing sets so far.
extension Attribute where Value == [UInt8] {
    /// The peer's certificate in DER.
    public static var tlsPeerCertificate: Self { Self("tlsPeerCertificate") }
}

// MARK: Looking up

extension Transport {
    /// What was set, else what the receiving half of stapled ones says, else this one.
    final func attribute<Value>(_ key: Attribute<Value>) throws(StreamError) -> Value {
        if let value = attributes?[key.place] as? Value { return value }
        // Its own only: two pairs may be stapled crosswise.
        if let stapled, let value = try? stapled.ownAttribute(key) { return value }
        return try ownAttribute(key)
    }

    private func ownAttribute<Value>(_ key: Attribute<Value>) throws(StreamError) -> Value {
        if let value = attributes?[key.place] as? Value { return value }
        guard let value = try key.read(self) else { throw .unavailable(key.name) }
        return value
    }

    final func setAttribute<Value>(_ key: Attribute<Value>, to value: Value?) {
        var attributes = attributes ?? [:]
        attributes[key.place] = value
        self.attributes = attributes.isEmpty ? nil : attributes
    }
}

extension StreamWriter {
    /// A fact about the stream. On the loop's thread.
    ///
    /// What was set by ``setAttribute(_:to:)`` counts first. Of stapled halves, the reader's stream
    /// comes before the writer's. Addresses stay known after the close.
    ///
    /// - Throws: ``StreamError/unavailable(_:)`` if the stream has nothing to say; `system` if the
    ///   kernel could not be asked, `closed` if no longer.
    public func attribute<Value>(_ key: Attribute<Value>) throws(StreamError) -> Value {
        preconditionOnLoop("attribute", twin: "loop.spawn { }")
        return try transport.attribute(key)
    }

    /// A fact about the stream, or `standby` where ``attribute(_:)`` throws. On the loop's thread.
    public func attribute<Value>(_ key: Attribute<Value>, default standby: Value) -> Value {
        (try? attribute(key)) ?? standby
    }

    /// Lets the stream say something else from now on, or again what it knows itself. On the
    /// loop's thread.
    ///
    /// - Parameter value: `nil` takes back what was set.
    public func setAttribute<Value>(_ key: Attribute<Value>, to value: Value?) {
        preconditionOnLoop("setAttribute", twin: "loop.spawn { }")
        transport.setAttribute(key, to: value)
    }
}

extension StreamReader {
    /// As ``StreamWriter/attribute(_:)``.
    public func attribute<Value>(_ key: Attribute<Value>) throws(StreamError) -> Value {
        preconditionOnLoop("attribute", twin: "loop.spawn { }")
        return try transport.attribute(key)
    }

    /// As ``StreamWriter/attribute(_:default:)``.
    public func attribute<Value>(_ key: Attribute<Value>, default standby: Value) -> Value {
        (try? attribute(key)) ?? standby
    }
}
