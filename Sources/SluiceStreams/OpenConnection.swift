// openConnection: from a host and port to a connected stream. Floor 2; any thread.

internal import CEpoll
internal import Glibc
public import SluiceReactor

/// Connects to a TCP service.
///
/// The addresses of a name are tried in the resolver's order until one answers. Both halves live on
/// one loop; when both are dropped, the connection closes in order by itself.
///
/// - Parameters:
///   - host: a numeric address or a name, resolved off the loop.
///   - port: 1 to 65,535.
///   - loop: carries it; by default the loop the caller runs on, else ``EventLoop/background``.
///   - options: limits and deadlines of the stream.
/// - Throws: ``StreamError/connectFailed(host:port:attempts:)`` with every address tried;
///   ``StreamError/timedOut`` and ``StreamError/cancelled``: the socket is closed then;
///   ``StreamError/invalidOption(name:rule:)``; ``StreamError/reactor(_:)`` if the name does not
///   resolve.
public nonisolated(nonsending) func openConnection(
    host: String, port: Int, on loop: EventLoop? = nil, options: StreamOptions = StreamOptions()
) async throws(StreamError) -> StreamPair {
    let settings = try options.checked()
    let addresses: [SocketAddress]
    do throws(ReactorError) {
        addresses = try await resolve(host: host, port: port)
    } catch {
        switch error {
        case .cancelled: throw .cancelled
        case .timedOut: throw .timedOut
        default: throw .reactor(error)
        }
    }
    let loop = loop ?? EventLoop.current ?? EventLoop.background
    let result =
        loop.isHome
        ? await connect(addresses, host, port, loop, settings)
        : await loop.hop { await connect(addresses, host, port, loop, settings) }
    let transport = try result.get()
    return (StreamReader(transport), StreamWriter(transport))
}

/// On the loop's thread.
private nonisolated(nonsending) func connect(
    _ addresses: [SocketAddress], _ host: String, _ port: Int, _ loop: EventLoop,
    _ settings: StreamSettings
) async -> Result<SocketTransport, StreamError> {
    if loop.hasStopped { return .failure(.reactor(.stopped)) }
    var attempts: [ConnectAttempt] = []
    for address in addresses {
        do throws(SystemError) {
            let fd = try await Connector(loop: loop).connect(to: address)
            return .success(
                try SocketTransport(
                    fd: fd, loop: loop, settings: settings, local: nil, remote: address))
        } catch {
            switch error.errno {
            case ECANCELED: return .failure(.cancelled)
            case ETIME: return .failure(.timedOut)
            default: attempts.append(ConnectAttempt(address: address, error: error))
            }
        }
    }
    return .failure(.connectFailed(host: host, port: port, attempts: attempts))
}

/// One connection attempt. Owns its descriptor until it is connected.
// @unchecked Sendable by LoopMember.
private final class Connector: LoopMember, @unchecked Sendable {
    private var wait: Wait?

    /// Returns a connected descriptor. Throws ECANCELED for cancellation and ETIME for the deadline
    /// of a surrounding `withTimeout`, neither of which connect(2) gives.
    nonisolated(nonsending) func connect(to address: SocketAddress) async throws(SystemError)
        -> Int32
    {
        var shim = address.shimAddress
        var isInProgress = false
        var call: UnsafePointer<CChar>?
        let fd = ce_connect(loop.reactor, &shim, nil, &isInProgress, &call)
        guard fd >= 0 else {
            throw SystemError(call: call.map { String(cString: $0) } ?? "connect", errno: fd)
        }
        guard isInProgress else { return fd }
        let errno = await waitConnected(fd)
        guard errno == 0 else {
            ce_close(loop.reactor, fd)
            throw SystemError(call: "connect", errno: errno)
        }
        return fd
    }

    private nonisolated(nonsending) func waitConnected(_ fd: Int32) async -> Int32 {
        loop.admit(self)
        defer { loop.dismiss(self) }
        let result = ce_add(
            loop.reactor, fd, CE_WANT_OUT.rawValue | CE_EDGE.rawValue, token)
        guard result == 0 else { return -result }
        let errno = await waitResult(fd)
        ce_remove(loop.reactor, fd)
        return errno
    }

    /// Readiness is a hint: SO_ERROR says whether the attempt failed, and a peer's address whether
    /// it is over at all.
    private nonisolated(nonsending) func waitResult(_ fd: Int32) async -> Int32 {
        while true {
            let outcome = await suspend { continuation, number in
                begin(continuation, number: number) { wait in
                    self.wait = wait
                    return true
                }
            }
            switch outcome {
            case .ready: break
            case .cancelled: return ECANCELED
            case .timedOut: return ETIME
            case .closed: return ECONNABORTED
            }
            let error = ce_socket_error(loop.reactor, fd)
            if error != 0 { return abs(error) }
            var peer = ce_address()
            if ce_remote_address(loop.reactor, fd, &peer) == 0 { return 0 }
        }
    }

    override func becameReady(_ ready: UInt32) { end(.ready) }

    override func endWait(_ number: UInt32, _ outcome: WaitOutcome) {
        if wait?.number == number { end(outcome) }
    }

    override func loopStopped() { end(.closed) }

    private func end(_ outcome: WaitOutcome) {
        guard let wait else { return }
        self.wait = nil
        resume(wait, outcome)
    }

    override func label() -> String { "a connection attempt" }
}
