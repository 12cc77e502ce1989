// Serving and connecting with a codec: handlers that get an endpoint. Floor 3; any thread.

public import SluiceReactor
public import SluiceStreams

/// What a client of a packet server is handed to: runs as a task of the server's loop.
public typealias EndpointHandler<Sent: Sendable, Received: Sendable> =
    @Sendable (StreamEndpoint<Sent, Received>) async throws -> Void

/// Starts a server whose handler gets each client as an endpoint, with a codec of its own.
///
/// Everything else is as `startServer` with a reader and a writer has it: the handler's scope owns
/// the connection.
///
/// - Parameters:
///   - host: as there, and so are port, loop, loops and options.
///   - codec: fresh; each connection begins with a copy.
///   - handler: gets each client.
/// - Throws: as there.
@inlinable
public nonisolated(nonsending) func startServer<C: Codec>(
    host: String = "127.0.0.1", port: Int, codec: C, on loop: EventLoop? = nil,
    loops: EventLoopGroup? = nil, options: ServerOptions = ServerOptions(),
    handler: @escaping EndpointHandler<C.Sent, C.Received>
) async throws(StreamError) -> Server {
    let serve = serving(codec, handler)
    return try await startServer(
        host: host, port: port, on: loop, loops: loops, options: options, handler: serve)
}

/// The same on any sort of address.
@inlinable
public nonisolated(nonsending) func startServer<C: Codec>(
    _ address: ListenAddress, codec: C, on loop: EventLoop? = nil, loops: EventLoopGroup? = nil,
    options: ServerOptions = ServerOptions(),
    handler: @escaping EndpointHandler<C.Sent, C.Received>
) async throws(StreamError) -> Server {
    let serve = serving(codec, handler)
    return try await startServer(
        address, on: loop, loops: loops, options: options, handler: serve)
}

/// A handler of streams that makes endpoints of them. Made by a closure of its own, lest the
/// codec's copy lies on the task of each connection.
@inlinable
func serving<C: Codec>(
    _ codec: C, _ handler: @escaping EndpointHandler<C.Sent, C.Received>
) -> ClientHandler {
    let endpoint = { @Sendable (reader: StreamReader, writer: StreamWriter) in
        StreamEndpoint(reader, writer, codec)
    }
    return { reader, writer in try await handler(endpoint(reader, writer)) }
}

/// Connects to a TCP service and joins the stream with a codec.
///
/// - Parameters:
///   - host: as in `openConnection` without a codec, and so are the others.
///   - codec: fresh.
/// - Throws: as there.
@inlinable
public nonisolated(nonsending) func openConnection<C: Codec>(
    host: String, port: Int, codec: C, from localHost: String? = nil,
    timeout: Duration = .seconds(30), on loop: EventLoop? = nil,
    options: StreamOptions = StreamOptions(), socket: SocketOptions = SocketOptions()
) async throws(StreamError) -> StreamEndpoint<C.Sent, C.Received> {
    let (reader, writer) = try await openConnection(
        host: host, port: port, from: localHost, timeout: timeout, on: loop, options: options,
        socket: socket)
    return StreamEndpoint(reader, writer, codec)
}
