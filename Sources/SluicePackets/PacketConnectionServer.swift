// Serving and connecting with packet connections. Floor 3; any thread.

public import SluiceReactor
public import SluiceStreams

/// What a client of a server of packet connections is handed to: runs as a task of its loop.
public typealias ConnectionHandler = @Sendable (PacketConnection) async throws -> Void

/// Starts a server whose handler gets each client as a packet connection.
///
/// Everything else is as `startServer` with a reader and a writer has it: the handler's scope owns
/// the connection.
///
/// - Parameters:
///   - host: as there, and so are port, loop, loops and options.
///   - packets: how packets look, from the server's side.
///   - context: what each connection begins with.
///   - hooks: as of ``PacketConnection``.
///   - handler: gets each client.
/// - Throws: ``PacketError/duplicateID(_:types:)``; as there, as ``PacketError/stream(_:)``.
public nonisolated(nonsending) func startServer(
    host: String = "127.0.0.1", port: Int, packets: PacketFormat,
    context: (any Hashable & Sendable)? = nil, hooks: PacketHooks? = nil,
    on loop: EventLoop? = nil, loops: EventLoopGroup? = nil,
    options: ServerOptions = ServerOptions(), handler: @escaping ConnectionHandler
) async throws(PacketError) -> Server {
    let serve = try serving(packets, context, hooks, handler)
    do throws(StreamError) {
        return try await startServer(
            host: host, port: port, on: loop, loops: loops, options: options, handler: serve)
    } catch {
        throw .stream(error)
    }
}

/// The same on any sort of address.
public nonisolated(nonsending) func startServer(
    _ address: ListenAddress, packets: PacketFormat, context: (any Hashable & Sendable)? = nil,
    hooks: PacketHooks? = nil, on loop: EventLoop? = nil, loops: EventLoopGroup? = nil,
    options: ServerOptions = ServerOptions(), handler: @escaping ConnectionHandler
) async throws(PacketError) -> Server {
    let serve = try serving(packets, context, hooks, handler)
    do throws(StreamError) {
        return try await startServer(
            address, on: loop, loops: loops, options: options, handler: serve)
    } catch {
        throw .stream(error)
    }
}

/// The tables of ids are made once, and shared.
private func serving(
    _ format: PacketFormat, _ context: (any Hashable & Sendable)?, _ hooks: PacketHooks?,
    _ handler: @escaping ConnectionHandler
) throws(PacketError) -> ClientHandler {
    let prepared = try format.prepared(in: context)
    let connection = { @Sendable (reader: StreamReader, writer: StreamWriter) in
        PacketConnection(reader, writer, format, prepared, hooks)
    }
    return { reader, writer in try await handler(connection(reader, writer)) }
}

/// Connects to a TCP service that speaks packets.
///
/// - Parameters:
///   - host: as in `openConnection` without packets, and so are the others.
///   - packets: how packets look, from this side: `reversed` if it is the server's.
///   - context: what the connection begins with.
///   - hooks: as of ``PacketConnection``.
/// - Throws: ``PacketError/duplicateID(_:types:)``; as there, as ``PacketError/stream(_:)``.
public nonisolated(nonsending) func openPacketConnection(
    host: String, port: Int, packets: PacketFormat, context: (any Hashable & Sendable)? = nil,
    hooks: PacketHooks? = nil, from localHost: String? = nil, timeout: Duration = .seconds(30),
    on loop: EventLoop? = nil, options: StreamOptions = StreamOptions(),
    socket: SocketOptions = SocketOptions()
) async throws(PacketError) -> PacketConnection {
    let prepared = try packets.prepared(in: context)
    do throws(StreamError) {
        let (reader, writer) = try await openConnection(
            host: host, port: port, from: localHost, timeout: timeout, on: loop,
            options: options, socket: socket)
        return PacketConnection(reader, writer, packets, prepared, hooks)
    } catch {
        throw .stream(error)
    }
}
