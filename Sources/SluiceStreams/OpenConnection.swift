// openConnection, openUnixConnection: from an address to a connected stream. Floor 2; any thread.

internal import CEpoll
public import SluiceReactor

/// Connects to a TCP service.
///
/// The addresses of a name are raced, IPv6 and IPv4 by turns, 250 ms apart (happy eyeballs, RFC
/// 8305); the losers' sockets are closed. Both halves live on one loop; when both are dropped, the
/// connection closes in order by itself.
///
/// - Parameters:
///   - host: a numeric address or a name, resolved off the loop.
///   - port: 1 to 65,535.
///   - localHost: a numeric address or a name to connect from, with a port of the kernel's choice.
///   - timeout: for resolving and connecting together; 30 s by default.
///   - loop: carries it; by default the loop the caller runs on, else ``EventLoop/background``.
///   - options: limits and deadlines of the stream.
///   - socket: what the kernel is told about the socket.
/// - Throws: ``StreamError/connectFailed(host:port:attempts:)`` with every address tried;
///   ``StreamError/timedOut`` and ``StreamError/cancelled``: the sockets are closed then;
///   ``StreamError/invalidOption(name:rule:)``; ``StreamError/reactor(_:)`` if a name does not
///   resolve.
public nonisolated(nonsending) func openConnection(
    host: String, port: Int, from localHost: String? = nil, timeout: Duration = .seconds(30),
    on loop: EventLoop? = nil, options: StreamOptions = StreamOptions(),
    socket: SocketOptions = SocketOptions()
) async throws(StreamError) -> StreamPair {
    let settings = try options.checked()
    let socket = try socket.checked()
    let loop = loop ?? EventLoop.current ?? EventLoop.background
    let result: Result<SocketTransport, StreamError> = await loop.hop {
        do {
            return try await withTimeout(timeout) {
                await connect(host, port, localHost, loop, settings, socket)
            }
        } catch {
            return .failure(.timedOut)
        }
    }
    let transport = try result.get()
    return (StreamReader(transport), StreamWriter(transport))
}

/// On the loop's thread.
private func connect(
    _ host: String, _ port: Int, _ localHost: String?, _ loop: EventLoop,
    _ settings: StreamSettings, _ socket: ce_socket_options
) async -> Result<SocketTransport, StreamError> {
    if loop.hasStopped { return .failure(.reactor(.stopped)) }
    do throws(ReactorError) {
        let addresses = try await resolve(host: host, port: port)
        var locals: [SocketAddress] = []
        if let localHost { locals = try await resolve(host: localHost, port: 0) }
        let race = await raceToConnect(
            addresses, from: locals, host: host, port: port, socket: socket, on: loop)
        return take(race, loop, settings)
    } catch {
        switch error {
        case .cancelled: return .failure(.cancelled)
        case .timedOut: return .failure(.timedOut)
        default: return .failure(.reactor(error))
        }
    }
}

private func take(
    _ race: ConnectRace, _ loop: EventLoop, _ settings: StreamSettings
) -> Result<SocketTransport, StreamError> {
    switch race {
    case .failure(let error): return .failure(error)
    case .success(let winner):
        do throws(SystemError) {
            return .success(
                try SocketTransport(
                    fd: winner.fd, loop: loop, settings: settings, local: nil,
                    remote: winner.address))
        } catch {
            return .failure(.system(error))
        }
    }
}

/// Connects to a Unix socket.
///
/// - Parameters:
///   - path: 1 to 107 bytes.
///   - timeout: 30 s by default.
///   - loop: as in `openConnection`.
///   - options: limits and deadlines of the stream.
///   - socket: what the kernel is told about the socket.
/// - Throws: as `openConnection`.
public nonisolated(nonsending) func openUnixConnection(
    path: String, timeout: Duration = .seconds(30), on loop: EventLoop? = nil,
    options: StreamOptions = StreamOptions(), socket: SocketOptions = SocketOptions()
) async throws(StreamError) -> StreamPair {
    guard let address = SocketAddress.unix(path) else {
        throw .invalidOption(name: "path", rule: "1 to 107 bytes without NUL")
    }
    return try await openUnixConnection(to: address, timeout, loop, options, socket)
}

/// Connects to a Unix socket of Linux's abstract namespace. Otherwise as with a path.
///
/// - Parameter name: 1 to 107 bytes.
public nonisolated(nonsending) func openUnixConnection(
    abstract name: String, timeout: Duration = .seconds(30), on loop: EventLoop? = nil,
    options: StreamOptions = StreamOptions(), socket: SocketOptions = SocketOptions()
) async throws(StreamError) -> StreamPair {
    guard let address = SocketAddress.abstract(name) else {
        throw .invalidOption(name: "name", rule: "1 to 107 bytes")
    }
    return try await openUnixConnection(to: address, timeout, loop, options, socket)
}

private nonisolated(nonsending) func openUnixConnection(
    to address: SocketAddress, _ timeout: Duration, _ loop: EventLoop?, _ options: StreamOptions,
    _ socket: SocketOptions
) async throws(StreamError) -> StreamPair {
    let settings = try options.checked()
    let socket = try socket.checked()
    let loop = loop ?? EventLoop.current ?? EventLoop.background
    let result: Result<SocketTransport, StreamError> = await loop.hop {
        if loop.hasStopped { return .failure(.reactor(.stopped)) }
        do {
            return try await withTimeout(timeout) {
                let race = await raceToConnect(
                    [address], from: [], host: address.description, port: 0, socket: socket,
                    on: loop)
                return take(race, loop, settings)
            }
        } catch {
            return .failure(.timedOut)
        }
    }
    let transport = try result.get()
    return (StreamReader(transport), StreamWriter(transport))
}
