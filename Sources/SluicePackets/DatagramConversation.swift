// DatagramConversation: what a handler of a datagram server holds: the datagrams of one peer. Floor
// 3; lives on its server's loop.

public import SluiceReactor
internal import SluiceStreams

/// One peer of a datagram server: reads like a stream's endpoint, in the order of arrival.
///
/// It is over when its handler returns. What has come by then begins a new one.
// @unchecked Sendable: references to a box that is touched on the loop's thread alone; every entry
// compares the thread.
public final class DatagramConversation<Sent: Sendable, Received: Sendable>: @unchecked Sendable {
    let inbox: PeerInbox<Received>
    let receiving: SerializerBox<Received>
    let sender: DatagramSender<Sent>

    init(
        _ inbox: PeerInbox<Received>, _ receiving: SerializerBox<Received>,
        _ sender: DatagramSender<Sent>
    ) {
        self.inbox = inbox
        self.receiving = receiving
        self.sender = sender
    }

    /// The loop it lives on.
    public var loop: EventLoop { inbox.loop }
    /// Who it is with.
    public var peer: SocketAddress { inbox.peer }
    /// The server's own address.
    public var localAddress: SocketAddress { sender.socket.localAddress }

    /// Receives the peer's next packet, waiting for it if need be. What came beside its datagram is
    /// closed: ``receiveWithAncillary()`` gives it.
    ///
    /// - Returns: the packet; `nil` when the conversation is over: the server shuts down and
    ///   everything that came was received, a new peer needed the place, or the handler has
    ///   returned.
    /// - Throws: ``PacketError/malformedDatagram(from:reason:)`` for one that makes no packet;
    ///   ``PacketError/busy``; ``PacketError/stream(_:)`` with ``StreamError/cancelled``,
    ///   ``StreamError/timedOut``, or ``StreamError/peerFailed(_:errno:)`` for a datagram to this
    ///   peer that did not arrive. The next receive goes on behind any of them.
    public nonisolated(nonsending) func receive() async throws(PacketError) -> Received? {
        try await receivePacket()?.packet
    }

    nonisolated(nonsending) func receivePacket() async throws(PacketError) -> PeerPacket<Received>?
    {
        guard loop.isHome(#isolation) else {
            let result: Result<PeerPacket<Received>?, PacketError> = await loop.hop {
                do throws(PacketError) { return .success(try await self.receivePacket()) } catch {
                    return .failure(error)
                }
            }
            return try result.get()
        }
        return try await inbox.receive(receiving)
    }

    /// All packets up to the end; continues after a `break`. One consumer.
    public var packets: ConversationPackets<Sent, Received> {
        ConversationPackets(conversation: self)
    }

    /// Sends the peer a packet. As ``DatagramSender/send(_:to:)``.
    public nonisolated(nonsending) func send(_ packet: Sent) async throws(PacketError) {
        try await sender.send(packet, to: peer)
    }

    /// Queues a packet for the peer. On the loop's thread. As ``DatagramSender/write(_:to:)``.
    public func write(_ packet: Sent) throws(PacketError) {
        try sender.write(packet, to: peer)
    }
}

/// The packets of a conversation as an asynchronous sequence; its iterators share one position.
public struct ConversationPackets<Sent: Sendable, Received: Sendable>: AsyncSequence, Sendable {
    let conversation: DatagramConversation<Sent, Received>

    /// Takes packets one by one.
    public struct Iterator: AsyncIteratorProtocol {
        let conversation: DatagramConversation<Sent, Received>

        /// The next packet, as ``DatagramConversation/receive()``.
        public mutating func next() async throws(PacketError) -> Received? {
            try await conversation.receive()
        }

        /// The next packet, as ``DatagramConversation/receive()``.
        public mutating func next(
            isolation: isolated (any Actor)?
        ) async throws(PacketError) -> Received? {
            try await conversation.receive()
        }
    }

    /// Begins where the last one stopped.
    public func makeAsyncIterator() -> Iterator { Iterator(conversation: conversation) }
}
