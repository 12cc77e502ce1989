// DatagramSocket: what users hold of a datagram socket. Floor 2; lives on its transport's loop.

public import SluiceReactor

/// A UDP socket or a Unix datagram socket, made by `bindDatagramSocket` or `connectDatagramSocket`.
///
/// Belongs to one event loop. Async calls made elsewhere hop to it; the sync ones must be made on
/// it. One task receives at a time: a second one gets ``StreamError/busy``. Any number of tasks may
/// send. What is sent in a turn leaves at its end, up to 64 datagrams in a system call; what comes
/// is taken from the kernel as many at a time. udp(7), unix(7).
///
/// A datagram that was sent may be lost, doubled or overtaken, and nobody says so. What ICMP says
/// of a peer, or the kernel, is thrown as ``StreamError/peerFailed(_:errno:)``: on a connected
/// socket by the next call, on another one by the next receive, or the next send to that peer. The
/// socket lives on. After `close` every call throws ``StreamError/closed``.
// @unchecked Sendable: an immutable reference to a transport, whose state is touched on its loop
// alone; every entry compares the thread.
public final class DatagramSocket: @unchecked Sendable {
    package let transport: DatagramTransport

    init(_ transport: DatagramTransport) {
        self.transport = transport
    }

    deinit {
        let transport = self.transport
        if transport.loop.isCurrent { return transport.close(.closed) }
        transport.loop.postAlways { transport.close(.closed) }
    }

    /// The loop it lives on.
    public var loop: EventLoop { transport.loop }
    /// Its own address; stays after close.
    public var localAddress: SocketAddress { transport.local }
    /// The peer it is connected to; stays after close.
    public var remoteAddress: SocketAddress? { transport.remote }
    /// Bytes of the longest datagram that can be sent: 65,507 over IPv4, 65,527 over IPv6; for Unix
    /// what the send buffer leaves.
    public var sizeMax: Int { transport.sizeMax }

    // MARK: Receiving

    /// Receives the next datagram, waiting for it if need be; an empty one is one, too. What came
    /// beside it is closed: ``receiveWithAncillary()`` gives it.
    ///
    /// - Throws: ``StreamError/datagramTruncated(size:limit:source:)`` for one that was too long;
    ///   ``StreamError/ancillaryTruncated`` for one with more descriptors than the options allow;
    ///   ``StreamError/peerFailed(_:errno:)`` for a datagram that did not arrive;
    ///   ``StreamError/cancelled`` and ``StreamError/timedOut``, which lose nothing: what comes
    ///   meanwhile is there for the next receive; ``StreamError/busy``; ``StreamError/closed``.
    public nonisolated(nonsending) func receive() async throws(StreamError) -> Datagram {
        // Twice, since most datagrams are there already: one call less for each of them.
        if let arrival = transport.nextWithoutWait() { return arrival.datagram }
        return try await receiveArrival().datagram
    }

    /// The same, with what came beside it, if the socket asked for that.
    package nonisolated(nonsending) func receiveArrival() async throws(StreamError) -> Arrival {
        if let arrival = transport.nextWithoutWait() { return arrival }
        guard loop.isHome(#isolation) else {
            return try await hop { socket throws(StreamError) in
                try await socket.transport.receive()
            }
        }
        return try await transport.receive()
    }

    // MARK: Sending

    /// Queues a datagram, which leaves at the end of the turn. On the loop's thread; from elsewhere
    /// use ``send(_:to:)``.
    ///
    /// - Parameters:
    ///   - bytes: may be empty, which sends an empty datagram.
    ///   - address: where to; `nil` on a connected socket: to its peer.
    /// - Throws: ``StreamError/datagramTooLarge(size:limit:)``;
    ///   ``StreamError/outputFull(queued:)`` over the hard cap;
    ///   ``StreamError/peerFailed(_:errno:)`` for an earlier one;
    ///   ``StreamError/invalidOption(name:rule:)`` for an address that cannot be sent to;
    ///   ``StreamError/closed``. Nothing is queued then.
    public func write(_ bytes: [UInt8], to address: SocketAddress? = nil) throws(StreamError) {
        preconditionOnLoop("write", twin: "send")
        try transport.enqueue(bytes, to: address)
    }

