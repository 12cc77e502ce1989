// How reads are carried out: the buffered fast paths, and the one loop behind all slow ones. Floor
// 2.

internal import SluiceReactor

extension StreamReader {
    // MARK: Fast paths: nil means "not without looking closer"

    /// Whether a read may take buffered bytes at once: on the loop, open, alone, and not for too
    /// long.
    @inline(__always)
    func mayLookAtBuffered() -> Bool {
        guard transport.loop.isCurrent else { return false }
        let state = transport.state
        return state.pointee.phase == .open && !state.pointee.isReading
            && state.pointee.resultsInARow < StreamBounds.resultsInARow
    }

    /// The same, counting the result that is about to be given.
    @inline(__always)
    func mayTakeBuffered() -> Bool {
        guard mayLookAtBuffered() else { return false }
        transport.state.pointee.resultsInARow &+= 1
        return true
    }

    @usableFromInline
    func bufferedBytes(upTo count: Int) -> [UInt8]? {
        guard mayTakeBuffered(), !transport.state.pointee.input.isEmpty, count > 0 else {
            return nil
        }
        return take(count)
    }

    @usableFromInline
    func bufferedBytes(exactly count: Int) -> [UInt8]? {
        guard mayTakeBuffered(), count > 0, transport.state.pointee.input.count >= count else {
            return nil
        }
        return take(count)
    }

    @usableFromInline
    func bufferedLine(limit: Int?, strippingTerminator: Bool) -> [UInt8]? {
        guard mayTakeBuffered(), let index = transport.state.pointee.input.indexOfLF(),
            limit ?? 1 > 0, index <= limit ?? transport.settings.limit
        else { return nil }
        return takeLine(index + 1, strippingTerminator: strippingTerminator)
    }

    @usableFromInline
    func hasBufferedBytes() -> Bool {
        mayLookAtBuffered() && !transport.state.pointee.input.isEmpty
    }

    // MARK: Slow paths

    @usableFromInline
    nonisolated(nonsending) func readSlowly(
        upTo count: Int
    ) async throws(StreamError) -> [UInt8]? {
        precondition(count > 0, "read(upTo:) needs a count of 1 or more")
        guard transport.isHome(#isolation) else { return try await readFromElsewhere(upTo: count) }
        return try await reading { state, ended throws(StreamError) -> [UInt8]?? in
            if !state.pointee.input.isEmpty { return self.take(count) }
            if ended { return .some(nil) }
            return self.receiveDirectly(upTo: count)
        }
    }

    /// A receive straight into the returned array, where large ones are expected; else nil.
    private func receiveDirectly(upTo count: Int) -> [UInt8]?? {
        let state = transport.state
        let expected = state.pointee.input.expected
        guard expected >= StreamBounds.directReceiveBytes, transport.mayReceive,
            state.pointee.phase == .open, state.pointee.inputFailure == nil,
            !state.pointee.hasEnded
        else { return nil }
        // Twice what came last, so that a receive of the same size is seen to be short.
        let capacity = min(
            count, max(2 * expected, StreamBounds.receiveBytes / 4), transport.receiveShare)
        var received = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: capacity) { target, initialized in
            if let base = target.baseAddress {
                received = transport.receiveOnce(into: base, count: capacity)
            }
            initialized = received
        }
        guard received > 0 else { return nil }
        state.pointee.input.expect(received)
        return .some(bytes)
    }

