// Packets in datagrams with descriptors and credentials beside them, over Unix sockets. Floor 3;
// lives on its socket's loop.

public import SluiceReactor
public import SluiceStreams

/// A packet, who sent its datagram, and what came beside it.
public struct ReceivedDatagramPacket<Packet: Sendable>: ~Copyable, Sendable {
    /// The packet.
    public let packet: Packet
    /// Who sent it.
    public let source: SocketAddress
    /// Empty if nothing came with it. What is not taken out of it is closed with it.
    public var ancillary: ReceivedAncillary
}

extension DatagramReceiver {
    /// Receives the next packet and the descriptors and credentials that came with its datagram.
    ///
    /// The socket has been opened with ``DatagramOptions/ancillaryCapacity``.
    ///
    /// - Throws: as ``receive()``: a datagram that makes no packet takes its descriptors along; as
    ///   ``PacketError/stream(_:)`` what ``DatagramSocket/receiveWithAncillary()`` throws.
    public nonisolated(nonsending) func receiveWithAncillary() async throws(PacketError)
        -> ReceivedDatagramPacket<Received>
    {
        let arrival: Arrival
        do throws(StreamError) { arrival = try await socket.receiveCollecting() } catch {
            throw error == .busy ? .busy : .stream(error)
        }
        return ReceivedDatagramPacket(
            packet: try serializer.packet(of: arrival.datagram), source: arrival.datagram.source,
            ancillary: ReceivedAncillary(arrival.ancillary ?? ArrivedAncillary()))
    }
}

extension DatagramSender {
    /// Queues a packet's datagram, and descriptors or credentials that leave with it. On the loop's
    /// thread; from elsewhere use ``send(_:to:ancillary:)``.
    ///
    /// - Throws: ``PacketError/unencodable(_:)``, and the errors of
    ///   ``DatagramSocket/write(_:to:ancillary:)`` as ``PacketError/stream(_:)``; nothing is queued
    ///   then.
    public func write(
        _ packet: Sent, to address: SocketAddress? = nil, ancillary: Ancillary
    ) throws(PacketError) {
        precondition(loop.isCurrent, "DatagramSender.write off its loop; from elsewhere await send")
        let bytes = try serializer.bytes(of: packet, on: loop)
        do throws(StreamError) {
            try socket.write(bytes, to: address, ancillary: ancillary)
        } catch { throw .stream(error) }
    }

    /// `write(_:to:ancillary:)`, and waits while too much is queued.
    ///
    /// - Throws: as `write`; ``StreamError/cancelled`` and ``StreamError/timedOut`` while it waits:
    ///   the datagram is queued then.
    public nonisolated(nonsending) func send(
        _ packet: Sent, to address: SocketAddress? = nil, ancillary: Ancillary
    ) async throws(PacketError) {
        guard loop.isCurrent else {
            let result: Result<Void, PacketError> = await loop.hop {
                do throws(PacketError) {
                    return .success(
                        try await self.send(packet, to: address, ancillary: ancillary))
                } catch { return .failure(error) }
            }
            return try result.get()
        }
        let bytes = try serializer.bytes(of: packet, on: loop)
        do throws(StreamError) {
            try await socket.send(bytes, to: address, ancillary: ancillary)
        } catch { throw .stream(error) }
    }
}

extension DatagramEndpoint {
    /// Receives the next packet and what came beside its datagram. As
    /// ``DatagramReceiver/receiveWithAncillary()``.
    public nonisolated(nonsending) func receiveWithAncillary() async throws(PacketError)
        -> ReceivedDatagramPacket<Received>
    {
        try await receiver.receiveWithAncillary()
    }

    /// Sends a packet with descriptors or credentials. As
    /// ``DatagramSender/send(_:to:ancillary:)``.
    public nonisolated(nonsending) func send(
        _ packet: Sent, to address: SocketAddress? = nil, ancillary: Ancillary
    ) async throws(PacketError) {
        try await sender.send(packet, to: address, ancillary: ancillary)
    }

    /// Queues a packet with descriptors or credentials. On the loop's thread. As
    /// ``DatagramSender/write(_:to:ancillary:)``.
    public func write(
        _ packet: Sent, to address: SocketAddress? = nil, ancillary: Ancillary
    ) throws(PacketError) {
        try sender.write(packet, to: address, ancillary: ancillary)
    }
}

extension DatagramConversation {
    /// Receives the peer's next packet and the descriptors and credentials that came with its
    /// datagram; `nil` when the conversation is over.
    ///
    /// The server has been started with ``DatagramOptions/ancillaryCapacity`` in its `socket`.
    /// Those that wait are open meanwhile; what no handler receives is closed.
    ///
    /// - Throws: as ``receive()``; ``StreamError/unsupported(_:)`` without that option.
    public nonisolated(nonsending) func receiveWithAncillary() async throws(PacketError)
        -> ReceivedPacket<Received>?
    {
        do throws(StreamError) { try sender.socket.transport.checkCollecting() } catch {
            throw .stream(error)
        }
        guard let received = try await receivePacket() else { return nil }
        return ReceivedPacket(
            packet: received.packet,
            ancillary: ReceivedAncillary(received.ancillary ?? ArrivedAncillary()))
    }

    /// Sends the peer a packet with descriptors or credentials. As
    /// ``DatagramSender/send(_:to:ancillary:)``.
    public nonisolated(nonsending) func send(
        _ packet: Sent, ancillary: Ancillary
    ) async throws(PacketError) {
        try await sender.send(packet, to: peer, ancillary: ancillary)
    }

    /// Queues a packet with descriptors or credentials. On the loop's thread. As
    /// ``DatagramSender/write(_:to:ancillary:)``.
    public func write(_ packet: Sent, ancillary: Ancillary) throws(PacketError) {
        try sender.write(packet, to: peer, ancillary: ancillary)
    }
}
