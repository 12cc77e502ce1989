// StreamEndpoint: a stream and a codec. Floor 3; lives on its stream's loop.

public import SluiceReactor
public import SluiceStreams

/// Sends and receives the packets of one stream, both at the same time.
///
/// Receiving is as ``StreamReceiver`` has it, sending as ``StreamSender``. It has no life of its
/// own: closing it closes the stream, and a server's handler that returns has its stream closed
/// like any other.
public final class StreamEndpoint<Sent: Sendable, Received: Sendable>: Sendable {
    /// The receiving half.
    public let receiver: StreamReceiver<Received>
    /// The sending half.
    public let sender: StreamSender<Sent>

    /// Joins a stream and a codec, of which each direction gets a copy. Any thread.
    @inlinable
    public init<C: Codec>(
        _ reader: StreamReader, _ writer: StreamWriter, _ codec: C
    ) where C.Sent == Sent, C.Received == Received {
        receiver = StreamReceiver(reader, codec)
        sender = StreamSender(writer, codec)
    }

    /// The loop it lives on.
    public var loop: EventLoop { receiver.loop }
    /// The stream's receiving half.
    public var reader: StreamReader { receiver.reader }
    /// The stream's sending half.
    public var writer: StreamWriter { sender.writer }

    /// Receives the next packet; `nil` at the end. As ``StreamReceiver/receive()``.
    @inlinable
    public nonisolated(nonsending) func receive() async throws(PacketError) -> Received? {
        try await receiver.receive()
    }

    /// All packets up to the end; continues after a `break`. One consumer.
    public var packets: ReceivedPackets<Received> { receiver.packets }

    /// Queues a packet and waits while too much is queued. As ``StreamSender/send(_:)``.
    @inlinable
    public nonisolated(nonsending) func send(_ packet: Sent) async throws(PacketError) {
        try await sender.send(packet)
    }

    /// Queues a packet. On the loop's thread. As ``StreamSender/write(_:)``.
    public func write(_ packet: Sent) throws(PacketError) {
        try sender.write(packet)
    }

    /// Says the end to the peer; receiving goes on. As ``StreamSender/sendEOF()``.
    public nonisolated(nonsending) func sendEOF() async throws(PacketError) {
        try await sender.sendEOF()
    }

    /// Whether this side has begun to close. On the loop's thread.
    public var isClosing: Bool { writer.isClosing }

    /// Closes in order, with what was sent before. As ``StreamWriter/close(within:)``, but when the
    /// calling task is cancelled, what is not closed yet is aborted.
    public nonisolated(nonsending) func close(within: Duration? = nil) async {
        await sender.close(within: within)
    }

    /// Ends it now; as ``StreamWriter/abort()``.
    public nonisolated(nonsending) func abort() async {
        await writer.abort()
    }
}