    @usableFromInline
    nonisolated(nonsending) func readExactlySlowly(
        _ count: Int
    ) async throws(StreamError) -> [UInt8] {
        precondition(count >= 0, "readExactly needs a count of 0 or more")
        guard transport.isHome(#isolation) else { return try await readExactlyFromElsewhere(count) }
        return try await reading { state, ended throws(StreamError) in
            if state.pointee.input.count >= count { return self.take(count) }
            if ended { throw .truncated(received: self.take(.max), expected: count) }
            return nil
        }
    }

    @usableFromInline
    nonisolated(nonsending) func readLineSlowly(
        limit: Int?, strippingTerminator: Bool
    ) async throws(StreamError) -> [UInt8]? {
        guard transport.isHome(#isolation) else {
            return try await readLineFromElsewhere(limit, strippingTerminator)
        }
        let limit = limitInForce(limit)
        return try await reading { state, ended throws(StreamError) -> [UInt8]?? in
            guard let length = try self.lineLength(limit: limit, ended: ended) else { return nil }
            if length == 0 { return .some(nil) }
            return self.takeLine(length, strippingTerminator: strippingTerminator)
        }
    }

    /// Length of the next line with its LF, 0 at the end of the stream, `nil` if more has to come.
    func lineLength(limit: Int, ended: Bool) throws(StreamError) -> Int? {
        let state = transport.state
        if let index = state.pointee.input.indexOfLF() {
            if index > limit {
                throw .limitExceeded(limit: limit, scanned: index, separatorFound: true)
            }
            return index + 1
        }
        let count = state.pointee.input.count
        if count > limit {
            throw .limitExceeded(limit: limit, scanned: count, separatorFound: false)
        }
        return ended ? count : nil
    }

    @usableFromInline
    nonisolated(nonsending) func hasMoreSlowly() async throws(StreamError) -> Bool {
        guard transport.isHome(#isolation) else { return try await hasMoreFromElsewhere() }
        return try await reading { state, ended throws(StreamError) in
            if !state.pointee.input.isEmpty { return true }
            return ended ? false : nil
        }
    }

    // MARK: The shape of every read

    /// Tries, fills, tries again. On the loop's thread.
    ///
    /// - Parameter attempt: gets the state and whether the stream has ended; returns `nil` for more
    ///   bytes, which it must not do at the end. It consumes only when it returns a result.
    nonisolated(nonsending) func reading<R>(
        _ attempt: (UnsafeMutablePointer<TransportState>, Bool) throws(StreamError) -> R?
    ) async throws(StreamError) -> R {
        let transport = self.transport
        try transport.beginReading()
        defer { transport.endReading() }
        let state = transport.state
        if state.pointee.resultsInARow >= StreamBounds.resultsInARow {
            try await transport.takeTurns()
        }
        // A wait begins the row anew.
        state.pointee.resultsInARow &+= 1
        while true {
            if let result = try attempt(state, false) { return result }
            switch try transport.fill() {
            case .bytes: continue
            case .shareUsed: try await transport.takeTurns()
            case .blocked:
                let outcome =
                    transport.isHandlerTask
                    ? await transport.waitAsHandler() : await transport.waitAsGuest()
                try transport.inputWaitEnded(outcome)
            case .end:
                if let result = try attempt(state, true) { return result }
                preconditionFailure("a read must have a result at the end of the stream")
            }
        }
    }

    /// The same call made on the loop.
    nonisolated(nonsending) func hop<R: Sendable>(
        _ body: @escaping @Sendable (StreamReader) async throws(StreamError) -> R
    ) async throws(StreamError) -> R {
        let result: Result<R, StreamError> = await loop.hop {
            do throws(StreamError) { return .success(try await body(self)) } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    // Functions of their own, since what they need would widen the frames of those that wait.

    @inline(never)
    private nonisolated(nonsending) func readFromElsewhere(
        upTo count: Int
    ) async throws(StreamError) -> [UInt8]? {
        try await hop { reader throws(StreamError) in try await reader.readSlowly(upTo: count) }
    }

    @inline(never)
    private nonisolated(nonsending) func readExactlyFromElsewhere(
        _ count: Int
    ) async throws(StreamError) -> [UInt8] {
        try await hop { reader throws(StreamError) in try await reader.readExactlySlowly(count) }
    }

    @inline(never)
    private nonisolated(nonsending) func readLineFromElsewhere(
        _ limit: Int?, _ strippingTerminator: Bool
    ) async throws(StreamError) -> [UInt8]? {
        try await hop { reader throws(StreamError) in
            try await reader.readLineSlowly(limit: limit, strippingTerminator: strippingTerminator)
        }
    }

    @inline(never)
    private nonisolated(nonsending) func hasMoreFromElsewhere() async throws(StreamError) -> Bool {
        try await hop { reader throws(StreamError) in try await reader.hasMoreSlowly() }
    }

    // MARK: Taking bytes out

    /// Removes and returns up to `count` buffered bytes.
    func take(_ count: Int) -> [UInt8] {
        let state = transport.state
        let taken = min(count, state.pointee.input.count)
        let bytes = state.pointee.input.prefix(taken)
        state.pointee.input.consume(taken)
        return bytes
    }

    /// Removes a line of `length` bytes and returns it, with or without LF and CRLF.
    func takeLine(_ length: Int, strippingTerminator: Bool) -> [UInt8] {
        let state = transport.state
        var kept = length
        if strippingTerminator {
            let bytes = state.pointee.input.bytes
            if kept > 0, bytes[kept - 1] == 0x0A {
                kept -= 1
                if kept > 0, bytes[kept - 1] == 0x0D { kept -= 1 }
            }
        }
        let line = state.pointee.input.prefix(kept)
        state.pointee.input.consume(length)
        return line
    }

    func limitInForce(_ limit: Int?) -> Int {
        let limit = limit ?? transport.settings.limit
        precondition(limit > 0, "a limit is 1 byte or more")
        return limit
    }
}
