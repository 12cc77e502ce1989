// RequestConnection: requests and answers multiplexed over one stream, both ways. Floor 3; lives on
// its streams' loop.

public import SluiceReactor
public import SluiceStreams

/// Sends requests to the peer and answers the peer's, all over one stream, any number at a time.
///
/// It speaks the wire format of cs.packetstream 20240630. Each side numbers its requests; answers
/// come in the order in which they are ready. A request is answered by the ``RequestHandler``, if
/// there is one. What leaves in one turn of the loop leaves in one system call.
///
/// It begins to read when it is made. However it ends, every request under way and everybody who
/// waits ends with the reason, in one turn of the loop. When nobody holds it any longer it is
/// closed.
///
/// Calls may be made from any task; those that are not `async` on the loop's thread, unless they
/// say otherwise.
// @unchecked Sendable: the state is touched on the loop's thread alone.
public final class RequestConnection: @unchecked Sendable {
    /// The loop it lives on.
    public let loop: EventLoop
    let settings: RequestSettings
    let opener: RequestOpener?
    /// Its life in progress, or the last one; one that opens on demand may have several.
    var pump: RequestPump?
    /// This side has closed it or aborted it: there is no next life.
    var wasClosed = false

    /// A connection over a stream's two halves, or over two streams of the same loop. Any thread.
    ///
    /// - Parameters:
    ///   - reader: nobody else reads from it.
    ///   - writer: nobody else writes to it.
    ///   - options: must be in range.
    ///   - handler: answers the peer's requests; without one they are refused.
    public init(
        _ reader: StreamReader, _ writer: StreamWriter,
        options: RequestOptions = RequestOptions(), handler: RequestHandler? = nil
    ) {
        precondition(reader.loop === writer.loop, "both halves live on the same loop")
        Self.check(options)
        loop = writer.loop
        settings = RequestSettings(options, handler)
        opener = nil
        start(reader, writer)
    }

    /// The same with settings that many share.
    init(_ reader: StreamReader, _ writer: StreamWriter, _ settings: RequestSettings) {
        loop = writer.loop
        self.settings = settings
        opener = nil
        start(reader, writer)
    }

    /// A connection that is opened at its first request, closed when it is idle, and opened again.
    /// Any thread.
    ///
    /// When the peer has ended one life, handlers of that may still answer beside the next one.
    /// `close` and `abort` end all of them; everything else is about the newest.
    ///
    /// - Parameters:
    ///   - loop: where it lives; the caller's by default, else the background loop.
    ///   - options: as above; without an `idleTimeout` it stays open.
    ///   - handler: as above.
    ///   - open: makes the streams, on that loop; as many calls as there are lives.
    public init(
        on loop: EventLoop? = nil, options: RequestOptions = RequestOptions(),
        handler: RequestHandler? = nil,
        opening open: @escaping @Sendable () async throws -> (StreamReader, StreamWriter)
    ) {
        Self.check(options)
        self.loop = loop ?? EventLoop.current ?? .background
        settings = RequestSettings(options, handler)
        opener = RequestOpener(loop: self.loop, open)
    }

    deinit {
        guard let pump else { return }
        let close = { @Sendable [opener] in
            for life in Self.lives(opener, pump) { life.startClosing(within: nil) }
        }
        if loop.isCurrent { return close() }
        loop.postAlways(close)
    }

    /// The life in progress behind those that still end.
    static func lives(_ opener: RequestOpener?, _ pump: RequestPump?) -> [RequestPump] {
        (opener?.earlier ?? []) + (pump.map { [$0] } ?? [])
    }

    private static func check(_ options: RequestOptions) {
        do throws(StreamError) { try options.check() } catch {
            preconditionFailure(error.description)
        }
    }

    @discardableResult
    private func start(_ reader: StreamReader, _ writer: StreamWriter) -> RequestPump {
        if let pump { opener?.replaced(pump) }
        let pump = RequestPump(reader, writer, settings, for: self)
        self.pump = pump
        if loop.isCurrent { pump.begin() } else { loop.postAlways { pump.begin() } }
        return pump
    }

