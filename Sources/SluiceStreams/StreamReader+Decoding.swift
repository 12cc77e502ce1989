// What codecs on a higher floor need of a stream: the bytes where they lie, one more receive, and
// output that can be taken back. Floor 2; on the stream's loop.

internal import Glibc
package import SluiceReactor

extension StreamReader {
    /// Whether a decoder may look at buffered bytes at once; counted as a result of the row.
    @usableFromInline
    package func mayDecodeBuffered() -> Bool {
        mayTakeBuffered() && !transport.state.pointee.input.isEmpty
    }

    /// What was received and not used; valid until the next call on this stream.
    @usableFromInline
    package var undecoded: UnsafeRawBufferPointer { transport.state.pointee.input.bytes }

    /// Marks the first bytes as used.
    @usableFromInline
    package func markDecoded(_ count: Int) {
        checkUsed(count)
        transport.state.pointee.input.consume(count)
    }

    /// The same for bytes of a packet that is unfinished: for deadlines and for a shutdown they are
    /// as much the beginning of something as those in the buffer.
    @usableFromInline
    package func markBegun(_ count: Int) {
        markDecoded(count)
        transport.state.pointee.takenByDecoder &+= count
    }

    /// Anybody may write a decoder; past the buffer's end lies what is not its own.
    private func checkUsed(_ count: Int) {
        precondition(
            count >= 0 && count <= transport.state.pointee.input.count,
            "a decoder uses bytes that have come")
    }

    /// Marks a packet's last bytes as used; what came beside them is let go of.
    @usableFromInline
    package func packetEnded(_ count: Int) {
        checkUsed(count)
        transport.state.pointee.input.consume(count)
        transport.state.pointee.takenByDecoder = 0
        if transport.state.pointee.arrived != nil { transport.state.pointee.arrived = nil }
    }

    /// Whether the current task may wait here.
    @usableFromInline
    package func isHome(_ isolation: (any Actor)?) -> Bool { transport.isHome(isolation) }

    /// The shape of every read: try, wait, try again. Not generic, so that the task of an idle
    /// endpoint stays small; for the same reason it does not throw.
    ///
    /// - Parameter attempt: decodes and receives; returns `bytes` once it has an outcome, else what
    ///   to wait for. A ``StreamError`` that it is given is its outcome.
    @usableFromInline
    package nonisolated(nonsending) func decode(
        _ attempt: (StreamReader, (any Error)?) -> Filling
    ) async {
        do { try begin() } catch {
            _ = attempt(self, error)
            return
        }
        var filling = Filling.shareUsed
        if transport.state.pointee.resultsInARow < StreamBounds.resultsInARow {
            filling = attempt(self, nil)
        }
        while filling != .bytes {
            let failure =
                filling == .blocked && isHandlersTask
                ? failure(of: await transport.waitAsHandler()) : await waitAside(filling)
            filling = attempt(self, failure)
        }
        transport.state.pointee.resultsInARow &+= 1
        transport.endReading()
    }

    /// Out of line: asking for the task takes room on the task itself.
    private var isHandlersTask: Bool {
        @inline(never) get { transport.isHandlerTask }
    }

    /// Why a wait has ended, unless by readiness. Out of line: an error's value would widen the
    /// frame that waits.
    @inline(never)
    private func failure(of outcome: WaitOutcome) -> (any Error)? {
        do { try transport.inputWaitEnded(outcome) } catch { return error }
        return nil
    }

    /// As `waitForMore`.
    @inline(never)
    private nonisolated(nonsending) func waitAside(_ filling: Filling) async -> (any Error)? {
        do { try await waitForMore(filling) } catch { return error }
        return nil
    }

    /// The same for the beginning of a read.
    @inline(never)
    private func begin() throws { try transport.beginReading() }

    /// Begins one packet's read: refuses a second one, lets others run after a row of results.
    /// Followed by `endDecoding`, also when it throws.
    package nonisolated(nonsending) func beginDecoding() async throws(StreamError) {
        try transport.beginReading()
        if transport.state.pointee.resultsInARow >= StreamBounds.resultsInARow {
            do throws(StreamError) { try await transport.takeTurns() } catch {
                transport.endReading()
                throw error
            }
        }
        transport.state.pointee.resultsInARow &+= 1
    }

