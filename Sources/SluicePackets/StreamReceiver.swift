// StreamReceiver: packets out of a stream. Floor 3; lives on its stream's loop.

public import SluiceReactor
public import SluiceStreams

/// The receiving half of an endpoint: a reader and a decoder.
///
/// Packets that came before the end, or before an error of the stream, are delivered before it. A
/// `receive` that is cancelled or times out has consumed nothing, so the packet comes from the next
/// one. One task receives at a time: a second one gets ``PacketError/busy``, and so does a receive
/// while somebody reads from ``reader`` itself.
// @unchecked Sendable: references and a decoder that is called on the reader's loop alone; every
// entry compares the thread.
public final class StreamReceiver<Received: Sendable>: @unchecked Sendable {
    /// The stream it reads from. Bytes read here directly are missing from the packets: between two
    /// packets this takes what lies between them. While one is unfinished, after a receive that was
    /// given up, the decoder has looked at its beginning already, and would lose its place.
    public let reader: StreamReader
    @usableFromInline let nextPacket: (StreamReader) throws(PacketError) -> Received?
    @usableFromInline let attempt: (StreamReader, (any Error)?) -> StreamReader.Filling
    @usableFromInline let takeOutcome: () throws(PacketError) -> Received?
    /// What few receives need is put together for those.
    @usableFromInline let passing: () -> PassingDecoder<Received>

    /// Joins a reader and a decoder. Any thread.
    ///
    /// - Parameters:
    ///   - reader: nobody else should read from it afterwards.
    ///   - decoder: a value of its own.
    @inlinable
    public init<D: PacketDecoder<Received>>(_ reader: StreamReader, _ decoder: D) {
        self.reader = reader
        let box = DecoderBox(decoder)
        nextPacket = { reader throws(PacketError) in try box.next(from: reader) }
        attempt = { reader, failure in box.attempt(reader, after: failure) }
        takeOutcome = { () throws(PacketError) in try box.takeOutcome() }
        passing = { PassingDecoder(box) }
    }

    /// The loop it lives on.
    public var loop: EventLoop { reader.loop }

    /// Bytes asked for by one receive of the kernel at most; no limit of a packet. From a task of
    /// the loop.
    ///
    /// - Parameter maxReceiveSize: 1 or more.
    /// - Throws: ``StreamError/invalidOption(name:rule:)`` as ``PacketError/stream(_:)``.
    public func setMaxReceiveSize(_ maxReceiveSize: Int) throws(PacketError) {
        guard maxReceiveSize > 0 else {
            throw .stream(.invalidOption(name: "maxReceiveSize", rule: "1 or more bytes"))
        }
        reader.limitReceives(to: maxReceiveSize)
    }

    /// Receives the next packet, waiting for it if need be.
    ///
    /// - Returns: the packet; `nil` when the stream has ended between two packets.
    /// - Throws: ``PacketError/malformed(_:)`` and ``PacketError/limitExceeded(limit:)`` for a unit
    ///   that was passed over: the next receive goes on behind it, unless the codec cannot
    ///   (``PacketError/desynchronized``);
    ///   ``PacketError/truncated(received:)`` once when the stream ended inside a packet;
    ///   ``PacketError/busy``; ``PacketError/stream(_:)`` for errors of the stream.
    @inlinable
    public nonisolated(nonsending) func receive() async throws(PacketError) -> Received? {
        if let packet = try nextBuffered() { return packet }
        // What waits is not generic, so that the task of an idle endpoint stays small.
        guard reader.isHome(#isolation) else { return try await receiveFromElsewhere() }
        await reader.decode(attempt)
        return try takeOutcome()
    }

    /// Another packet, if one is buffered whole and it is this task's turn.
    @inlinable
    func nextBuffered() throws(PacketError) -> Received? {
        reader.mayDecodeBuffered() ? try nextPacket(reader) : nil
    }

    /// The wait of a receive, from a task of the loop: what it comes to is for `takeOutcome`.
    @inlinable
    nonisolated(nonsending) func waitForOutcome() async { await reader.decode(attempt) }

    /// All packets up to the end; continues after a `break`. One consumer.
    @inlinable
    public var packets: ReceivedPackets<Received> { ReceivedPackets(receiver: self) }

    /// Whether this side has begun to close the stream. On the loop's thread.
    public var isClosing: Bool { reader.isStreamClosing }

    /// Closes the stream, the sending half too if it has one, in order. What was received and not
    /// taken is dropped. When the calling task is cancelled, what is not closed yet is aborted.
    public nonisolated(nonsending) func close(within: Duration? = nil) async {
        await reader.closeStream(within: within)
        if Task.isCancelled { await abort() }
    }

    /// Ends the stream now; as ``StreamWriter/abort()``.
    public nonisolated(nonsending) func abort() async { await reader.abortStream() }

    /// Out of line: what it needs would widen the frame of the one that waits.
    @usableFromInline
    @inline(never)
    nonisolated(nonsending) func receiveFromElsewhere() async throws(PacketError) -> Received? {
        try await reader.onLoop { () throws(PacketError) in try await self.receive() }
    }
}

extension PacketError {
    /// A stream's error as a receive tells it.
    @usableFromInline
    @inline(never)
    init(ofReceive error: any Error) {
        switch error as? StreamError {
        case .busy?: self = .busy
        case let error?: self = .stream(error)
        case nil: preconditionFailure("streams throw nothing else: \(error)")
        }
    }
}

/// The packets of a receiver as an asynchronous sequence; its iterators share one position.
public struct ReceivedPackets<Received: Sendable>: AsyncSequence, Sendable {
    @usableFromInline let receiver: StreamReceiver<Received>

    @usableFromInline
    init(receiver: StreamReceiver<Received>) {
        self.receiver = receiver
    }

    /// Takes packets one by one.
    public struct Iterator: AsyncIteratorProtocol {
        @usableFromInline let receiver: StreamReceiver<Received>

        @usableFromInline
        init(receiver: StreamReceiver<Received>) {
            self.receiver = receiver
        }

        /// The next packet, as ``StreamReceiver/receive()``.
        @inlinable
        public mutating func next() async throws(PacketError) -> Received? {
            try await receiver.receive()
        }

        /// The next packet, as ``StreamReceiver/receive()``.
        @inlinable
        public mutating func next(
            isolation: isolated (any Actor)?
        ) async throws(PacketError) -> Received? {
            try await receiver.receive()
        }
    }

    /// Begins where the last one stopped.
    @inlinable
    public func makeAsyncIterator() -> Iterator { Iterator(receiver: receiver) }
}
