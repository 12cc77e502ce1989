// DatagramSender: packets into datagrams. Floor 3; lives on its socket's loop.

public import SluiceReactor
public import SluiceStreams

/// The sending half of a datagram endpoint: a socket and a serializer.
///
/// Any number of tasks may send. A packet that cannot be encoded, or makes a datagram that is too
/// long, sends nothing.
// @unchecked Sendable: references, and a serializer that is a Sendable value; the socket compares
// the thread.
public final class DatagramSender<Sent: Sendable>: @unchecked Sendable {
    /// The socket it sends on.
    public let socket: DatagramSocket
    let serializer: SerializerBox<Sent>

    /// Joins a socket and a serializer. Any thread.
    public init<S: Serializer>(_ socket: DatagramSocket, _ serializer: S) where S.Packet == Sent {
        self.socket = socket
        self.serializer = SerializerOf(serializer)
    }

    /// The loop it lives on.
    public var loop: EventLoop { socket.loop }

    /// Queues a packet's datagram, which leaves at the end of the turn. On the loop's thread; from
    /// elsewhere use ``send(_:to:)``.
    ///
    /// - Parameters:
    ///   - packet: what to send.
    ///   - address: where to; `nil` on a connected socket: to its peer.
    /// - Throws: ``PacketError/unencodable(_:)``, and the errors of ``DatagramSocket/write(_:to:)``
    ///   as ``PacketError/stream(_:)``; nothing is queued then.
    public func write(_ packet: Sent, to address: SocketAddress? = nil) throws(PacketError) {
        precondition(loop.isCurrent, "DatagramSender.write off its loop; from elsewhere await send")
        let bytes = try serializer.bytes(of: packet, on: loop)
        do throws(StreamError) { try socket.write(bytes, to: address) } catch {
            throw .stream(error)
        }
    }

    /// Queues a packet's datagram and waits while too much is queued.
    ///
    /// - Throws: as `write`; ``StreamError/cancelled`` and ``StreamError/timedOut`` while it waits:
    ///   the datagram is queued then.
    public nonisolated(nonsending) func send(
        _ packet: Sent, to address: SocketAddress? = nil
    ) async throws(PacketError) {
        guard loop.isCurrent else { return try await sendFromElsewhere(packet, address) }
        let bytes = try serializer.bytes(of: packet, on: loop)
        do throws(StreamError) { try await socket.send(bytes, to: address) } catch {
            throw .stream(error)
        }
    }

    private nonisolated(nonsending) func sendFromElsewhere(
        _ packet: Sent, _ address: SocketAddress?
    ) async throws(PacketError) {
        let result: Result<Void, PacketError> = await loop.hop {
            do throws(PacketError) {
                return .success(try await self.send(packet, to: address))
            } catch { return .failure(error) }
        }
        try result.get()
    }
}
