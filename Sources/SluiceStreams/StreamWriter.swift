// StreamWriter: the sending half that users hold. Floor 2; lives on its transport's loop.
//
// `write` appends and puts the transport once on the loop's flush list; at the end of the turn all
// of it leaves in one sendmsg. `send` is `write` and `drain`.

public import SluiceReactor

/// The sending half of a stream.
///
/// Belongs to one event loop. Async calls made elsewhere hop to it; `write`, `finishWriting` and
/// the other sync calls must be made on it. Any number of tasks may write: each call's bytes stay
/// together, in the order of the calls.
///
/// What was written leaves at the end of the loop's turn, the output of a turn in one system call.
/// ``drain()`` is the flow control: it returns at once up to the high-water mark and waits for the
/// low one above it. Who never drains is stopped by the hard cap: `write` throws
/// ``StreamError/outputFull(queued:)`` then.
///
/// No call reports bytes as sent that were lost. After the peer's reset, every write, drain and
/// flush throws the same error. After `close` they throw ``StreamError/closed``.
// @unchecked Sendable: an immutable reference to a transport, whose state is touched on its loop
// alone; every entry compares the thread.
public final class StreamWriter: @unchecked Sendable {
    let transport: Transport

    init(_ transport: Transport) {
        self.transport = transport
    }

    /// A writer whose stream has no reader.
    init(whole transport: Transport) {
        self.transport = transport
        transport.halveHandles()
    }

    deinit {
        transport.releaseHandle()
    }

    /// The loop this stream lives on.
    public var loop: EventLoop { transport.loop }

    // MARK: Writing

    /// Queues bytes. On the loop's thread; from elsewhere use ``send(_:)-([UInt8])``.
    ///
    /// An array of 4 KiB or more is queued by reference, a smaller one is copied.
    ///
    /// - Parameter bytes: may be empty, which queues nothing but still throws if closed.
    /// - Throws: ``StreamError/closed`` and its kin at once after close, finish or loss;
    ///   ``StreamError/outputFull(queued:)`` over the hard cap: nothing of it is then queued and
    ///   the stream stays usable.
    public func write(_ bytes: [UInt8]) throws(StreamError) {
        preconditionOnLoop("write", twin: "send")
        try transport.enqueue(bytes)
    }

    /// Queues a text's UTF-8 bytes; otherwise as `write(_:)` of bytes.
    public func write(_ text: String) throws(StreamError) {
        preconditionOnLoop("write", twin: "send")
        var text = text
        let result: Result<Void, StreamError> = text.withUTF8 { buffer in
            do throws(StreamError) {
                return .success(try transport.enqueue(UnsafeRawBufferPointer(buffer)))
            } catch { return .failure(error) }
        }
        try result.get()
    }

    /// Queues a copy of the bytes that the span shows; otherwise as `write(_:)` of an array.
    public func write(_ span: RawSpan) throws(StreamError) {
        preconditionOnLoop("write", twin: "send")
        try span.withUnsafeBytes { bytes throws(StreamError) in try transport.enqueue(bytes) }
    }

    /// Queues several pieces as one: all of them or, over the hard cap or after close, none.
    public func write(contentsOf parts: [[UInt8]]) throws(StreamError) {
        preconditionOnLoop("write(contentsOf:)", twin: "send(contentsOf:)")
        try transport.checkWritable()
        for part in parts { transport.enqueue(allowed: part) }
    }

    /// Waits until what is queued is down to the low-water mark, if it is above the high one.
    ///
    /// Returns at once otherwise. Any number of tasks may wait. A cancelled drain loses nothing:
    /// all bytes stay queued and the stream usable.
    ///
    /// - Throws: ``StreamError/reset(errno:)`` and its kin when the bytes were lost, never success.
    @inlinable
    public nonisolated(nonsending) func drain() async throws(StreamError) {
        if canGoOn() { return }
        try await drainSlowly()
    }

    /// `write` and `drain`. From elsewhere than the loop it hops there first.
    ///
    /// - Throws: as both. If it throws ``StreamError/cancelled`` or ``StreamError/timedOut``, all
    ///   of the bytes are queued: never half a message.
    @inlinable
    public nonisolated(nonsending) func send(_ bytes: [UInt8]) async throws(StreamError) {
        if try queueOnLoop(bytes) { return }
        try await sendSlowly(bytes)
    }

