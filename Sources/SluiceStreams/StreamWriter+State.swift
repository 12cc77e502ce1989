// What a writer tells about its stream, and the paths behind its calls. Floor 2.

public import SluiceReactor

extension StreamWriter {
    /// Whether this side has begun to close, or the stream is over. On the loop's thread.
    public var isClosing: Bool {
        preconditionOnLoop("isClosing", twin: "waitClosed")
        return transport.state.pointee.phase != .open
    }

    /// Whether `finishWriting` can still say the end: every kind of stream has a half-close, so
    /// true until this side has finished, closed or lost the stream. On the loop's thread.
    public var canFinishWriting: Bool {
        preconditionOnLoop("canFinishWriting", twin: "loop.spawn { }")
        return transport.state.pointee.acceptsWrites
    }

    /// Bytes written that the kernel does not have yet. On the loop's thread.
    public var bytesQueued: Int {
        preconditionOnLoop("bytesQueued", twin: "loop.spawn { }")
        return transport.state.pointee.output.count
    }

    /// Bytes the kernel has taken since the start. On the loop's thread.
    public var bytesSent: UInt64 {
        preconditionOnLoop("bytesSent", twin: "loop.spawn { }")
        return transport.state.pointee.bytesSent
    }

    /// Why the stream ended, once it has: `closed` after an orderly close, `aborted`, `reset`,
    /// `stalled`. On the loop's thread.
    public var closeReason: StreamError? {
        preconditionOnLoop("closeReason", twin: "loop.spawn { }")
        guard transport.state.pointee.phase == .closed else { return nil }
        return
            (transport.state.pointee.inputFailure ?? transport.state.pointee.outputFailure
            ?? .closed).error
    }

    /// The peer's address, `nil` for streams without one. Valid after close. On the loop's thread.
    public var remoteAddress: SocketAddress? { transport.remoteAddress }

    /// This side's address, `nil` for streams without one. Valid after close. On the loop's thread.
    public var localAddress: SocketAddress? {
        preconditionOnLoop("localAddress", twin: "loop.spawn { }")
        return transport.localAddress
    }

    /// Sets the marks of flow control for this stream. On the loop's thread.
    ///
    /// - Parameters:
    ///   - high: queued bytes above which `drain` waits, 0 or more; 0 makes each drain a flush.
    ///   - low: queued bytes at which it goes on, 0 to `high`; a quarter of it by default.
    public func setWriteMarks(high: Int, low: Int? = nil) {
        preconditionOnLoop("setWriteMarks", twin: "loop.spawn { }")
        let low = low ?? high / 4
        precondition(high >= low && low >= 0, "write marks need high >= low >= 0")
        precondition(
            high <= transport.settings.outputCap, "the high mark is at most the output cap")
        transport.state.pointee.high = high
        transport.state.pointee.low = low
        transport.releaseOutputWaits()
    }

    /// An integer socket option, as in socket(7) and tcp(7). On the loop's thread.
    ///
    /// - Throws: `closed`, or `system` with the call's error, ENOTSOCK for streams that are no
    ///   sockets.
    public func socketOption(level: Int32, name: Int32) throws(StreamError) -> Int32 {
        preconditionOnLoop("socketOption", twin: "loop.spawn { }")
        return try socket("getsockopt").option(level: level, name: name)
    }

    /// Sets an integer socket option. On the loop's thread. Throws as `socketOption`.
    public func setSocketOption(level: Int32, name: Int32, value: Int32) throws(StreamError) {
        preconditionOnLoop("setSocketOption", twin: "loop.spawn { }")
        try socket("setsockopt").setOption(level: level, name: name, value: value)
    }

    /// Who is at the other end of a Unix socket. On the loop's thread. Throws as `socketOption`.
    public func peerCredentials() throws(StreamError) -> PeerCredentials {
        preconditionOnLoop("peerCredentials", twin: "loop.spawn { }")
        return try socket("getsockopt").credentials()
    }

    private func socket(_ call: String) throws(StreamError) -> SocketTransport {
        guard let socket = transport as? SocketTransport else {
            throw .system(SystemError(call: call, errno: 88))  // ENOTSOCK
        }
        return socket
    }

    // MARK: Behind the calls

    /// Whether a drain may return at once.
    @usableFromInline
    func canGoOn() -> Bool {
        guard transport.loop.isCurrent else { return false }
        let state = transport.state
        // A large amount leaves at once: gathering would save no call worth its cold memory.
        if state.pointee.output.count >= StreamBounds.eagerFlushBytes { transport.flushNow() }
        guard state.pointee.acceptsWrites, state.pointee.output.count <= state.pointee.high,
            state.pointee.resultsInARow < StreamBounds.resultsInARow
        else { return false }
        state.pointee.resultsInARow &+= 1
        return true
    }

    /// On the loop: queues and tells whether that was all. Off the loop nothing happens.
    @usableFromInline
    func queueOnLoop(_ bytes: [UInt8]) throws(StreamError) -> Bool {
        guard transport.loop.isCurrent else { return false }
        try transport.enqueue(bytes)
        return canGoOn()
    }

    @usableFromInline
    nonisolated(nonsending) func drainSlowly() async throws(StreamError) {
        guard transport.isHome(#isolation) else {
            return try await hop { writer throws(StreamError) in
                try await writer.transport.drain()
            }
        }
        try await transport.drain()
    }

    /// What is left of a send: the drain; off the loop all of it.
    @usableFromInline
    nonisolated(nonsending) func sendSlowly(_ bytes: [UInt8]) async throws(StreamError) {
        guard loop.isCurrent else {
            return try await hop { writer throws(StreamError) in
                try writer.transport.enqueue(bytes)
                try await writer.transport.drain()
            }
        }
        try await drainSlowly()
    }

    /// The same call made on the loop.
    nonisolated(nonsending) func hop<R: Sendable>(
        _ body: @escaping @Sendable (StreamWriter) async throws(StreamError) -> R
    ) async throws(StreamError) -> R {
        let result: Result<R, StreamError> = await loop.hop {
            do throws(StreamError) { return .success(try await body(self)) } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }
}
