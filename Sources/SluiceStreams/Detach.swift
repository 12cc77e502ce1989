// Giving a connection away, and noticing that its peer has gone. Floor 2.

internal import SluiceReactor

/// A descriptor taken out of its stream, and what was received and not read.
public struct DetachedStream: Sendable {
    /// Nonblocking and close-on-exec; the receiver closes it.
    public var descriptor: Int32
    /// To be read before anything from the descriptor.
    public var unread: [UInt8]
}

extension StreamWriter {
    /// Takes the descriptor out of the stream, for another library or process to go on with.
    ///
    /// What was written is handed to the kernel first. Afterwards both halves say `closed`; nothing
    /// is shut down, so the peer notices nothing.
    ///
    /// - Returns: the descriptor, now the caller's, and the bytes received and not read.
    /// - Throws: ``StreamError/busy`` while a task reads, or a receiver's decoder has taken
    ///   the beginning of a packet, which would be lost; as `flush`; ``StreamError/closed`` for a
    ///   stream that is closing, or has no descriptor.
    public nonisolated(nonsending) func detach() async throws(StreamError) -> DetachedStream {
        guard transport.isHome(#isolation) else {
            return try await hop { writer throws(StreamError) in try await writer.detach() }
        }
        try await transport.flush()
        return try transport.detach()
    }

    /// Waits until the peer has hung up: sent its end, or broken the connection. For handlers that
    /// are not reading; bytes that came before stay to be read.
    ///
    /// - Throws: ``StreamError/closed`` and its kin if this side ended the stream first;
    ///   ``StreamError/cancelled``, ``StreamError/timedOut``.
    public nonisolated(nonsending) func waitPeerClosed() async throws(StreamError) {
        guard transport.isHome(#isolation) else {
            return try await hop { writer throws(StreamError) in
                try await writer.waitPeerClosed()
            }
        }
        try await transport.waitPeerClosed()
    }

    /// Calls `body` once, on the loop's thread, when the peer hangs up; not if this side ends the
    /// stream first. From a task of the loop. `body` must not block; it may close or abort the
    /// stream.
    public func onPeerClosed(_ body: @escaping @Sendable () -> Void) {
        preconditionOnLoop("onPeerClosed", twin: "waitPeerClosed")
        let transport = self.transport
        loop.spawn {
            // An error means that there is nothing to tell any more.
            guard (try? await transport.waitPeerClosed()) != nil else { return }
            body()
        }
    }
}

extension Transport {
    /// Out of the reactor without a word to the peer.
    final func detach() throws(StreamError) -> DetachedStream {
        if state.pointee.isReading || state.pointee.takenByDecoder > 0 { throw .busy }
        guard state.pointee.phase == .open, !state.pointee.finishRequested,
            let descriptor = detachDescriptor()
        else { throw .closed }
        let unread = state.pointee.input.prefix(state.pointee.input.count)
        discardInput()
        state.pointee.isDetached = true
        end(.closed, reset: false)
        return DetachedStream(descriptor: descriptor, unread: unread)
    }

    nonisolated(nonsending) final func waitPeerClosed() async throws(StreamError) {
        while true {
            switch state.pointee.inputFailure {
            case .reset: return
            // Reads are over, the peer is still there.
            case .peerTimedOut where state.pointee.phase == .open: break
            case let failure?: throw failure.error
            case nil: break
            }
            // Its own close, even if the peer's end has come since.
            if state.pointee.phase != .open { throw .closed }
            if state.pointee.readable.hangUp || outputFailureEndsInput { return }
            let outcome = await suspend { continuation, number in
                begin(continuation, number: number) { wait in
                    guard state.pointee.phase == .open, !state.pointee.readable.hangUp,
                        !outputFailureEndsInput
                    else { return false }
                    state.pointee.closeWaits.append(wait)
                    return true
                }
            }
            if outcome == .cancelled { throw .cancelled }
            if outcome == .timedOut { throw .timedOut }
        }
    }
}
