// Span calls: the bytes where they lie, for hot loops. No array, no copy, no allocation. Floor 2.

internal import SluiceReactor

extension StreamReader {
    /// Shows the next line, its LF included, where it lies in the buffer.
    ///
    /// The line is consumed when `body` returns or throws. `body` must not read from this reader;
    /// it may write, also what it is shown.
    ///
    /// - Parameters:
    ///   - limit: as in `readLine`.
    ///   - body: gets the bytes; the span is valid during the call only.
    /// - Returns: what `body` returns; `nil` at the end of the stream.
    /// - Throws: ``StreamError`` as `readLine`, or what `body` throws.
    @inlinable
    public nonisolated(nonsending) func withLine<R>(
        limit: Int? = nil, _ body: (RawSpan) throws -> R
    ) async throws -> R? {
        var length = bufferedLineLength(limit: limit)
        if length == 0 { length = try await lineLengthSlowly(limit: limit) }
        guard length > 0 else { return nil }
        return try consuming(length, body)
    }

    /// Shows the next `count` bytes. Otherwise as `withLine` and `readExactly`.
    @inlinable
    public nonisolated(nonsending) func withExactly<R>(
        _ count: Int, _ body: (RawSpan) throws -> R
    ) async throws -> R {
        if !hasBuffered(count) { try await bufferSlowly(count) }
        return try consuming(count, body)
    }

    /// Shows what is there, 1 to `count` bytes; `nil` at the end. Otherwise as `withLine`.
    @inlinable
    public nonisolated(nonsending) func withAvailable<R>(
        upTo count: Int = 65_536, _ body: (RawSpan) throws -> R
    ) async throws -> R? {
        precondition(count > 0, "withAvailable(upTo:) needs a count of 1 or more")
        if !mayTakeAvailable(), !(try await hasMoreSlowly()) { return nil }
        return try consuming(count, body)
    }

    /// Shows up to `count` buffered bytes, then consumes them.
    @usableFromInline
    func consuming<R>(_ count: Int, _ body: (RawSpan) throws -> R) throws -> R {
        preconditionOnLoop("a span call", twin: "the calls that return arrays")
        let state = transport.state
        let shown = min(count, state.pointee.input.count)
        transport.beginShowing()
        defer { transport.endShowing(shown) }
        let bytes = UnsafeRawBufferPointer(rebasing: state.pointee.input.bytes.prefix(shown))
        return try body(bytes.bytes)
    }

    /// Whether there are bytes to show at once, as a result that counts.
    @usableFromInline
    func mayTakeAvailable() -> Bool {
        mayTakeBuffered() && !transport.state.pointee.input.isEmpty
    }

    /// Length of a buffered line with its LF, 0 if a closer look is needed.
    @usableFromInline
    func bufferedLineLength(limit: Int?) -> Int {
        guard mayTakeBuffered(), let index = transport.state.pointee.input.indexOfLF(),
            limit ?? 1 > 0, index <= limit ?? transport.settings.limit
        else { return 0 }
        return index + 1
    }

    @usableFromInline
    nonisolated(nonsending) func lineLengthSlowly(limit: Int?) async throws(StreamError) -> Int {
        preconditionHome("withLine", twin: "readLine", #isolation)
        let limit = limitInForce(limit)
        return try await reading { _, ended throws(StreamError) in
            try self.lineLength(limit: limit, ended: ended)
        }
    }

    @usableFromInline
    func hasBuffered(_ count: Int) -> Bool {
        count > 0 && mayTakeBuffered() && transport.state.pointee.input.count >= count
    }

    @usableFromInline
    nonisolated(nonsending) func bufferSlowly(_ count: Int) async throws(StreamError) {
        preconditionHome("withExactly", twin: "readExactly", #isolation)
        precondition(count >= 0, "withExactly needs a count of 0 or more")
        try await reading { state, ended throws(StreamError) -> Void? in
            if state.pointee.input.count >= count { return () }
            if ended { throw .truncated(received: self.take(.max), expected: count) }
            return nil
        }
    }

    /// A span call's body runs where the bytes are, so its task has to live there.
    private func preconditionHome(_ name: String, twin: String, _ isolation: (any Actor)?) {
        if transport.isHome(isolation) { return }
        stopProgram(
            "StreamReader.\(name) was called by a task that does not live on the reader's loop; "
                + "start it by loop.spawn { }, or await \(twin)")
    }
}