    /// Sends a text's UTF-8 bytes; otherwise as `send(_:)` of bytes.
    public nonisolated(nonsending) func send(_ text: String) async throws(StreamError) {
        try await send(Array(text.utf8))
    }

    /// `write(contentsOf:)` and `drain`.
    public nonisolated(nonsending) func send(
        contentsOf parts: [[UInt8]]
    ) async throws(StreamError) {
        guard transport.isHome(#isolation) else {
            return try await hop { writer throws(StreamError) in
                try await writer.send(contentsOf: parts)
            }
        }
        try write(contentsOf: parts)
        try await drain()
    }

    /// Waits until the kernel has everything that was queued before this call.
    ///
    /// It says nothing about the peer having it (tcp(7)). Throws if it never will have.
    public nonisolated(nonsending) func flush() async throws(StreamError) {
        guard transport.isHome(#isolation) else {
            return try await hop { writer throws(StreamError) in try await writer.flush() }
        }
        try await transport.flush()
    }

    // MARK: Ending

    /// Says the end to the peer once everything queued has left (a half-close); reading goes on.
    /// Idempotent. On the loop's thread. shutdown(2) with SHUT_WR.
    public func finishWriting() throws(StreamError) {
        preconditionOnLoop("finishWriting", twin: "loop.spawn { }")
        if let failure = transport.state.pointee.outputFailure { throw failure.error }
        if transport.state.pointee.phase != .open { throw .closed }
        guard !transport.state.pointee.finishRequested else { return }
        transport.state.pointee.finishRequested = true
        loop.listForFlush(transport)
    }

    /// Closes the stream in order and waits for it: what is queued leaves, the peer gets our end,
    /// its further input is dropped until its end comes, the descriptor is closed.
    ///
    /// Legal at any point, from any task, any number of times. Reads and writes that wait end:
    /// reads with `closed`, drains when their bytes have left. Never throws; ``closeReason`` tells
    /// more. A cancelled task does not wait any longer, the close goes on.
    ///
    /// - Parameter within: after this it becomes an abort; the stream's `closeTimeout` by default.
    public nonisolated(nonsending) func close(within: Duration? = nil) async {
        guard transport.isHome(#isolation) else {
            return await loop.hop { await self.close(within: within) }
        }
        startClosing(within: within)
        try? await transport.waitClosed()
    }

    /// Begins to close in order, without waiting. On the loop's thread; else use
    /// ``close(within:)``.
    public func startClosing(within: Duration? = nil) {
        preconditionOnLoop("startClosing", twin: "close")
        transport.startClosing(within: within?.clampedNanoseconds)
    }

    /// Ends the stream now: queued and unread bytes are lost, the peer gets a reset, whoever waits
    /// gets ``StreamError/aborted``.
    public nonisolated(nonsending) func abort() async {
        if loop.isCurrent { return transport.startAborting() }
        await loop.hop { self.transport.startAborting() }
    }

    /// The sync twin of ``abort()``, on the loop's thread.
    public func startAborting() {
        preconditionOnLoop("startAborting", twin: "abort")
        transport.startAborting()
    }

    /// Waits until the stream has closed, whoever closes it. Any number of tasks may wait.
    ///
    /// - Throws: ``StreamError/cancelled`` or ``StreamError/timedOut`` for this task alone.
    public nonisolated(nonsending) func waitClosed() async throws(StreamError) {
        guard transport.isHome(#isolation) else {
            return try await hop { writer throws(StreamError) in try await writer.waitClosed() }
        }
        try await transport.waitClosed()
    }

    @inline(__always)
    func preconditionOnLoop(_ name: String, twin: String) {
        if !loop.isCurrent {
            stopProgram(
                "StreamWriter.\(name) was called off its loop; from elsewhere await \(twin)")
        }
    }
}

extension StreamWriter: CustomStringConvertible {
    /// For example `StreamWriter(127.0.0.1:50112, 0 bytes queued)`; off the loop without state.
    public var description: String {
        let peer = transport.remoteAddress.map(\.description) ?? "local"
        guard loop.isCurrent else { return "StreamWriter(\(peer))" }
        let state = transport.state
        var parts = [peer, "\(state.pointee.output.count) bytes queued"]
        if state.pointee.finishRequested { parts.append("finished") }
        if let failure = state.pointee.outputFailure { parts.append("\(failure.error)") }
        if state.pointee.phase != .open { parts.append("\(state.pointee.phase)") }
        return "StreamWriter(\(parts.joined(separator: ", ")))"
    }
}
