// StreamReader: the receiving half that users hold. Floor 2; lives on its transport's loop.
//
// Each call has a fast path: take it from the buffer, without suspending, if the thread is the
// loop's and the bytes are there. Else the shape of every operation: try, fill, try again
// (`reading`). A call that is cancelled or times out has consumed nothing, because consuming is its
// last step.

public import SluiceReactor

/// The receiving half of a stream.
///
/// Belongs to one event loop. Async calls made elsewhere hop to it and still do the right thing;
/// `atEOF`, `buffered` and `unread` must be called on it. One task reads at a time: a second one
/// gets ``StreamError/busy``. A call that finds its bytes buffered returns without suspending (and
/// lets others run after 64 such results in a row).
///
/// All reads: bytes that came before an error are delivered before the error, which every later
/// read repeats; the end of the stream is sticky. After this side's `close` or `abort` reads throw
/// ``StreamError/closed`` or ``StreamError/aborted``. A read that throws ``StreamError/cancelled``
/// or ``StreamError/timedOut`` has consumed nothing, so the next one starts at the same byte.
///
/// Not reading is the backpressure: nothing is received unless a read asks for it, and the kernel's
/// window stalls the peer (tcp(7)).
// @unchecked Sendable: an immutable reference to a transport, whose state is touched on its loop
// alone; every entry compares the thread.
public final class StreamReader: @unchecked Sendable {
    let transport: Transport

    init(_ transport: Transport) {
        self.transport = transport
    }

    /// A reader whose stream has no writer.
    init(whole transport: Transport) {
        self.transport = transport
        transport.halveHandles()
    }

    deinit {
        transport.releaseHandle()
    }

    /// The loop this stream lives on.
    public var loop: EventLoop { transport.loop }

    // MARK: Reads that return arrays

    /// Reads what is there: at least one byte, at most `count`.
    ///
    /// - Parameter count: 1 or more; 65,536 by default. The stream's limit does not apply.
    /// - Returns: the bytes, or `nil` at the end of the stream; never an empty array.
    @inlinable
    public nonisolated(nonsending) func read(
        upTo count: Int = 65_536
    ) async throws(StreamError) -> [UInt8]? {
        if let bytes = bufferedBytes(upTo: count) { return bytes }
        return try await readSlowly(upTo: count)
    }

    /// Reads exactly `count` bytes.
    ///
    /// Memory grows with the bytes that arrive, not with `count`. The stream's limit does not
    /// apply.
    ///
    /// - Parameter count: 0 or more; 0 returns at once, even at the end.
    /// - Throws: ``StreamError/truncated(received:expected:)`` when the stream ends first, with all
    ///   there was, which is then consumed. Whether another frame comes at all is asked with
    ///   ``hasMore()``.
    @inlinable
    public nonisolated(nonsending) func readExactly(
        _ count: Int
    ) async throws(StreamError) -> [UInt8] {
        if let bytes = bufferedBytes(exactly: count) { return bytes }
        return try await readExactlySlowly(count)
    }

    /// Reads a line through its LF.
    ///
    /// - Parameters:
    ///   - limit: bytes allowed before the LF, 1 or more; the stream's limit by default.
    ///   - strippingTerminator: drops the LF, and a CR before it.
    /// - Returns: the line; the unfinished last one without LF; `nil` at the end.
    /// - Throws: ``StreamError/limitExceeded(limit:scanned:separatorFound:)``: nothing is consumed,
    ///   `skip(through: [10])` goes to the next line.
    @inlinable
    public nonisolated(nonsending) func readLine(
        limit: Int? = nil, strippingTerminator: Bool = false
    ) async throws(StreamError) -> [UInt8]? {
        if let line = bufferedLine(limit: limit, strippingTerminator: strippingTerminator) {
            return line
        }
        return try await readLineSlowly(limit: limit, strippingTerminator: strippingTerminator)
    }

