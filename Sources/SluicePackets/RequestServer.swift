// Serving and connecting with requests. Floor 3; any thread.

public import SluiceReactor
public import SluiceStreams

/// Starts a server whose clients send requests, and may be sent some: `handler` gets the connection
/// too.
///
///     let server = try await startServer(port: 7777) { request, _ in
///         request.type == 0 ? .bytes(request.payload) : .text("what?")
///     }
///
/// Each connection ends when its peer has ended it, and its handlers are done. Everything else is
/// as `startServer` with a reader and a writer has it.
///
/// - Parameters:
///   - host: as there, and so are port, loop, loops and options.
///   - requests: the bounds of each connection.
///   - handler: answers the requests of all clients.
/// - Throws: as there.
public nonisolated(nonsending) func startServer(
    host: String = "127.0.0.1", port: Int, requests: RequestOptions = RequestOptions(),
    on loop: EventLoop? = nil, loops: EventLoopGroup? = nil,
    options: ServerOptions = ServerOptions(), requestHandler handler: @escaping RequestHandler
) async throws(StreamError) -> Server {
    try await startServer(
        host: host, port: port, on: loop, loops: loops, options: options,
        handler: try servingRequests(requests, handler))
}

/// The same on any sort of address.
public nonisolated(nonsending) func startServer(
    _ address: ListenAddress, requests: RequestOptions = RequestOptions(),
    on loop: EventLoop? = nil, loops: EventLoopGroup? = nil,
    options: ServerOptions = ServerOptions(), requestHandler handler: @escaping RequestHandler
) async throws(StreamError) -> Server {
    try await startServer(
        address, on: loop, loops: loops, options: options,
        handler: try servingRequests(requests, handler))
}

private func servingRequests(
    _ requests: RequestOptions, _ handler: @escaping RequestHandler
) throws(StreamError) -> ClientHandler {
    try requests.check()
    let settings = RequestSettings(requests, handler)
    return { reader, writer in
        try await RequestConnection(reader, writer, settings).serve()
    }
}

extension RequestConnection {
    /// A server's handler: the first worker, then the wait for the end. So an idle connection has
    /// one task.
    nonisolated(nonsending) func serve() async throws {
        guard let pump else { return }
        let worker = RequestWorker()
        // Used on this thread alone, and only while this task lives.
        withUnsafeCurrentTask { worker.outerTask = $0 }
        await pump.run(worker, stays: true)
        worker.outerTask = nil
        try await pump.joinAsHandler()
    }
}

extension RequestPump {
    /// Waits for the end; throws at once what has broken the connection. Not inlined, as above.
    @inline(never)
    fileprivate nonisolated(nonsending) func joinAsHandler() async throws {
        if let reason = state.pointee.ending.reason { throw reason }
        try await join(receivingOnly: false)
    }
}

/// Connects to a service of requests.
///
/// - Parameters:
///   - host: as in `openConnection`, and so are the others.
///   - requests: the bounds.
///   - handler: answers the peer's requests; without one they are refused.
/// - Throws: as there.
public nonisolated(nonsending) func openRequestConnection(
    host: String, port: Int, requests: RequestOptions = RequestOptions(),
    from localHost: String? = nil, timeout: Duration = .seconds(30), on loop: EventLoop? = nil,
    options: StreamOptions = StreamOptions(), socket: SocketOptions = SocketOptions(),
    handler: RequestHandler? = nil
) async throws(StreamError) -> RequestConnection {
    try requests.check()
    let (reader, writer) = try await openConnection(
        host: host, port: port, from: localHost, timeout: timeout, on: loop, options: options,
        socket: socket)
    return RequestConnection(reader, writer, options: requests, handler: handler)
}
