// DatagramReceiver: packets out of datagrams. Floor 3; lives on its socket's loop.

public import SluiceReactor
public import SluiceStreams

/// The receiving half of a datagram endpoint: a socket and a serializer.
///
/// A `receive` that is cancelled or times out loses nothing. One task receives at a time: a second
/// one gets ``PacketError/busy``.
// @unchecked Sendable: references, and a serializer that is a Sendable value; the socket compares
// the thread.
public final class DatagramReceiver<Received: Sendable>: @unchecked Sendable {
    /// The socket it receives from. Datagrams received here directly are missing from the packets.
    public let socket: DatagramSocket
    let serializer: SerializerBox<Received>

    /// Joins a socket and a serializer. Any thread.
    public init<S: Serializer>(_ socket: DatagramSocket, _ serializer: S)
    where S.Packet == Received {
        self.socket = socket
        self.serializer = SerializerOf(serializer)
    }

    /// The loop it lives on.
    public var loop: EventLoop { socket.loop }

    /// Receives the next datagram's packet, waiting for it if need be.
    ///
    /// - Throws: ``PacketError/malformedDatagram(from:reason:)`` for one that makes no packet, with
    ///   its sender: the next receive goes on behind it; ``PacketError/busy``;
    ///   ``PacketError/stream(_:)`` for errors of the socket, among them those of a datagram that
    ///   was too long, and of a peer that datagrams do not reach, after which it goes on, too.
    public nonisolated(nonsending) func receive() async throws(PacketError) -> Received {
        try await receiveWithSource().packet
    }

    /// The same, and who sent it.
    public nonisolated(nonsending) func receiveWithSource() async throws(PacketError)
        -> (packet: Received, source: SocketAddress)
    {
        let datagram: Datagram
        do throws(StreamError) { datagram = try await socket.receive() } catch {
            throw error == .busy ? .busy : .stream(error)
        }
        return (try serializer.packet(of: datagram), datagram.source)
    }

    /// All packets that come; continues after a `break` and after an error. One consumer.
    public var packets: DatagramPackets<Received> { DatagramPackets(receiver: self) }
}

/// The packets of a datagram receiver as an asynchronous sequence, without end; its iterators share
/// one position.
public struct DatagramPackets<Received: Sendable>: AsyncSequence, Sendable {
    let receiver: DatagramReceiver<Received>

    /// Takes packets one by one.
    public struct Iterator: AsyncIteratorProtocol {
        let receiver: DatagramReceiver<Received>

        /// The next packet, as ``DatagramReceiver/receive()``; never `nil`.
        public mutating func next() async throws(PacketError) -> Received? {
            try await receiver.receive()
        }

        /// The next packet, as ``DatagramReceiver/receive()``; never `nil`.
        public mutating func next(
            isolation: isolated (any Actor)?
        ) async throws(PacketError) -> Received? {
            try await receiver.receive()
        }
    }

    /// Begins with the next datagram.
    public func makeAsyncIterator() -> Iterator { Iterator(receiver: receiver) }
}