    /// Reads through the next separator.
    ///
    /// - Parameters:
    ///   - separator: not empty; may arrive in any number of pieces.
    ///   - limit: bytes allowed before it, 1 or more; the stream's limit by default.
    /// - Returns: the bytes, separator included.
    /// - Throws: ``StreamError/truncated(received:expected:)`` when the stream ends first;
    ///   ``StreamError/limitExceeded(limit:scanned:separatorFound:)`` as in `readLine`.
    public nonisolated(nonsending) func readUntil(
        _ separator: [UInt8], limit: Int? = nil
    ) async throws(StreamError) -> [UInt8] {
        try await readUntil(anyOf: [separator], limit: limit)
    }

    /// Reads through whichever separator ends first; of two that end together the shorter one
    /// counts. The result does not depend on how the bytes arrived. Otherwise as
    /// `readUntil(_:limit:)`.
    ///
    /// - Parameter separators: at least one, none empty.
    public nonisolated(nonsending) func readUntil(
        anyOf separators: [[UInt8]], limit: Int? = nil
    ) async throws(StreamError) -> [UInt8] {
        precondition(
            !separators.isEmpty && separators.allSatisfy { !$0.isEmpty },
            "readUntil needs at least one separator and none may be empty")
        guard transport.isHome(#isolation) else {
            return try await hop { reader throws(StreamError) in
                try await reader.readUntil(anyOf: separators, limit: limit)
            }
        }
        var search = SeparatorSearch(separators, limit: limitInForce(limit))
        return try await reading { state, ended throws(StreamError) in
            if let found = try search.find(in: state.pointee.input.bytes) {
                return self.take(found)
            }
            if ended { throw .truncated(received: self.take(.max), expected: nil) }
            return nil
        }
    }

    /// Reads everything up to the end of the stream.
    ///
    /// - Parameter limit: bytes allowed in all, 1 or more; 16 MiB by default.
    /// - Returns: the bytes; empty if the stream has ended already.
    /// - Throws: ``StreamError/limitExceeded(limit:scanned:separatorFound:)`` when more comes;
    ///   nothing is consumed.
    public nonisolated(nonsending) func readToEnd(
        limit: Int = StreamReader.readToEndLimit
    ) async throws(StreamError) -> [UInt8] {
        precondition(limit > 0, "readToEnd(limit:) needs a limit of 1 or more")
        guard transport.isHome(#isolation) else {
            return try await hop { reader throws(StreamError) in
                try await reader.readToEnd(limit: limit)
            }
        }
        return try await reading { state, ended throws(StreamError) in
            let count = state.pointee.input.count
            if count > limit {
                throw .limitExceeded(limit: limit, scanned: count, separatorFound: false)
            }
            return ended ? self.take(count) : nil
        }
    }

    /// The limit of `readToEnd` unless it is given one: 16 MiB.
    public static let readToEndLimit = StreamBounds.readToEndLimit

    // MARK: Looking ahead and passing over

    /// Waits until a byte is there or the stream has ended.
    ///
    /// - Returns: true if at least one more byte can be read, false at the end of the stream.
    @inlinable
    public nonisolated(nonsending) func hasMore() async throws(StreamError) -> Bool {
        if hasBufferedBytes() { return true }
        return try await hasMoreSlowly()
    }

    /// Looks at the next bytes without consuming them.
    ///
    /// - Parameter count: 0 or more.
    /// - Returns: `count` bytes; fewer only at the end of the stream.
    public nonisolated(nonsending) func peek(_ count: Int) async throws(StreamError) -> [UInt8] {
        precondition(count >= 0, "peek needs a count of 0 or more")
        guard transport.isHome(#isolation) else {
            return try await hop { reader throws(StreamError) in try await reader.peek(count) }
        }
        return try await reading { state, ended throws(StreamError) in
            let there = state.pointee.input.count
            return there >= count || ended ? state.pointee.input.prefix(min(count, there)) : nil
        }
    }

