// How datagrams become packets and back: one packet per datagram, so any serializer serves. Floor
// 3; on the socket's loop.

internal import SluiceReactor
internal import SluiceStreams

/// Hides a serializer's type: one virtual call for each packet.
@usableFromInline
class SerializerBox<Packet: Sendable> {
    @usableFromInline init() {}

    @usableFromInline
    func deserialize(_ bytes: RawSpan) throws(PacketError) -> Packet {
        throw .malformed("no serializer")
    }

    @usableFromInline
    func serialize(_ packet: Packet, into output: inout PacketOutput) throws(PacketError) {}
}

@usableFromInline
final class SerializerOf<S: Serializer>: SerializerBox<S.Packet> {
    @usableFromInline let serializer: S

    @inlinable
    init(_ serializer: S) {
        self.serializer = serializer
        super.init()
    }

    @inlinable
    override func deserialize(_ bytes: RawSpan) throws(PacketError) -> S.Packet {
        try serializer.deserialize(bytes)
    }

    @inlinable
    override func serialize(
        _ packet: S.Packet, into output: inout PacketOutput
    ) throws(PacketError) {
        try serializer.serialize(packet, into: &output)
    }
}

extension SerializerBox {
    /// A datagram's packet.
    func packet(of datagram: Datagram) throws(PacketError) -> Packet {
        do throws(PacketError) {
            return try deserialize(datagram.bytes.span.bytes)
        } catch {
            let reason = if case .malformed(let reason) = error { reason } else { "\(error)" }
            throw .malformedDatagram(from: datagram.source, reason: reason)
        }
    }

    /// A packet's bytes. On the loop's thread.
    func bytes(of packet: Packet, on loop: EventLoop) throws(PacketError) -> [UInt8] {
        var queue = OutputQueue()
        return try withUnsafeMutablePointer(to: &queue) { queue throws(PacketError) in
            try withUnsafeMutablePointer(to: &loop.state.pointee.blocks) {
                pool throws(PacketError) in
                defer { queue.pointee.removeAll(to: &pool.pointee) }
                var output = PacketOutput(queue: queue, pool: pool)
                try serialize(packet, into: &output)
                return output.bytes(from: 0)
            }
        }
    }
}
