// The end of a connection, by this side. Floor 3; the loop's thread, but for the async calls.

internal import SluiceReactor
internal import SluiceStreams

extension PacketConnection {
    /// Whether this side has begun to close, or the stream is over. On the loop.
    ///
    /// The peer's end alone does not make it true: this side may still send. Without a writer it is
    /// the reader's closing.
    public var isClosing: Bool {
        preconditionOnLoop("isClosing", twin: "waitClosed")
        return pump.isClosedHere || pump.writer?.isClosing ?? pump.reader?.isStreamClosing ?? true
    }

    /// Why the packets have ended: what a callback threw, as it was, else the error that everybody
    /// was told; `nil` after an orderly end and before any. On the loop.
    public var failure: (any Error)? {
        preconditionOnLoop("failure", twin: "loop.spawn { }")
        return pump.thrown ?? pump.ending?.error
    }

    /// Begins to close in order, without waiting: who waits for packets gets `nil`, what was
    /// written leaves. Idempotent. On the loop; else use ``close(within:)``.
    public func startClosing(within timeout: Duration? = nil) {
        preconditionOnLoop("startClosing", twin: "close")
        pump.close(within: timeout)
    }

    /// Closes in order and waits for it; from any task, any number of times. As
    /// ``StreamWriter/close(within:)``, but when the calling task is cancelled, what is not closed
    /// yet is aborted.
    ///
    /// - Parameter timeout: after this it becomes an abort; the stream's `closeTimeout` by default.
    public nonisolated(nonsending) func close(within timeout: Duration? = nil) async {
        guard loop.isHome(#isolation) else {
            return await loop.hop { await self.close(within: timeout) }
        }
        pump.close(within: timeout)
        try? await pump.waitClosed()
        if Task.isCancelled { pump.abort() }
    }

    /// Ends it now: queued and unread packets are lost, the peer gets a reset, whoever waits gets
    /// ``StreamError/aborted``. From any task.
    public nonisolated(nonsending) func abort() async {
        if loop.isCurrent { return pump.abort() }
        await loop.hop { self.pump.abort() }
    }

    /// Waits until the streams have closed, whoever closes them. From any task.
    ///
    /// - Parameter timeout: from now on; `nil`: as long as it takes.
    /// - Throws: ``StreamError/timedOut`` or ``StreamError/cancelled`` as
    ///   ``PacketError/stream(_:)``, for this task alone: the close goes on.
    public nonisolated(nonsending) func waitClosed(
        within timeout: Duration? = nil
    ) async throws(PacketError) {
        guard loop.isHome(#isolation) else {
            return try await hop { () throws(PacketError) in
                try await self.waitClosed(within: timeout)
            }
        }
        guard let timeout else { return try await pump.waitClosed() }
        do {
            try await withTimeout(timeout) { try await pump.waitClosed() }
        } catch {
            throw error as? PacketError ?? .stream(.timedOut)
        }
    }

    /// Runs `body` and closes the connection, however it ends.
    ///
    /// - Parameters:
    ///   - timeout: of the close, as in ``close(within:)``.
    ///   - body: the work.
    /// - Returns: what `body` returns.
    /// - Throws: what `body` throws, once the connection is closed.
    public nonisolated(nonsending) func closing<R>(
        within timeout: Duration? = nil,
        _ body: nonisolated(nonsending) (PacketConnection) async throws -> R
    ) async throws -> R {
        let result: Result<R, any Error>
        do { result = .success(try await body(self)) } catch { result = .failure(error) }
        await close(within: timeout)
        return try result.get()
    }
}

extension PacketPump {
    nonisolated(nonsending) func waitClosed() async throws(PacketError) {
        while !areStreamsClosed {
            let outcome = await suspend { continuation, number in
                begin(continuation, number: number) { wait in
                    guard !areStreamsClosed else { return false }
                    closeWaits.append(wait)
                    return true
                }
            }
            switch outcome {
            case .ready: continue
            case .closed: return
            case .cancelled, .timedOut: throw .stream(StreamError(of: outcome))
            }
        }
    }
}
