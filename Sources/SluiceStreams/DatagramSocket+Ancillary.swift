// Descriptors and credentials beside the datagrams of Unix sockets. Floor 2; on the socket's loop.

public import SluiceReactor

/// A datagram and what came beside it.
public struct ReceivedDatagram: ~Copyable, Sendable {
    /// Its bytes and who sent it.
    public let datagram: Datagram
    /// Empty if nothing came with it. What is not taken out of it is closed with it.
    public var ancillary: ReceivedAncillary
}

extension DatagramSocket {
    /// Receives the next datagram and the descriptors and credentials that came with it.
    ///
    /// The socket has been opened with ``DatagramOptions/ancillaryCapacity``. Descriptors of
    /// datagrams that wait for a receive are open meanwhile; they are closed when a full queue
    /// drops their datagram, when a plain ``receive()`` gets it, and with the socket. recvmmsg(2),
    /// unix(7).
    ///
    /// - Throws: as ``receive()``; ``StreamError/ancillaryTruncated`` for a datagram with more
    ///   descriptors than the capacity, or than this process has room for: it is lost with all of
    ///   them, the next receive goes on behind it; ``StreamError/unsupported(_:)`` without that
    ///   option, and on a UDP socket.
    public nonisolated(nonsending) func receiveWithAncillary() async throws(StreamError)
        -> ReceivedDatagram
    {
        let arrival = try await receiveCollecting()
        return ReceivedDatagram(
            datagram: arrival.datagram,
            ancillary: ReceivedAncillary(arrival.ancillary ?? ArrivedAncillary()))
    }

    /// The same as a value that may be copied on its way.
    package nonisolated(nonsending) func receiveCollecting() async throws(StreamError) -> Arrival {
        try transport.checkCollecting()
        return try await receiveArrival()
    }

    /// Queues a datagram, and descriptors or credentials that leave with it. On the loop's thread;
    /// from elsewhere use ``send(_:to:ancillary:)``.
    ///
    /// What was written before leaves first. What the kernel takes leaves at once; descriptors that
    /// have to wait, because the receiver's queue is full, are duplicated: when this call has
    /// returned, the caller may close its own. sendmmsg(2), unix(7).
    ///
    /// - Parameters:
    ///   - bytes: may be empty.
    ///   - address: where to; `nil` on a connected socket: to its peer.
    ///   - ancillary: at most ``Ancillary/descriptorsMax`` descriptors.
    /// - Throws: ``StreamError/unsupported(_:)`` on a UDP socket;
    ///   ``StreamError/tooManyDescriptors(_:limit:)`` for more than that, or than may wait (1,012);
    ///   ``StreamError/system(_:)`` with what the kernel has against the ancillary data: `EBADF`,
    ///   `EPERM` for untrue credentials, `EMFILE` if they cannot be duplicated; else as
    ///   ``write(_:to:)``. Nothing is queued then. What the kernel says only later of credentials
    ///   that had to wait is told as of a peer that failed.
    public func write(
        _ bytes: [UInt8], to address: SocketAddress? = nil, ancillary: Ancillary
    ) throws(StreamError) {
        preconditionOnLoop("write", twin: "send")
        try transport.enqueue(bytes, to: address, ancillary: ancillary)
    }

    /// `write(_:to:ancillary:)`, and waits while more is queued than the high mark allows.
    ///
    /// - Throws: as `write`; ``StreamError/cancelled`` or ``StreamError/timedOut`` while it waits:
    ///   the datagram is queued then.
    public nonisolated(nonsending) func send(
        _ bytes: [UInt8], to address: SocketAddress? = nil, ancillary: Ancillary
    ) async throws(StreamError) {
        guard loop.isCurrent else {
            return try await hop { socket throws(StreamError) in
                try await socket.send(bytes, to: address, ancillary: ancillary)
            }
        }
        try transport.enqueue(bytes, to: address, ancillary: ancillary)
        if transport.needNotWait(address) { return }
        try await drain(address)
    }
}