    /// The life in progress, begun if need be. On the loop, at home.
    ///
    /// - Parameter deadline: when the wait for its streams times out.
    nonisolated(nonsending) func opened(until deadline: UInt64) async throws -> RequestPump {
        while true {
            if let pump, opener == nil || !pump.isEnding { return pump }
            guard let opener, !wasClosed else { throw PacketError.stream(.closed) }
            // Nothing if another request was first.
            guard let streams = try await opener.streams(until: deadline) else { continue }
            guard !wasClosed else {
                RequestOpener.close(streams)
                throw PacketError.stream(.closed)
            }
            // Even if it is over already: streams that are dead each time are not tried for ever.
            return start(streams.reader, streams.writer)
        }
    }

    // MARK: Requests

    /// Sends a request, and waits only while too many are under way or too much output is queued.
    ///
    /// - Parameters:
    ///   - type: which of the service's requests: 0 to 2^64 - 2.
    ///   - flags: up to 62 bits.
    ///   - payload: with its header at most ``RequestOptions/packetLimit`` bytes.
    ///   - channel: answers come on the same one. Channels share the output by turns.
    ///   - label: for people.
    ///   - within: for the answer, from now on; ``RequestOptions/requestTimeout`` by default. Then
    ///     the request ends with `stream(.timedOut)`.
    /// - Returns: the handle.
    /// - Throws: ``PacketError/unencodable(_:)`` for what is out of range,
    ///   ``PacketError/limitExceeded(limit:)`` for a payload that is too long: nothing is sent
    ///   then. ``PacketError/peerClosed``, ``PacketError/idle`` or ``PacketError/stream(_:)`` when
    ///   the connection has ended or ends. A call that is cancelled or times out while it waits has
    ///   sent nothing. What the opening of the streams throws, where they are opened on demand.
    public nonisolated(nonsending) func submit(
        _ type: UInt64, flags: UInt64 = 0, payload: [UInt8] = [], channel: UInt64 = 0,
        label: String? = nil, within: Duration? = nil
    ) async throws -> PendingRequest<Response> {
        try await submit(
            type, flags: flags, payload: payload, channel: channel, label: label, within: within,
            decodeAnswer: { $0 })
    }

    /// The same, with the answer decoded when it is asked for.
    ///
    /// - Parameter decodeResponse: gets answers that were fulfilled. What it throws is thrown to
    ///   whoever asked.
    public nonisolated(nonsending) func submit<Value: Sendable>(
        _ type: UInt64, flags: UInt64 = 0, payload: [UInt8] = [], channel: UInt64 = 0,
        label: String? = nil, within: Duration? = nil,
        decodeResponse: @escaping @Sendable (Response) throws -> Value
    ) async throws -> PendingRequest<Value> {
        try await submit(
            type, flags: flags, payload: payload, channel: channel, label: label, within: within,
            decodeAnswer: { try decodeResponse(try $0.fulfilled()) })
    }

    /// Sends a request and waits for its answer. When the call is cancelled, or a `withTimeout`
    /// around it ends it, so is the request.
    ///
    /// - Parameters: as `submit`.
    /// - Returns: the answer of a request that was fulfilled.
    /// - Throws: ``PacketError/requestFailed(_:)`` with the peer's flags and payload if it was not;
    ///   as `submit` and ``PendingRequest/response()`` besides.
    public nonisolated(nonsending) func call(
        _ type: UInt64, flags: UInt64 = 0, payload: [UInt8] = [], channel: UInt64 = 0,
        label: String? = nil, within: Duration? = nil
    ) async throws -> Response {
        let request = Request(type, flags: flags, payload: payload, channel: channel)
        guard loop.isHome(#isolation) else {
            let result: Result<Response, any Error> = await loop.hop {
                do { return .success(try await self.callHere(request, label, within)) } catch {
                    return .failure(error)
                }
            }
            return try result.get()
        }
        return try await callHere(request, label, within)
    }

    /// The same, with the answer decoded.
    public nonisolated(nonsending) func call<Value>(
        _ type: UInt64, flags: UInt64 = 0, payload: [UInt8] = [], channel: UInt64 = 0,
        label: String? = nil, within: Duration? = nil,
        decodeResponse: (Response) throws -> Value
    ) async throws -> Value {
        try decodeResponse(
            try await call(
                type, flags: flags, payload: payload, channel: channel, label: label,
                within: within))
    }
}