    /// Discards the next bytes, holding none of them.
    ///
    /// - Parameter count: 0 or more.
    /// - Returns: how many were discarded; fewer than `count` only at the end of the stream.
    /// - Throws: what was discarded before a cancellation or an error stays discarded.
    @discardableResult
    public nonisolated(nonsending) func skip(_ count: Int) async throws(StreamError) -> Int {
        precondition(count >= 0, "skip needs a count of 0 or more")
        guard transport.isHome(#isolation) else {
            return try await hop { reader throws(StreamError) in try await reader.skip(count) }
        }
        var skipped = 0
        return try await reading { state, ended throws(StreamError) in
            let step = min(count - skipped, state.pointee.input.count)
            state.pointee.input.consume(step)
            skipped += step
            return skipped == count || ended ? skipped : nil
        }
    }

    /// Discards everything through the next separator, without limit and holding almost none of it:
    /// how to go on after a line that was too long.
    ///
    /// - Parameter separator: not empty.
    /// - Returns: true once behind the separator, false if the stream ended before one came.
    /// - Throws: what was discarded before a cancellation or an error stays discarded.
    @discardableResult
    public nonisolated(nonsending) func skip(
        through separator: [UInt8]
    ) async throws(StreamError) -> Bool {
        precondition(!separator.isEmpty, "skip(through:) needs a separator of 1 byte or more")
        guard transport.isHome(#isolation) else {
            return try await hop { reader throws(StreamError) in
                try await reader.skip(through: separator)
            }
        }
        return try await reading { state, ended throws(StreamError) in
            var search = SeparatorSearch([separator], limit: .max)
            if let found = try search.find(in: state.pointee.input.bytes) {
                state.pointee.input.consume(found)
                return true
            }
            // A beginning of the separator may stand at the end.
            let rest = ended ? 0 : separator.count - 1
            state.pointee.input.consume(max(0, state.pointee.input.count - rest))
            return ended ? false : nil
        }
    }

    /// Puts bytes back, to be read next. On the loop's thread, while no read is waiting.
    public func unread(_ bytes: [UInt8]) {
        preconditionOnLoop("unread", twin: "peek")
        precondition(
            !transport.state.pointee.isReading, "unread while another task is reading")
        guard transport.state.pointee.phase != .closing else { return }
        bytes.withUnsafeBytes {
            transport.state.pointee.input.prepend($0, pool: &loop.state.pointee.blocks)
        }
    }

    // MARK: State

    /// Whether the stream has ended and everything was read. On the loop's thread.
    public var atEOF: Bool {
        preconditionOnLoop("atEOF", twin: "hasMore")
        return transport.state.pointee.hasEnded && transport.state.pointee.input.isEmpty
    }

    /// What reads will throw once the bytes that came before are read; `nil` while more may come,
    /// and after a clean end. On the loop's thread.
    public var failure: StreamError? {
        preconditionOnLoop("failure", twin: "a read")
        return transport.state.pointee.inputFailure?.error
    }

    /// Bytes received and not yet read. On the loop's thread.
    public var buffered: Int {
        preconditionOnLoop("buffered", twin: "peek")
        return transport.state.pointee.input.count
    }

    /// Bytes received since the start. On the loop's thread.
    public var bytesReceived: UInt64 {
        preconditionOnLoop("bytesReceived", twin: "loop.spawn { }")
        return transport.state.pointee.bytesReceived
    }

    @inline(__always)
    func preconditionOnLoop(_ name: String, twin: String) {
        if !loop.isCurrent {
            stopProgram(
                "StreamReader.\(name) was called off its loop; from elsewhere await \(twin)")
        }
    }
}

extension StreamReader: CustomStringConvertible {
    /// For example `StreamReader(127.0.0.1:50112, 12 bytes buffered, ended)`; off the loop without
    /// state.
    public var description: String {
        let peer = transport.remoteAddress.map(\.description) ?? "local"
        guard loop.isCurrent else { return "StreamReader(\(peer))" }
        let state = transport.state
        var parts = [peer, "\(state.pointee.input.count) bytes buffered"]
        if state.pointee.hasEnded { parts.append("ended") }
        if state.pointee.readWait != nil { parts.append("waiting") }
        if let failure = state.pointee.inputFailure { parts.append("\(failure.error)") }
        if state.pointee.phase != .open { parts.append("\(state.pointee.phase)") }
        return "StreamReader(\(parts.joined(separator: ", ")))"
    }
}