    /// Ends one packet's read.
    package func endDecoding() {
        transport.endReading()
    }

    /// What came of a receive.
    @usableFromInline
    package enum Filling {
        case bytes, blocked, shareUsed, end
    }

    /// One receive into the buffer. Between `beginDecoding` and `endDecoding`.
    @usableFromInline
    package func fillBuffer() throws(StreamError) -> Filling { try transport.fill() }

    /// One receive into storage of the decoder's: `lend` calls what it is given at most once, with
    /// room of one byte or more. Between `beginDecoding` and `endDecoding`, with an empty buffer.
    @usableFromInline
    package func fill(
        _ lend: ((UnsafeMutableRawBufferPointer) -> Int) -> Void
    ) throws(StreamError) -> Filling { try transport.fill(directly: lend) }

    /// Waits for what a fill lacked: bytes, or a turn. Between `beginDecoding` and `endDecoding`.
    /// Throws ``StreamError``.
    @inline(never)
    package nonisolated(nonsending) func waitForMore(_ filling: Filling) async throws {
        if filling == .shareUsed { return try await transport.takeTurns() }
        let outcome =
            transport.isHandlerTask
            ? await transport.waitAsHandler() : await transport.waitAsGuest()
        try transport.inputWaitEnded(outcome)
    }

    /// Bytes asked for by one receive at most, 1 or more. On the loop's thread.
    package func limitReceives(to count: Int) {
        preconditionOnLoop("setMaxReceiveSize", twin: "loop.spawn { }")
        transport.state.pointee.receiveLimit = Int32(clamping: count)
    }

    /// Closes the stream it is a half of, for receivers that have no writer. As
    /// ``StreamWriter/close(within:)``.
    package nonisolated(nonsending) func closeStream(within: Duration?) async {
        guard transport.isHome(#isolation) else {
            return await loop.hop { await self.closeStream(within: within) }
        }
        transport.startClosing(within: within?.clampedNanoseconds)
        try? await transport.waitClosed()
    }

    /// As ``StreamWriter/abort()``.
    package nonisolated(nonsending) func abortStream() async {
        if loop.isCurrent { return transport.startAborting() }
        await loop.hop { self.transport.startAborting() }
    }

    /// As ``StreamWriter/isClosing``.
    package var isStreamClosing: Bool {
        preconditionOnLoop("isClosing", twin: "loop.spawn { }")
        return transport.state.pointee.phase != .open
    }

    /// The same call made on the loop, for errors of another floor.
    package nonisolated(nonsending) func onLoop<R: Sendable, E: Error>(
        _ body: @escaping @Sendable () async throws(E) -> R
    ) async throws(E) -> R {
        let result: Result<R, E> = await loop.hop {
            do throws(E) { return .success(try await body()) } catch { return .failure(error) }
        }
        return try result.get()
    }
}

extension StreamWriter {
    /// Throws unless a write may be queued now, as `write` does. On the loop's thread.
    @usableFromInline
    package func checkWritable() throws(StreamError) {
        preconditionOnLoop("send", twin: "send")
        try transport.checkWritable()
    }

    /// Where an encoder appends, after `checkWritable`. Bytes that it takes back must be its own.
    /// Valid as long as the stream: it lies in the transport's state, which does not move.
    package var outputQueue: UnsafeMutablePointer<OutputQueue> {
        withUnsafeMutablePointer(to: &transport.state.pointee.output) { $0 }
    }

    /// Where the output's blocks come from: a part of the loop's state, which does not move.
    package var blockPool: UnsafeMutablePointer<BlockPool> {
        withUnsafeMutablePointer(to: &transport.loop.state.pointee.blocks) { $0 }
    }

    /// Says that output which was empty is not any longer: it leaves at the end of the turn.
    package func outputBegan() { transport.outputBegan() }

    /// Whether the calling thread is the loop's.
    @usableFromInline
    package var isOnLoop: Bool { transport.loop.isCurrent }

    /// Whether a drain need not wait; counted as a result of the row.
    @usableFromInline
    package func needNotDrain() -> Bool { canGoOn() }
}
