// startServer: from where to listen to a listening server. Floor 2; any thread.

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
///   - loop: accepts, and serves unless `loops` are given; by default the loop the caller runs on,
///     else ``EventLoop/background``.
///   - loops: each connection is handed to the loop with the fewest, and stays there. The first one
///     accepts.
///   - options: limits and deadlines.
///   - handler: gets each client.
/// - Returns: the server, once it is bound and listening: a client may connect at once.
/// - Throws: ``StreamError/listenFailed(address:_:)`` with the address and the call that failed;
///   ``StreamError/invalidOption(name:rule:)``; ``StreamError/reactor(_:)`` if the name does not
///   resolve.
public nonisolated(nonsending) func startServer(
    host: String = "127.0.0.1", port: Int, on loop: EventLoop? = nil,
    loops: EventLoopGroup? = nil, options: ServerOptions = ServerOptions(),
    handler: @escaping ClientHandler
) async throws(StreamError) -> Server {
    try await start(.host(host, port: port), loop, loops, options, .task(handler))
}

/// The same with a plain function: it must not block, and the connection lives until it is closed
/// or its reader and writer are dropped.
public nonisolated(nonsending) func startServer(
    host: String = "127.0.0.1", port: Int, on loop: EventLoop? = nil,
    loops: EventLoopGroup? = nil, options: ServerOptions = ServerOptions(),
    handler: @escaping PlainClientHandler
) async throws(StreamError) -> Server {
    try await start(.host(host, port: port), loop, loops, options, .plain(handler))
}

/// The same on any sort of address: several hosts, all interfaces, a Unix path, an abstract name, a
/// descriptor that listens already.
public nonisolated(nonsending) func startServer(
    _ address: ListenAddress, on loop: EventLoop? = nil, loops: EventLoopGroup? = nil,
    options: ServerOptions = ServerOptions(), handler: @escaping ClientHandler
) async throws(StreamError) -> Server {
    try await start(address, loop, loops, options, .task(handler))
}

/// The same on any sort of address, with a plain function.
public nonisolated(nonsending) func startServer(
    _ address: ListenAddress, on loop: EventLoop? = nil, loops: EventLoopGroup? = nil,
    options: ServerOptions = ServerOptions(), handler: @escaping PlainClientHandler
) async throws(StreamError) -> Server {
    try await start(address, loop, loops, options, .plain(handler))
}

private nonisolated(nonsending) func start(
    _ address: ListenAddress, _ loop: EventLoop?, _ group: EventLoopGroup?,
    _ options: ServerOptions, _ handler: ServedConnection.Handler
) async throws(StreamError) -> Server {
    let settings = try options.checked()
    // Before the first wait: afterwards the task may be somewhere else.
    let acceptor = group?.loops.first ?? loop ?? EventLoop.current ?? EventLoop.background
    let places = try await places(of: address)
    let loops = group?.loops ?? [acceptor]
    let result: Result<Server, StreamError> =
        acceptor.isCurrent
        ? listen(places, acceptor, loops, settings, handler)
        : await acceptor.hop { listen(places, acceptor, loops, settings, handler) }
    return try result.get()
}

/// One descriptor to listen on.
enum ListenPlace: Sendable {
    case address(SocketAddress)
    /// All interfaces of a family the machine may not have.
    case optional(SocketAddress)
    case path(SocketAddress, mode: UInt32)
    case descriptor(Int32)
}

/// Resolves names; each address once.
private nonisolated(nonsending) func places(
    of address: ListenAddress
) async throws(StreamError) -> [ListenPlace] {
    switch address.place {
    case .descriptor(let fd): return [.descriptor(fd)]
    case .abstract(let name):
        guard let address = SocketAddress.abstract(String(decoding: name, as: UTF8.self)) else {
            throw .invalidOption(name: "abstract name", rule: "1 to 107 bytes")
        }
        return [.address(address)]
    case .unix(let path, let mode):
        guard let address = SocketAddress.unix(path) else {
            throw .invalidOption(name: "path", rule: "1 to 107 bytes without NUL")
        }
        guard mode <= 0o777 else {
            throw .invalidOption(name: "mode", rule: "permission bits, 0 to 0o777")
        }
        return [.path(address, mode: mode)]
    case .hosts(let hosts, let port):
        guard !hosts.isEmpty else { throw .invalidOption(name: "hosts", rule: "at least one") }
        var addresses: [SocketAddress] = []
        do throws(ReactorError) {
            for host in hosts {
                for found in try await resolve(host: host, port: port)
                where !addresses.contains(found) { addresses.append(found) }
            }
        } catch {
            switch error {
            case .cancelled: throw .cancelled
            case .timedOut: throw .timedOut
            default: throw .reactor(error)
            }
        }
        return addresses.map { hosts.count > 1 && $0.isWildcard ? .optional($0) : .address($0) }
    }
}

/// Listens on all places or on none. With port 0 the first address's port is taken for the others;
/// should one of them have it taken already, another one is tried.
private func listen(
    _ places: [ListenPlace], _ loop: EventLoop, _ loops: [EventLoop], _ settings: ServerSettings,
    _ handler: ServedConnection.Handler
) -> Result<Server, StreamError> {
    if loops.contains(where: \.hasStopped) { return .failure(.reactor(.stopped)) }
    var attempts = places.count > 1 ? 16 : 1
    while true {
        attempts -= 1
        var listeners: [Listener] = []
        do throws(StreamError) {
            for place in places {
                let port = listeners.first?.address.port
                if let listener = try listen(place, port: port, settings, loop) {
                    listeners.append(listener)
                }
            }
            guard !listeners.isEmpty else {
                return .failure(.invalidOption(name: "hosts", rule: "an address this machine has"))
            }
            return .success(
                Server(
                    loop: loop, loops: loops, listeners: listeners, settings: settings,
                    handler: handler))
        } catch {
            let isPortChosen = listeners.first.map { $0.wasPortChosen } ?? false
            for listener in listeners { listener.close() }
            if attempts == 0 || !isPortChosen { return .failure(error) }
        }
    }
}

/// `port`: what to take where the place leaves it to us.
private func listen(
    _ place: ListenPlace, port: Int?, _ settings: ServerSettings, _ loop: EventLoop
) throws(StreamError) -> Listener? {
    switch place {
    case .address(let address):
        return try Listener(
            address: address.with(port: port) ?? address, settings: settings, loop: loop)
    case .optional(let address):
        do throws(StreamError) {
            return try Listener(
                address: address.with(port: port) ?? address, settings: settings, loop: loop)
        } catch {
            if case .listenFailed(_, let failure) = error, failure.meansNoSuchFamily { return nil }
            throw error
        }
    case .path(let address, let mode):
        return try Listener(path: address, mode: mode, settings: settings, loop: loop)
    case .descriptor(let fd):
        return try Listener(descriptor: fd, settings: settings, loop: loop)
    }
}

extension SocketAddress {
    /// The same host with another port, if this one has port 0.
    fileprivate func with(port: Int?) -> SocketAddress? {
        guard self.port == 0, let port, let host else { return nil }
        return SocketAddress(host, port: port)
    }
}

extension SystemError {
    /// EAFNOSUPPORT and EADDRNOTAVAIL: the machine has no addresses of that family.
    var meansNoSuchFamily: Bool { errno == 97 || errno == 99 }
}
