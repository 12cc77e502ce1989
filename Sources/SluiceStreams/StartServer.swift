// startServer: from a host and port to a listening server. Floor 2; any thread.

public import SluiceReactor

/// Starts a TCP server and calls `handler` with a reader and a writer for each client.
///
/// The handler runs as a task of the server's loop; its scope owns the connection. When it returns,
/// what it wrote is flushed and the connection closed in order, also for a client that is still
/// sending. When it throws, the connection is closed at once, the error is reported once, the
/// server lives.
///
/// - Parameters:
///   - host: a numeric address or a name, resolved off the loop; all of a name's addresses are
///     listened on. `127.0.0.1` by default: nothing is exposed by omission.
///   - port: 0 to 65,535; 0 lets the kernel choose one, the same for every address of the host.
///   - loop: serves it; by default the loop the caller runs on, else ``EventLoop/background``.
///   - options: limits and deadlines.
///   - handler: gets each client.
/// - Returns: the server, once it is bound and listening: a client may connect at once.
/// - Throws: ``StreamError/listenFailed(address:_:)`` with the address and the call that failed;
///   ``StreamError/invalidOption(name:rule:)``; ``StreamError/reactor(_:)`` if the name does not
///   resolve.
public nonisolated(nonsending) func startServer(
    host: String = "127.0.0.1", port: Int, on loop: EventLoop? = nil,
    options: ServerOptions = ServerOptions(), handler: @escaping ClientHandler
) async throws(StreamError) -> Server {
    try await startServer(host, port, loop, options, .task(handler))
}

/// The same with a plain function: it must not block, and the connection lives until it is closed
/// or its reader and writer are dropped.
public nonisolated(nonsending) func startServer(
    host: String = "127.0.0.1", port: Int, on loop: EventLoop? = nil,
    options: ServerOptions = ServerOptions(), handler: @escaping PlainClientHandler
) async throws(StreamError) -> Server {
    try await startServer(host, port, loop, options, .plain(handler))
}

private nonisolated(nonsending) func startServer(
    _ host: String, _ port: Int, _ loop: EventLoop?, _ options: ServerOptions,
    _ handler: ServedConnection.Handler
) async throws(StreamError) -> Server {
    let settings = try options.checked()
    let addresses: [SocketAddress]
    do throws(ReactorError) {
        addresses = try await resolve(host: host, port: port)
    } catch {
        throw .reactor(error)
    }
    let loop = loop ?? EventLoop.current ?? EventLoop.background
    let result: Result<Server, StreamError> =
        loop.isCurrent
        ? listen(addresses, loop, settings, handler)
        : await loop.hop { listen(addresses, loop, settings, handler) }
    return try result.get()
}

/// Listens on all addresses or on none. With port 0 the first address's port is taken for the
/// others; should one of them have it taken already, another one is tried.
private func listen(
    _ addresses: [SocketAddress], _ loop: EventLoop, _ settings: ServerSettings,
    _ handler: ServedConnection.Handler
) -> Result<Server, StreamError> {
    if loop.hasStopped { return .failure(.reactor(.stopped)) }
    var attempts = addresses.count > 1 && addresses.first?.port == 0 ? 16 : 1
    while true {
        attempts -= 1
        var listeners: [Listener] = []
        do throws(StreamError) {
            for address in addresses {
                let wanted = listeners.first.flatMap { address.with(port: $0.address.port) }
                listeners.append(
                    try Listener(address: wanted ?? address, settings: settings, loop: loop))
            }
            return .success(
                Server(loop: loop, listeners: listeners, settings: settings, handler: handler))
        } catch {
            for listener in listeners { listener.close() }
            if attempts == 0 || listeners.isEmpty { return .failure(error) }
        }
    }
}

extension SocketAddress {
    /// The same host with another port, if this one has port 0.
    fileprivate func with(port: Int?) -> SocketAddress? {
        guard self.port == 0, let port, let host else { return nil }
        return SocketAddress(host, port: port)
    }
}
