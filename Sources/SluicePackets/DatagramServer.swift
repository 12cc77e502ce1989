// DatagramServer: a datagram socket whose peers each have a conversation. Floor 3; lives on one
// loop.

public import SluiceReactor
public import SluiceStreams

/// What a peer of a datagram server is handed to: runs as a task of the server's loop.
public typealias DatagramHandler<Sent: Sendable, Received: Sendable> =
    @Sendable (DatagramConversation<Sent, Received>) async throws -> Void

/// Starts a UDP server: one conversation for each source address.
///
/// The first valid datagram of a peer starts the handler as a task of the loop, with a conversation
/// that reads and sends like an endpoint. Later datagrams are queued for it in their order, up to a
/// bound. When the handler returns, the conversation is over: if it received nothing, its first
/// datagram is dropped; what else has come begins a new one. When it throws, that is reported once,
/// the server lives. Nothing is allocated for a peer, and nothing answered, before a datagram of it
/// made a packet.
///
/// Sources can be forged: answers should not be longer than what they answer, and errors and
/// answers should not be answered, lest two servers talk to each other for ever.
///
/// - Parameters:
///   - host: a numeric address or a name. `127.0.0.1` by default: nothing is exposed by omission.
///   - port: 0 to 65,535; 0 lets the kernel choose one.
///   - serializer: one packet per datagram.
///   - loop: by default the loop the caller runs on, else ``EventLoop/background``.
///   - options: limits.
///   - handler: gets each peer.
/// - Throws: as `bindDatagramSocket`.
public nonisolated(nonsending) func startDatagramServer<S: Serializer>(
    host: String = "127.0.0.1", port: Int, serializer: S, on loop: EventLoop? = nil,
    options: DatagramServerOptions = DatagramServerOptions(),
    handler: @escaping DatagramHandler<S.Packet, S.Packet>
) async throws(StreamError) -> DatagramServer {
    try await startDatagramServer(
        .host(host, port: port), sending: serializer, receiving: serializer, on: loop,
        options: options, handler: handler)
}

/// The same on any sort of address, with a serializer for each direction.
public nonisolated(nonsending) func startDatagramServer<Out: Serializer, In: Serializer>(
    _ address: DatagramAddress, sending: Out, receiving: In, on loop: EventLoop? = nil,
    options: DatagramServerOptions = DatagramServerOptions(),
    handler: @escaping DatagramHandler<Out.Packet, In.Packet>
) async throws(StreamError) -> DatagramServer {
    try options.checked()
    let socket = try await bindDatagramSocket(address, on: loop, options: options.socket)
    let core = DatagramSwitch(
        socket, sending: SerializerOf(sending), receiving: SerializerOf(receiving),
        DatagramSender(socket, sending), options: options, handler: handler)
    await socket.loop.hop { core.start() }
    return DatagramServer(core)
}

/// A running datagram server, made by `startDatagramServer`: it serves until it is closed, kept or
/// not. Async calls made elsewhere hop to its loop.
// @unchecked Sendable: a reference to what is touched on the loop's thread alone; every entry hops
// there.
public final class DatagramServer: @unchecked Sendable {
    private let core: DatagramServerCore

    init(_ core: DatagramServerCore) {
        self.core = core
    }

    /// The loop it lives on.
    public var loop: EventLoop { core.loop }
    /// Where it receives; stays after close.
    public var address: SocketAddress { core.socket.localAddress }
    /// Its port, 0 if it has none.
    public var port: Int { address.port ?? 0 }

    /// Receives no more; conversations end once what has come is received, and with the last one
    /// the socket is closed. Idempotent.
    public nonisolated(nonsending) func close() async {
        await onLoop { $0.startClosing() }
    }

    /// Receives no more, lets handlers finish, then cancels them, and closes the socket.
    ///
    /// - Parameter grace: zero or more, for the handlers to receive what has come and to return;
    ///   then their tasks are cancelled, and one second later they are left alone.
    /// - Returns: how many handlers ended in which way.
    @discardableResult
    public nonisolated(nonsending) func shutdown(grace: Duration) async -> ShutdownCounts {
        await loop.hop { await self.core.shutdown(grace: grace) }
    }

    /// Waits until the server is closed and no conversation is left.
    ///
    /// - Throws: ``StreamError/cancelled`` or ``StreamError/timedOut`` for this task alone.
    public nonisolated(nonsending) func waitClosed() async throws(StreamError) {
        let result: Result<Void, StreamError> = await loop.hop {
            do throws(StreamError) { return .success(try await self.core.waitClosed()) } catch {
                return .failure(error)
            }
        }
        try result.get()
    }

    /// Serves until the server is closed elsewhere and its last conversation has ended.
    ///
    /// - Throws: ``StreamError/cancelled`` when the calling task is cancelled, after closing the
    ///   server.
    public nonisolated(nonsending) func serveForever() async throws(StreamError) {
        do throws(StreamError) { try await waitClosed() } catch {
            await close()
            throw error
        }
    }

    /// Counts since the start.
    public nonisolated(nonsending) func statistics() async -> DatagramServerStatistics {
        await onLoop { $0.statistics() }
    }

    private nonisolated(nonsending) func onLoop<R: Sendable>(
        _ body: @escaping @Sendable (DatagramServerCore) -> R
    ) async -> R {
        let core = self.core
        return loop.isCurrent ? body(core) : await loop.hop { body(core) }
    }
}

/// What a server is whatever its packets are. On the loop's thread.
// @unchecked Sendable: touched on the loop's thread alone.
class DatagramServerCore: @unchecked Sendable {
    let socket: DatagramSocket
    final var loop: EventLoop { socket.loop }

    init(_ socket: DatagramSocket) {
        self.socket = socket
    }

    func startClosing() {}
    nonisolated(nonsending) func shutdown(grace: Duration) async -> ShutdownCounts {
        ShutdownCounts()
    }
    nonisolated(nonsending) func waitClosed() async throws(StreamError) {}
    func statistics() -> DatagramServerStatistics { DatagramServerStatistics() }
}
