// PacketHandler: a service as a type, with a method for each event of a connection's life. Floor 3;
// its methods run on the connection's loop.

public import SluiceReactor
public import SluiceStreams

/// A packet service as one value, for those who want more than a closure: one for all connections.
///
/// For each client: ``connected(_:)`` first, which may receive and send itself (a login), then
/// ``handle(_:_:_:)`` for each packet in turn, at last ``disconnected(_:_:_:)``. All of a client's
/// calls are made one after the other by one task on its connection's loop. When they are over the
/// connection is closed in order; what a method throws closes it at once, and is reported.
public protocol PacketHandler<Sent, Received>: Sendable {
    /// What is sent.
    associatedtype Sent: Sendable
    /// What is received.
    associatedtype Received: Sendable
    /// What is kept for each connection.
    associatedtype Session: Sendable = Void

    /// The service listens, and has accepted nobody: clients wait in the backlog meanwhile.
    ///
    /// What it throws ends the server and is thrown by `startServer`.
    func serviceStarted(_ server: Server) async throws

    /// A client has come. It may receive and send, with a deadline by `withTimeout`; a packet that
    /// it does not receive is handled.
    ///
    /// - Returns: the session, for the other methods. When it throws, nothing else is called.
    func connected(_ connection: StreamEndpoint<Sent, Received>) async throws -> Session

    /// A packet has come. The method may receive those that belong to it, and the next one is
    /// received when it has returned; to end the connection it closes it.
    func handle(
        _ packet: Received, _ connection: StreamEndpoint<Sent, Received>,
        _ session: inout Session
    ) async throws

    /// A unit that makes no sense was passed over (`malformed`, `limitExceeded`). To go on behind
    /// it, return; to close, throw, which is what the default does with the error.
    func handle(
        _ error: PacketError, _ connection: StreamEndpoint<Sent, Received>,
        _ session: inout Session
    ) async throws

    /// The connection is over, however: once for each call of `connected` that returned. The peer
    /// may be gone: addresses and statistics are still there, sending may fail.
    ///
    /// - Parameter error: what ended it; `nil` after the peer's orderly end and this side's close
    ///   or abort.
    func disconnected(
        _ connection: StreamEndpoint<Sent, Received>, _ session: Session, _ error: (any Error)?
    ) async
}

extension PacketHandler {
    /// Does nothing.
    public func serviceStarted(_ server: Server) async throws {}

    /// Throws the error.
    public func handle(
        _ error: PacketError, _ connection: StreamEndpoint<Sent, Received>,
        _ session: inout Session
    ) async throws {
        throw error
    }

    /// Does nothing.
    public func disconnected(
        _ connection: StreamEndpoint<Sent, Received>, _ session: Session, _ error: (any Error)?
    ) async {}
}

extension PacketHandler where Session == Void {
    /// Does nothing.
    public func connected(_ connection: StreamEndpoint<Sent, Received>) async throws {}
}

extension PacketHandler {
    /// A connection's whole life.
    @usableFromInline
    nonisolated(nonsending) func serve(
        _ connection: StreamEndpoint<Sent, Received>
    ) async throws {
        var session = try await connected(connection)
        do {
            while try await handleNext(connection, &session) {}
        } catch {
            // What this side did is no error: a read may be waiting while another task closes.
            let isOwnEnd = connection.writer.isClosing && (error as? PacketError)?.isOwnEnd == true
            await disconnected(connection, session, isOwnEnd ? nil : error)
            if isOwnEnd { return }
            throw error
        }
        await disconnected(connection, session, nil)
    }

    /// Receives and handles one packet, or one that makes no sense. False at the end.
    private nonisolated(nonsending) func handleNext(
        _ connection: StreamEndpoint<Sent, Received>, _ session: inout Session
    ) async throws -> Bool {
        let packet: Received?
        do throws(PacketError) {
            packet = try await connection.receive()
        } catch {
            guard error.isPassedOver else { throw error }
            try await handle(error, connection, &session)
            return true
        }
        guard let packet else { return false }
        try await handle(packet, connection, &session)
        return true
    }
}

extension PacketError {
    /// Whether it says that this side has ended the stream.
    fileprivate var isOwnEnd: Bool { self == .stream(.closed) || self == .stream(.aborted) }

    /// Whether the receive after it goes on.
    fileprivate var isPassedOver: Bool {
        switch self {
        case .malformed, .limitExceeded: true
        default: false
        }
    }
}

/// Starts a server for a service. As `startServer` with a codec and a closure, but for what
/// ``PacketHandler`` says.
///
/// - Throws: as there, and what ``PacketHandler/serviceStarted(_:)`` throws.
@inlinable
public nonisolated(nonsending) func startServer<C: Codec, H: PacketHandler<C.Sent, C.Received>>(
    host: String = "127.0.0.1", port: Int, codec: C, on loop: EventLoop? = nil,
    loops: EventLoopGroup? = nil, options: ServerOptions = ServerOptions(), service: H
) async throws -> Server {
    try await start(service, options) { options throws(StreamError) in
        try await startServer(
            host: host, port: port, codec: codec, on: loop, loops: loops, options: options
        ) { try await service.serve($0) }
    }
}

/// The same on any sort of address.
@inlinable
public nonisolated(nonsending) func startServer<C: Codec, H: PacketHandler<C.Sent, C.Received>>(
    _ address: ListenAddress, codec: C, on loop: EventLoop? = nil, loops: EventLoopGroup? = nil,
    options: ServerOptions = ServerOptions(), service: H
) async throws -> Server {
    try await start(service, options) { options throws(StreamError) in
        try await startServer(address, codec: codec, on: loop, loops: loops, options: options) {
            try await service.serve($0)
        }
    }
}

@usableFromInline
nonisolated(nonsending) func start(
    _ service: some PacketHandler, _ options: ServerOptions,
    _ listen: nonisolated(nonsending) (ServerOptions) async throws(StreamError) -> Server
) async throws -> Server {
    var options = options
    options.isHeld = true
    let server = try await listen(options)
    do {
        try await service.serviceStarted(server)
    } catch {
        await server.close()
        throw error
    }
    await server.release()
    return server
}
