// What stands behind the calls of a request connection, and its end. Floor 3.

internal import SluiceReactor
public import SluiceStreams

extension RequestConnection {
    nonisolated(nonsending) func callHere(
        _ request: Request, _ label: String?, _ within: Duration?
    ) async throws -> Response {
        let pending = try await launch(request, label, within)
        switch await pending.response() {
        case .success(let response): return try response.fulfilled()
        case .failure(let error):
            pending.giveUp(error)
            throw error
        }
    }

    nonisolated(nonsending) func submit<Value: Sendable>(
        _ type: UInt64, flags: UInt64, payload: [UInt8], channel: UInt64, label: String?,
        within: Duration?, decodeAnswer: @escaping @Sendable (Response) throws -> Value
    ) async throws -> PendingRequest<Value> {
        let request = Request(type, flags: flags, payload: payload, channel: channel)
        if loop.isHome(#isolation) {
            return PendingRequest(try await launch(request, label, within), decodeAnswer)
        }
        let result: Result<PendingCore, any Error> = await loop.hop {
            do { return .success(try await self.launch(request, label, within)) } catch {
                return .failure(error)
            }
        }
        return PendingRequest(try result.get(), decodeAnswer)
    }

    /// Sends it, as soon as there is room.
    private nonisolated(nonsending) func launch(
        _ request: Request, _ label: String?, _ within: Duration?
    ) async throws -> PendingCore {
        try check(request)
        var deadline = UInt64.max
        if let within = within ?? settings.options.requestTimeout {
            let (end, isOver) = loop.now().addingReportingOverflow(within.clampedNanoseconds)
            if !isOver { deadline = end }
        }
        let pump = try await opened(until: deadline)
        if let refusal = pump.refusalToSubmit { throw refusal }
        guard pump.mayUse(request.channel) else {
            throw PacketError.unencodable("a channel over the limit")
        }
        let pending = PendingCore(request, label: label, pump)
        if deadline < .max { pending.arm(deadline) }
        if pump.state.pointee.submittingCount == 0, pump.hasRoom(request.channel) {
            pump.launch(pending)
            return pending
        }
        pump.enqueue(pending)
        try await pending.waitForPlace()
        return pending
    }

    private func check(_ request: Request) throws(PacketError) {
        guard request.type < .max else { throw .unencodable("a type over 2^64 - 2") }
        guard request.flags <= RequestHeader.requestFlags else {
            throw .unencodable("flags of more than 62 bits")
        }
        let header = RequestHeader(
            kind: .request(request.type), tag: .max, channel: request.channel,
            flags: request.flags)
        let limit = settings.options.packetLimit
        guard header.size(payload: request.payload.count) <= limit else {
            throw .limitExceeded(limit: limit)
        }
    }

    // MARK: The end

    /// Tells the peer that no more requests come from this side. Later submissions throw
    /// `stream(.closed)`, in this life of the connection; the peer's requests are still answered.
    public nonisolated(nonsending) func endRequests() async {
        await onPump { $0.endRequests() }
    }

    /// Tells the peer that nothing more comes from this side, once the requests that it has sent
    /// are answered. Its later ones are refused or unanswered; answers to this side's are still
    /// received.
    ///
    /// A stock peer gives its own requests up when it gets that.
    public nonisolated(nonsending) func sendEOF() async {
        await onPump { $0.endSending() }
    }

    /// Waits until the connection is over: both sides have said their end and the streams are
    /// closed, or something broke it. A handler that waits for that waits for itself.
    ///
    /// - Throws: what broke it; ``PacketError/idle``; `stream(.cancelled)` or `stream(.timedOut)`
    ///   for this task's wait alone.
    public nonisolated(nonsending) func join() async throws(PacketError) {
        try await join(receivingOnly: false)
    }

    /// Waits until nothing more comes from the peer. What servers wait for.
    ///
    /// - Throws: as ``join()``.
    public nonisolated(nonsending) func joinReceive() async throws(PacketError) {
        try await join(receivingOnly: true)
    }

    private nonisolated(nonsending) func join(receivingOnly: Bool) async throws(PacketError) {
        let result: Result<Void, PacketError> = await loop.hop {
            guard let pump = self.pump else { return .success(()) }
            do throws(PacketError) {
                return .success(try await pump.join(receivingOnly: receivingOnly))
            } catch {
                return .failure(error)
            }
        }
        try result.get()
    }

    /// Closes in order: this side's requests fail with `stream(.closed)` at once, its handlers
    /// answer what they have, both ends are said, the streams closed. Idempotent. Never throws.
    ///
    /// A cancelled task does not wait any longer; the close goes on. A handler that closes its own
    /// connection waits for its own answer, up to the deadline: let a task of the loop do it.
    ///
    /// - Parameter within: until it becomes an abort; ``RequestOptions/closeTimeout`` by default.
    public nonisolated(nonsending) func close(within: Duration? = nil) async {
        await loop.hop {
            self.wasClosed = true
            self.opener?.end(.stream(.closed))
            let lives = Self.lives(self.opener, self.pump)
            for life in lives { life.startClosing(within: within?.clampedNanoseconds) }
            for life in lives { try? await life.join(receivingOnly: false) }
        }
    }

    /// Ends it now: what is queued is lost, everybody who waits gets `stream(.aborted)`.
    public nonisolated(nonsending) func abort() async {
        if loop.isCurrent { return abortHere() }
        await loop.hop { self.abortHere() }
    }

    private func abortHere() {
        wasClosed = true
        opener?.end(.stream(.aborted))
        for life in Self.lives(opener, pump) { life.abort(.stream(.aborted)) }
    }

    private nonisolated(nonsending) func onPump(
        _ body: @escaping @Sendable (RequestPump) -> Void
    ) async {
        if loop.isCurrent {
            if let pump { body(pump) }
            return
        }
        await loop.hop { if let pump = self.pump { body(pump) } }
    }

    // MARK: State

    /// Whether no more requests can be sent: this side closes or has ended them, or the connection
    /// is over and is not opened again. On the loop's thread.
    public var isClosing: Bool {
        precondition(loop.isCurrent, "isClosing was asked off its loop")
        return wasClosed || (opener == nil && pump?.refusalToSubmit != nil)
    }

    /// What it has done in the life in progress, or the last one. On the loop's thread.
    public var statistics: RequestStatistics {
        precondition(loop.isCurrent, "statistics were asked off their loop")
        return pump?.state.pointee.statistics ?? RequestStatistics()
    }

    /// Requests of this side's that wait for an answer. On the loop's thread.
    public var requestsInFlight: Int {
        precondition(loop.isCurrent, "requestsInFlight was asked off its loop")
        return pump?.state.pointee.pendingCount ?? 0
    }

    /// Its stream's receiving half; `nil` before it is first opened. On the loop's thread.
    public var reader: StreamReader? { pump?.reader }
    /// Its stream's sending half; `nil` before it is first opened. On the loop's thread.
    public var writer: StreamWriter? { pump?.writer }
}