    /// Queues a datagram and waits while more is queued than the high mark allows.
    ///
    /// - Throws: as `write`; ``StreamError/cancelled`` or ``StreamError/timedOut`` while it waits:
    ///   the datagram is queued then.
    public nonisolated(nonsending) func send(
        _ bytes: [UInt8], to address: SocketAddress? = nil
    ) async throws(StreamError) {
        if loop.isCurrent {
            try transport.enqueue(bytes, to: address)
            if transport.needNotWait(address) { return }
            return try await drain(address)
        }
        try await hop { socket throws(StreamError) in try await socket.send(bytes, to: address) }
    }

    nonisolated(nonsending) func drain(_ address: SocketAddress?) async throws(StreamError) {
        guard loop.isHome(#isolation) else {
            return try await hop { socket throws(StreamError) in try await socket.drain(address) }
        }
        try await transport.drain(address)
    }

    /// Waits until the kernel has everything that was queued before this call, or refused it.
    public nonisolated(nonsending) func flush() async throws(StreamError) {
        guard loop.isHome(#isolation) else {
            return try await hop { socket throws(StreamError) in try await socket.flush() }
        }
        try await transport.flush()
    }

    // MARK: The end

    /// Whether it has been closed. On the loop's thread.
    public var isClosed: Bool {
        preconditionOnLoop("isClosed", twin: "waitClosed")
        return !transport.state.pointee.isOpen
    }

    /// Closes it: what the kernel takes at once still leaves, the rest is dropped (``flush()``
    /// waits for it), and so is what was not received. Whoever waits gets ``StreamError/closed``.
    /// Idempotent, from any task. A Unix path is removed if it is still ours.
    public nonisolated(nonsending) func close() async {
        if loop.isCurrent { return transport.close(.closed) }
        await loop.hop { self.transport.close(.closed) }
    }

    /// The sync twin of ``close()``, on the loop's thread.
    public func closeNow() {
        preconditionOnLoop("closeNow", twin: "close")
        transport.close(.closed)
    }

    /// Waits until it has been closed, whoever does it.
    ///
    /// - Throws: ``StreamError/cancelled`` or ``StreamError/timedOut`` for this task alone.
    public nonisolated(nonsending) func waitClosed() async throws(StreamError) {
        guard loop.isHome(#isolation) else {
            return try await hop { socket throws(StreamError) in try await socket.waitClosed() }
        }
        try await transport.waitClosed()
    }

    /// Counts since it was opened.
    public nonisolated(nonsending) func statistics() async -> DatagramStatistics {
        if loop.isCurrent { return transport.statistics() }
        return await loop.hop { self.transport.statistics() }
    }

    // MARK: Parts

    func preconditionOnLoop(_ name: String, twin: String) {
        if !loop.isCurrent {
            stopProgram(
                "DatagramSocket.\(name) was called off its loop; from elsewhere await \(twin)")
        }
    }

    /// The same call made on the loop.
    nonisolated(nonsending) func hop<R: Sendable>(
        _ body: @escaping @Sendable (DatagramSocket) async throws(StreamError) -> R
    ) async throws(StreamError) -> R {
        let result: Result<R, StreamError> = await loop.hop {
            do throws(StreamError) { return .success(try await body(self)) } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }
}

extension DatagramSocket: CustomStringConvertible {
    /// For example `DatagramSocket(127.0.0.1:5300)`, or with its peer behind an arrow.
    public var description: String {
        "DatagramSocket(\(localAddress)\(remoteAddress.map { " -> \($0)" } ?? ""))"
    }
}

/// The datagrams of a socket as an asynchronous sequence, without end; it throws what ``receive()``
/// throws, and may be iterated again then.
public struct ReceivedDatagrams: AsyncSequence, Sendable {
    let socket: DatagramSocket

    /// Takes datagrams one by one.
    public struct Iterator: AsyncIteratorProtocol {
        let socket: DatagramSocket

        /// The next datagram, as ``DatagramSocket/receive()``; never `nil`.
        public mutating func next() async throws(StreamError) -> Datagram? {
            try await socket.receive()
        }

        /// The next datagram, as ``DatagramSocket/receive()``; never `nil`.
        public mutating func next(
            isolation: isolated (any Actor)?
        ) async throws(StreamError) -> Datagram? {
            try await socket.receive()
        }
    }

    /// Begins with the next datagram.
    public func makeAsyncIterator() -> Iterator { Iterator(socket: socket) }
}

extension DatagramSocket {
    /// All datagrams that come; continues after a `break`. One consumer.
    public var datagrams: ReceivedDatagrams { ReceivedDatagrams(socket: self) }
}
