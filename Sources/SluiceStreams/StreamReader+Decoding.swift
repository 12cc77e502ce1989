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
        transport.state.pointee.input.consume(count)
    }

    /// Whether the current task may wait here.
    package func isHome(_ isolation: (any Actor)?) -> Bool { transport.isHome(isolation) }

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

    /// Receives once more, waiting if need be. Between `beginDecoding` and `endDecoding`.
    ///
    /// - Returns: false at the end of the stream.
    package nonisolated(nonsending) func receiveMore() async throws(StreamError) -> Bool {
        while true {
            switch try transport.fill() {
            case .bytes: return true
            case .end: return false
            case .shareUsed: try await transport.takeTurns()
            case .blocked:
                let outcome =
                    transport.isHandlerTask
                    ? await transport.waitAsHandler() : await transport.waitAsGuest()
                try transport.inputWaitEnded(outcome)
            }
        }
    }

    /// Bytes asked for by one receive at most, 1 or more. On the loop's thread.
    package func limitReceives(to count: Int) {
        preconditionOnLoop("setMaxReceiveSize", twin: "loop.spawn { }")
        transport.state.pointee.receiveLimit = Int32(clamping: count)
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
    /// Appends one write piece by piece, straight to the output, which leaves at the end of the
    /// turn. If `body` throws, nothing of it is queued. On the loop's thread.
    ///
    /// - Throws: as `write`, in the first result; as `body`.
    package func appending<E: Error>(
        _ body: (UnsafeMutablePointer<OutputQueue>, UnsafeMutablePointer<BlockPool>) throws(E)
            -> Void
    ) throws(E) {
        let (transport, loop) = (self.transport, self.loop)
        let before = transport.state.pointee.output.count
        try withUnsafeMutablePointer(to: &transport.state.pointee.output) { queue throws(E) in
            try withUnsafeMutablePointer(to: &loop.state.pointee.blocks) { pool throws(E) in
                do throws(E) { try body(queue, pool) } catch {
                    queue.pointee.removeLast(queue.pointee.count - before, pool: &pool.pointee)
                    throw error
                }
            }
        }
        if before == 0 { transport.outputBegan() }
    }

    /// Throws unless a write may be queued now, as `write` does. On the loop's thread.
    package func checkWritable() throws(StreamError) {
        preconditionOnLoop("send", twin: "send")
        try transport.checkWritable()
    }

    /// Whether a drain need not wait; counted as a result of the row.
    package func needNotDrain() -> Bool { canGoOn() }
}
