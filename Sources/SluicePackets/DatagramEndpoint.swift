// DatagramEndpoint: a datagram socket and how its packets are written. Floor 3; lives on its
// socket's loop.

public import SluiceReactor
public import SluiceStreams

/// Sends and receives packets, each in a datagram of its own, both at the same time.
///
/// Receiving is as ``DatagramReceiver`` has it, sending as ``DatagramSender``. It has no life of
/// its own: closing it closes the socket.
public final class DatagramEndpoint<Sent: Sendable, Received: Sendable>: Sendable {
    /// The receiving half.
    public let receiver: DatagramReceiver<Received>
    /// The sending half.
    public let sender: DatagramSender<Sent>

    /// Joins a socket and a serializer of both directions. Any thread.
    public convenience init<S: Serializer>(_ socket: DatagramSocket, _ serializer: S)
    where S.Packet == Sent, S.Packet == Received {
        self.init(socket, sending: serializer, receiving: serializer)
    }

    /// Joins a socket and a serializer for each direction. Any thread.
    public init<Out: Serializer, In: Serializer>(
        _ socket: DatagramSocket, sending: Out, receiving: In
    ) where Out.Packet == Sent, In.Packet == Received {
        receiver = DatagramReceiver(socket, receiving)
        sender = DatagramSender(socket, sending)
    }

    /// The loop it lives on.
    public var loop: EventLoop { receiver.loop }
    /// The socket.
    public var socket: DatagramSocket { receiver.socket }

    /// Receives the next packet. As ``DatagramReceiver/receive()``.
    public nonisolated(nonsending) func receive() async throws(PacketError) -> Received {
        try await receiver.receive()
    }

    /// Receives the next packet, and who sent it. As ``DatagramReceiver/receiveWithSource()``.
    public nonisolated(nonsending) func receiveWithSource() async throws(PacketError)
        -> (packet: Received, source: SocketAddress)
    {
        try await receiver.receiveWithSource()
    }

    /// All packets that come. One consumer.
    public var packets: DatagramPackets<Received> { receiver.packets }

    /// Sends a packet. As ``DatagramSender/send(_:to:)``.
    public nonisolated(nonsending) func send(
        _ packet: Sent, to address: SocketAddress? = nil
    ) async throws(PacketError) {
        try await sender.send(packet, to: address)
    }

    /// Queues a packet. On the loop's thread. As ``DatagramSender/write(_:to:)``.
    public func write(_ packet: Sent, to address: SocketAddress? = nil) throws(PacketError) {
        try sender.write(packet, to: address)
    }

    /// Closes the socket. As ``DatagramSocket/close()``.
    public nonisolated(nonsending) func close() async {
        await socket.close()
    }
}
