// What an endpoint tells about the stream below it. Floor 3; on the stream's loop.

public import SluiceStreams

extension StreamEndpoint {
    /// A fact about the stream; what the receiving half says comes first. On the loop's thread. As
    /// ``StreamWriter/attribute(_:)``.
    public func attribute<Value>(_ key: Attribute<Value>) throws(PacketError) -> Value {
        if let value = try? reader.attribute(key) { return value }
        do throws(StreamError) { return try writer.attribute(key) } catch { throw .stream(error) }
    }

    /// A fact about the stream, or `standby` where ``attribute(_:)`` throws. On the loop's thread.
    public func attribute<Value>(_ key: Attribute<Value>, default standby: Value) -> Value {
        (try? attribute(key)) ?? standby
    }
}

extension StreamReceiver {
    /// As ``StreamWriter/attribute(_:)``. On the loop's thread.
    public func attribute<Value>(_ key: Attribute<Value>) throws(PacketError) -> Value {
        do throws(StreamError) { return try reader.attribute(key) } catch { throw .stream(error) }
    }
}

extension StreamSender {
    /// As ``StreamWriter/attribute(_:)``. On the loop's thread.
    public func attribute<Value>(_ key: Attribute<Value>) throws(PacketError) -> Value {
        do throws(StreamError) { return try writer.attribute(key) } catch { throw .stream(error) }
    }
}

extension DatagramEndpoint {
    /// A fact about the socket. On the loop's thread. As ``DatagramSocket/attribute(_:)``.
    public func attribute<Value>(_ key: Attribute<Value>) throws(PacketError) -> Value {
        do throws(StreamError) { return try socket.attribute(key) } catch { throw .stream(error) }
    }
}
