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
    /// - Returns: the session, for the other methods. When it throws, nothing else is called; what
    ///   it throws because this side has closed meanwhile is reported to nobody.
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
    /// A connection's whole life, as a task of its loop.
    ///
    /// Inlinable, so that it is specialised for the service: what is generic asks for its types and
    /// keeps them in its frame. Its parts are out of line, so that a connection that waits, which
    /// it does here, has nothing of theirs on its task: all its frames fit into one slab then.
    @inlinable
    nonisolated(nonsending) func serve(
        _ connection: StreamEndpoint<Sent, Received>
    ) async throws {
        var session: Session
        do {
            session = try await connected(connection)
        } catch {
            if connection.writer.isOwnEnd(error) { return }
            throw error
        }
        do {
            repeat {
                await connection.receiver.waitForOutcome()
            } while try await handleArrived(connection, &session)
        } catch {
            return try await leave(connection, session, error)
        }
        try await leave(connection, session, nil)
    }

    /// Handles what the wait has come to and whatever else is buffered. False at the end.
    @inlinable
    @inline(never)
    nonisolated(nonsending) func handleArrived(
        _ connection: StreamEndpoint<Sent, Received>, _ session: inout Session
    ) async throws -> Bool {
        var isFirst = true
        while true {
            let packet: Received?
            do throws(PacketError) {
                packet =
                    isFirst
                    ? try connection.receiver.takeOutcome()
                    : try connection.receiver.nextBuffered()
                if packet == nil { return !isFirst }
                isFirst = false
            } catch {
                guard error.isPassedOver else { throw error }
                isFirst = false
                try await handle(error, connection, &session)
                continue
            }
            if let packet { try await handle(packet, connection, &session) }
        }
    }

    /// Tells the service that it is over, and throws what is somebody's failure.
    @inlinable
    @inline(never)
    nonisolated(nonsending) func leave(
        _ connection: StreamEndpoint<Sent, Received>, _ session: Session, _ error: (any Error)?
    ) async throws {
        let failure = error.flatMap { connection.writer.isOwnEnd($0) ? nil : $0 }
        await disconnected(connection, session, failure)
        if let failure { throw failure }
    }
}

extension StreamWriter {
    /// Whether an error says no more than that this side has ended the stream, which is none: a
    /// read may be waiting while another task closes.
    @usableFromInline
    func isOwnEnd(_ error: any Error) -> Bool {
        guard isClosing else { return false }
        switch error {
        case PacketError.stream(.closed), PacketError.stream(.aborted): return true
        case StreamError.closed, StreamError.aborted: return true
        default: return false
        }
    }
}

extension PacketError {
    /// Whether the receive after it goes on.
    @usableFromInline var isPassedOver: Bool {
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
