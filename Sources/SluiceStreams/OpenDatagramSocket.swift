// bindDatagramSocket, connectDatagramSocket: from an address to a socket. Floor 2; any thread.

internal import CEpoll
internal import Glibc
public import SluiceReactor

/// Makes a UDP socket that receives from anybody.
///
/// - Parameters:
///   - host: a numeric address or a name, resolved off the loop. `127.0.0.1` by default: nothing is
///     exposed by omission.
///   - port: 0 to 65,535; 0 lets the kernel choose one.
///   - loop: carries it; by default the loop the caller runs on, else ``EventLoop/background``.
///   - options: limits and buffers.
/// - Throws: ``StreamError/listenFailed(address:_:)``; ``StreamError/invalidOption(name:rule:)``;
///   ``StreamError/reactor(_:)`` if the name does not resolve.
public nonisolated(nonsending) func bindDatagramSocket(
    host: String = "127.0.0.1", port: Int, on loop: EventLoop? = nil,
    options: DatagramOptions = DatagramOptions()
) async throws(StreamError) -> DatagramSocket {
    try await bindDatagramSocket(.host(host, port: port), on: loop, options: options)
}

/// The same on any sort of address. ``DatagramAddress/automatic`` and ``DatagramAddress/unnamed``
/// make a Unix socket.
public nonisolated(nonsending) func bindDatagramSocket(
    _ address: DatagramAddress, on loop: EventLoop? = nil,
    options: DatagramOptions = DatagramOptions()
) async throws(StreamError) -> DatagramSocket {
    let settings = try options.checked()
    let loop = loop ?? EventLoop.current ?? EventLoop.background
    var failure = StreamError.closed
    for place in try await places(of: address) {
        do throws(StreamError) {
            return try await open(place, nil, loop, settings)
        } catch { failure = error }
    }
    throw failure
}

/// Makes a UDP socket that exchanges datagrams with one peer: those of others are not received, and
/// its errors are told.
///
/// Nothing is sent: whether anybody is there is not known.
///
/// - Parameters:
///   - host: a numeric address or a name, resolved off the loop.
///   - port: 1 to 65,535.
///   - loop: as in `bindDatagramSocket`.
///   - options: limits and buffers.
/// - Throws: ``StreamError/connectFailed(host:port:attempts:)`` if the host cannot be routed to;
///   otherwise as `bindDatagramSocket`.
public nonisolated(nonsending) func connectDatagramSocket(
    host: String, port: Int, on loop: EventLoop? = nil,
    options: DatagramOptions = DatagramOptions()
) async throws(StreamError) -> DatagramSocket {
    try await connectDatagramSocket(to: .host(host, port: port), on: loop, options: options)
}

/// The same with any sort of peer.
///
/// - Parameters:
///   - remote: the peer.
///   - local: what it is bound to first, of the peer's family; ``DatagramAddress/automatic`` by
///     default.
///   - loop: as in `bindDatagramSocket`.
///   - options: limits and buffers.
public nonisolated(nonsending) func connectDatagramSocket(
    to remote: DatagramAddress, from local: DatagramAddress = .automatic,
    on loop: EventLoop? = nil, options: DatagramOptions = DatagramOptions()
) async throws(StreamError) -> DatagramSocket {
    let settings = try options.checked()
    let loop = loop ?? EventLoop.current ?? EventLoop.background
    var attempts: [ConnectAttempt] = []
    for peer in try await places(of: remote) {
        guard case .address(let address, _) = peer else {
            throw .invalidOption(name: "remote", rule: "an address, not \(remote)")
        }
        for place in try await places(of: local) where place.fits(address) {
            do throws(StreamError) {
                return try await open(place, address, loop, settings)
            } catch {
                switch error {
                case .connectFailed(_, _, let more): attempts += more
                // A family that this machine does not have; the next address may do.
                case .listenFailed(let address, let failure) where failure.meansNoSuchFamily:
                    attempts.append(ConnectAttempt(address: address, error: failure))
                default: throw error
                }
            }
        }
    }
    guard let first = attempts.first else {
        throw .invalidOption(name: "local", rule: "an address of the peer's family")
    }
    throw .connectFailed(
        host: first.address.host ?? first.address.description, port: first.address.port ?? 0,
        attempts: attempts)
}

/// What to bind to.
private enum Place: Sendable {
    /// The mode is that of a path's file.
    case address(SocketAddress, mode: UInt32?)
    /// Of the peer's family; Unix without one.
    case automatic
    case unnamed

    func fits(_ peer: SocketAddress) -> Bool {
        switch self {
        case .address(let address, _): address.isSameFamily(as: peer)
        case .automatic: true
        case .unnamed: peer.familyNumber == AF_UNIX
        }
    }
}

