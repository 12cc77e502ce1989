// StreamSender: packets into a stream. Floor 3; lives on its stream's loop.

public import SluiceReactor
public import SluiceStreams

/// The sending half of an endpoint: a writer and an encoder.
///
/// Any number of tasks may send: packets leave whole, in the order of the calls, those of one turn
/// in one system call. A packet that cannot be encoded leaves nothing behind.
// @unchecked Sendable: references and an encoder that is called on the writer's loop alone; every
// entry compares the thread.
public final class StreamSender<Sent: Sendable>: @unchecked Sendable {
    /// The stream it writes to. What is written here directly stands between two packets.
    public let writer: StreamWriter
    @usableFromInline let writePacket: (Sent, StreamWriter) throws(PacketError) -> Void

    /// Joins a writer and an encoder. Any thread.
    @inlinable
    public init<E: PacketEncoder<Sent>>(_ writer: StreamWriter, _ encoder: E) {
        self.writer = writer
        let box = EncoderBox(encoder)
        writePacket = { packet, writer throws(PacketError) in try box.write(packet, to: writer) }
    }

    /// The loop it lives on.
    public var loop: EventLoop { writer.loop }

    /// Queues a packet, which leaves at the end of the turn. On the loop's thread; from elsewhere
    /// use ``send(_:)``.
    ///
    /// - Throws: ``PacketError/unencodable(_:)`` and the writer's errors as
    ///   ``PacketError/stream(_:)``; nothing is queued then.
    public func write(_ packet: Sent) throws(PacketError) {
        try writePacket(packet, writer)
    }

    /// Queues a packet and waits while more is queued than the high mark allows.
    ///
    /// - Throws: as `write` and ``StreamWriter/drain()``. If it throws
    ///   ``StreamError/cancelled`` or ``StreamError/timedOut``, the packet is queued whole; a task
    ///   cancelled before it comes here queues nothing when it has to hop.
    @inlinable
    public nonisolated(nonsending) func send(_ packet: Sent) async throws(PacketError) {
        if try sendAtOnce(packet) { return }
        try await sendSlowly(packet)
    }

    /// On the loop: queues, and tells whether that was all. Off the loop nothing happens.
    @inlinable
    func sendAtOnce(_ packet: Sent) throws(PacketError) -> Bool {
        guard writer.isOnLoop else { return false }
        try writePacket(packet, writer)
        return writer.needNotDrain()
    }

    /// What is left of a send: the drain; off the loop all of it.
    @usableFromInline
    nonisolated(nonsending) func sendSlowly(_ packet: Sent) async throws(PacketError) {
        if writer.isOnLoop { return try await drain() }
        try await sendFromElsewhere(packet)
    }

    /// Waits until little enough is queued; as ``StreamWriter/drain()``.
    public nonisolated(nonsending) func drain() async throws(PacketError) {
        do throws(StreamError) { try await writer.drain() } catch { throw .stream(error) }
    }

    @inline(never)
    private nonisolated(nonsending) func sendFromElsewhere(
        _ packet: Sent
    ) async throws(PacketError) {
        let result: Result<Void, PacketError> = await loop.hop {
            do throws(PacketError) { return .success(try await self.send(packet)) } catch {
                return .failure(error)
            }
        }
        try result.get()
    }

    /// Whether this side has begun to close the stream. On the loop's thread.
    public var isClosing: Bool { writer.isClosing }

    /// Closes the stream, the receiving half too if it has one, behind what was sent. When the
    /// calling task is cancelled, what is not closed yet is aborted.
    public nonisolated(nonsending) func close(within: Duration? = nil) async {
        await writer.close(within: within)
        if Task.isCancelled { await abort() }
    }

    /// Ends the stream now; as ``StreamWriter/abort()``.
    public nonisolated(nonsending) func abort() async { await writer.abort() }

    /// Says the end to the peer behind what was sent; idempotent, and nothing happens after close.
    /// As ``StreamWriter/finishWriting()``, from anywhere.
    public nonisolated(nonsending) func sendEOF() async throws(PacketError) {
        let result: Result<Void, PacketError> = await loop.hop {
            if self.writer.isClosing { return .success(()) }
            do throws(StreamError) { return .success(try self.writer.finishWriting()) } catch {
                return .failure(.stream(error))
            }
        }
        try result.get()
    }
}
