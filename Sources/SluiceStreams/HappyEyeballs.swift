// Happy eyeballs: racing the addresses of a host, RFC 8305. Floor 2, the loop's thread.

package import CEpoll
internal import Glibc
package import SluiceReactor

/// The result of a race: a connected descriptor and its address, or why there is none.
package typealias ConnectRace = Result<(fd: Int32, address: SocketAddress), StreamError>

/// Tries the addresses, families alternating, each starting 250 ms after the one before or as soon
/// as that has failed. The first that connects wins; the others' sockets are closed.
///
/// - Parameters:
///   - addresses: in the resolver's order.
///   - locals: addresses to connect from; only one of the same family is used, none means any.
///   - socket: what each socket is set to.
package nonisolated(nonsending) func raceToConnect(
    _ addresses: [SocketAddress], from locals: [SocketAddress], host: String, port: Int,
    socket: ce_socket_options = ce_socket_options(), on loop: EventLoop
) async -> ConnectRace {
    let ordered = alternatingFamilies(addresses)
    return await withTaskGroup(of: RaceStep.self) { group in
        var attempts: [ConnectAttempt] = []
        var started = 0
        var running = 0
        var winner: (fd: Int32, address: SocketAddress)?
        var ending: StreamError?
        func startNext() {
            guard started < ordered.count, winner == nil, ending == nil else { return }
            let (number, address) = (started, ordered[started])
            let local = locals.first { $0.isSameFamily(as: address) }
            started += 1
            running += 1
            group.addTask(executorPreference: loop) {
                await attempt(address, from: local, socket, on: loop)
            }
            guard started < ordered.count else { return }
            group.addTask(executorPreference: loop) {
                try? await sleep(for: StreamBounds.connectStagger)
                return .staggered(number)
            }
        }
        startNext()
        while running > 0, let step = await group.next() {
            switch step {
            case .staggered(let number):
                // Only if nothing has been started since: a failure has taken this one's turn.
                if number == started - 1 { startNext() }
            case .connected(let fd, let address):
                running -= 1
                if winner == nil { winner = (fd, address) } else { loop.closeDescriptor(fd) }
                group.cancelAll()
            case .failed(let failure):
                running -= 1
                switch failure.error.errno {
                case ECANCELED: if winner == nil { ending = .cancelled }
                case ETIME: ending = .timedOut
                case ECONNABORTED where loop.hasStopped: ending = .reactor(.stopped)
                default: attempts.append(failure)
                }
                startNext()
            }
        }
        group.cancelAll()
        if let winner { return .success(winner) }
        return .failure(ending ?? .connectFailed(host: host, port: port, attempts: attempts))
    }
}

private enum RaceStep: Sendable {
    case staggered(Int)
    case connected(Int32, SocketAddress)
    case failed(ConnectAttempt)
}

private func attempt(
    _ address: SocketAddress, from local: SocketAddress?, _ socket: ce_socket_options,
    on loop: EventLoop
) async -> RaceStep {
    do throws(SystemError) {
        let connector = Connector(loop: loop, socket: socket)
        return .connected(try await connector.connect(to: address, from: local), address)
    } catch {
        return .failed(ConnectAttempt(address: address, error: error))
    }
}

/// The first address's family first, then by turns, as RFC 8305 §4 has it.
func alternatingFamilies(_ addresses: [SocketAddress]) -> [SocketAddress] {
    guard let first = addresses.first else { return [] }
    let same = addresses.filter { $0.isSameFamily(as: first) }
    let other = addresses.filter { !$0.isSameFamily(as: first) }
    var ordered: [SocketAddress] = []
    for index in 0..<max(same.count, other.count) {
        if index < same.count { ordered.append(same[index]) }
        if index < other.count { ordered.append(other[index]) }
    }
    return ordered
}