private nonisolated(nonsending) func places(
    of address: DatagramAddress
) async throws(StreamError) -> [Place] {
    switch address.place {
    case .automatic: return [.automatic]
    case .unnamed: return [.unnamed]
    case .abstract(let name):
        guard let address = SocketAddress.abstract(name) else {
            throw .invalidOption(name: "abstract name", rule: "1 to 107 bytes")
        }
        return [.address(address, mode: nil)]
    case .unix(let path, let mode):
        guard let address = SocketAddress.unix(path) else {
            throw .invalidOption(name: "path", rule: "1 to 107 bytes without NUL")
        }
        guard mode <= 0o777 else {
            throw .invalidOption(name: "mode", rule: "permission bits, 0 to 0o777")
        }
        return [.address(address, mode: mode)]
    case .host(let host, let port):
        do throws(ReactorError) {
            return try await resolve(host: host, port: port).map { .address($0, mode: nil) }
        } catch {
            switch error {
            case .cancelled: throw .cancelled
            case .timedOut: throw .timedOut
            default: throw .reactor(error)
            }
        }
    }
}

private nonisolated(nonsending) func open(
    _ place: Place, _ remote: SocketAddress?, _ loop: EventLoop, _ settings: DatagramSettings
) async throws(StreamError) -> DatagramSocket {
    let result: Result<DatagramTransport, StreamError> =
        loop.isCurrent
        ? openNow(place, remote, loop, settings)
        : await loop.hop { openNow(place, remote, loop, settings) }
    return DatagramSocket(try result.get())
}

/// On the loop's thread.
private func openNow(
    _ place: Place, _ remote: SocketAddress?, _ loop: EventLoop, _ settings: DatagramSettings
) -> Result<DatagramTransport, StreamError> {
    if loop.hasStopped { return .failure(.reactor(.stopped)) }
    var (bound, family) = (SocketAddress.unnamed, remote?.familyNumber ?? AF_UNIX)
    if case .address(let address, _) = place { (bound, family) = (address, address.familyNumber) }
    guard family == AF_UNIX || settings.controlRoom == 0 else {
        return .failure(.unsupported("ancillary data passes through Unix sockets only"))
    }
    var options = settings.shim
    var call: UnsafePointer<CChar>?
    let fd = ce_open_datagram(loop.reactor, family, &options, &call)
    guard fd >= 0 else { return .failure(.listenFailed(address: bound, named(call, fd))) }
    var file: ce_file_id?
    if let failure = bind(fd, to: place, family, loop, &file) {
        ce_close(loop.reactor, fd)
        return .failure(.listenFailed(address: bound, failure))
    }
    if let remote {
        var shim = remote.shimAddress
        let result = ce_connect_datagram(loop.reactor, fd, &shim)
        if result < 0 {
            giveUp(fd, bound, file, loop)
            let error = SystemError(call: "connect", errno: result)
            return .failure(
                .connectFailed(
                    host: remote.host ?? remote.description, port: remote.port ?? 0,
                    attempts: [ConnectAttempt(address: remote, error: error)]))
        }
    }
    var local = ce_address()
    let named = ce_local_address(loop.reactor, fd, &local)
    if named < 0 {
        giveUp(fd, bound, file, loop)
        return .failure(.system(SystemError(call: "getsockname", errno: named)))
    }
    do throws(SystemError) {
        return .success(
            try DatagramTransport(
                fd: fd, loop: loop, settings: settings, local: SocketAddress(local) ?? .unnamed,
                remote: remote, file: file))
    } catch { return .failure(.system(error)) }
}

/// Closes a socket that was bound, and removes its file.
private func giveUp(_ fd: Int32, _ bound: SocketAddress, _ file: ce_file_id?, _ loop: EventLoop) {
    if let file {
        var own = bound.shimAddress
        _ = ce_unlink_file(loop.reactor, &own, file)
    }
    ce_close(loop.reactor, fd)
}

private func bind(
    _ fd: Int32, to place: Place, _ family: Int32, _ loop: EventLoop, _ file: inout ce_file_id?
) -> SystemError? {
    var result: Int32 = 0
    var call: UnsafePointer<CChar>?
    switch place {
    case .address(let address, let mode?):
        var (shim, bound) = (address.shimAddress, ce_file_id())
        result = ce_bind_datagram_unix(loop.reactor, fd, &shim, mode, &bound, &call)
        if result == 0 { file = bound }
    case .address(let address, nil):
        var shim = address.shimAddress
        result = ce_bind_datagram(loop.reactor, fd, &shim)
    case .automatic where family == AF_UNIX:
        result = ce_bind_datagram(loop.reactor, fd, nil)
    case .automatic, .unnamed: break
    }
    return result < 0 ? named(call, result) : nil
}

private func named(_ call: UnsafePointer<CChar>?, _ errno: Int32) -> SystemError {
    SystemError(call: call.map { String(cString: $0) } ?? "bind", errno: errno)
}
