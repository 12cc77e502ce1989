// Sending descriptors and credentials, and what a decoder needs to receive them. Floor 2; on the
// stream's loop.

internal import SluiceReactor

extension StreamWriter {
    /// Queues bytes, and descriptors or credentials that leave with the first of them. On the
    /// loop's thread. sendmsg(2), unix(7).
    ///
    /// What was written before leaves first, what is written later comes behind. If the kernel
    /// takes only a part of the bytes, the rest follows. Descriptors that cannot leave at once are
    /// duplicated: when this call has returned, the caller may close its own. Of those the kernel
    /// is asked again while it has too many on their way (`ETOOMANYREFS`). What else it has against
    /// data that had to wait, such as credentials that are no longer true, ends the output with
    /// ``StreamError/reset(errno:)``: nothing of it and nothing behind it leaves, since its bytes
    /// without it would mean something else.
    ///
    /// - Parameters:
    ///   - bytes: 1 or more, unless there is nothing else to send.
    ///   - ancillary: at most ``Ancillary/descriptorsMax`` descriptors.
    /// - Throws: ``StreamError/unsupported(_:)`` if this is no Unix socket,
    ///   ``StreamError/tooManyDescriptors(_:limit:)``; ``StreamError/system(_:)`` with what the
    ///   kernel has against the ancillary data at once: `EBADF`, `EPERM` for untrue credentials,
    ///   `ETOOMANYREFS`, `EMFILE` if they cannot be duplicated; else as ``write(_:)-([UInt8])``. In
    ///   each case nothing of it was queued, and but for `closed` and its kin the stream stays
    ///   usable.
    public func write(_ bytes: [UInt8], ancillary: Ancillary) throws(StreamError) {
        preconditionOnLoop("write", twin: "send")
        try transport.checkPassing(ancillary)
        try transport.checkWritable()
        let mark = transport.outputPlace
        transport.enqueue(allowed: bytes)
        try transport.pass(ancillary, from: mark)
    }

    /// `write(_:ancillary:)` and ``drain()``; from elsewhere than the loop it hops there first.
    ///
    /// - Throws: as both. If it throws ``StreamError/cancelled`` or ``StreamError/timedOut``, all
    ///   of it is queued.
    public nonisolated(nonsending) func send(
        _ bytes: [UInt8], ancillary: Ancillary
    ) async throws(StreamError) {
        guard loop.isCurrent else {
            return try await hop { writer throws(StreamError) in
                try writer.write(bytes, ancillary: ancillary)
                try await writer.transport.drain()
            }
        }
        try write(bytes, ancillary: ancillary)
        try await drain()
    }

    /// For encoders that write to the output themselves: checks ancillary data and says where the
    /// output ends.
    package func beginPassing(_ ancillary: Ancillary) throws(StreamError) -> UInt64 {
        preconditionOnLoop("write", twin: "send")
        try transport.checkPassing(ancillary)
        return transport.outputPlace
    }

    /// Ties it to what was written since `beginPassing`, in the same turn; if this throws, that is
    /// taken back.
    package func endPassing(_ ancillary: Ancillary, mark: UInt64) throws(StreamError) {
        try transport.pass(ancillary, from: mark)
    }

    /// Whether ancillary data that is received names its sender, checked by the kernel. Set it
    /// before the peer sends. On the loop's thread. unix(7), SO_PASSCRED.
    ///
    /// - Throws: ``StreamError/unsupported(_:)`` if this is no Unix socket; else as
    ///   `setSocketOption`.
    public func setReceivesCredentials(_ isOn: Bool) throws(StreamError) {
        preconditionOnLoop("setReceivesCredentials", twin: "loop.spawn { }")
        try transport.checkPassing()
        let (socketLevel, passCredentials): (Int32, Int32) = (1, 16)  // SOL_SOCKET, SO_PASSCRED
        try setSocketOption(level: socketLevel, name: passCredentials, value: isOn ? 1 : 0)
    }
}

extension StreamReader {
    /// Throws unless descriptors can come here.
    package func checkPassing() throws(StreamError) { try transport.checkPassing() }

    /// What came with the beginning of the packet under way.
    package var arrived: ArrivedAncillary? { transport.state.pointee.arrived }

    /// Copies what the kernel has behind the buffered bytes, waiting for it if need be, and leaves
    /// it there. Between `beginDecoding` and `endDecoding`.
    ///
    /// - Returns: how many bytes; `nil` at the end of the stream.
    package nonisolated(nonsending) func lookAhead() async throws -> Int? {
        while true {
            let (seen, filling) = try transport.look()
            if filling == .bytes { return seen }
            if filling == .end { return nil }
            try await waitForMore(filling)
        }
    }

    /// Receives that `body` makes take what comes beside the bytes.
    package func collecting<R>(
        _ arrived: ArrivedAncillary, capacity: Int, _ body: () throws(StreamError) -> R
    ) throws(StreamError) -> R {
        try transport.collecting(arrived, capacity: capacity, body)
    }

    /// What is buffered and, behind it, so many of the bytes looked at.
    package func undecoded(andAhead count: Int) -> UnsafeRawBufferPointer {
        transport.state.pointee.input.bytes(andBehind: count)
    }

    /// Takes bytes that were looked at from the kernel, and the descriptors that came with them.
    package func takeAhead(
        _ count: Int, _ arrived: ArrivedAncillary, capacity: Int
    ) throws(StreamError) {
        try transport.take(count, arrived, capacity: capacity)
    }
}
