// HostedLoop: a C program's loop and the services on it. Floor 4; the thread of its turns, which
// every entry checks.

internal import Glibc
package import Sluice
internal import SluiceReactor

// @unchecked Sendable: `services` is touched after `checkThread` alone, so by one thread.
package final class HostedLoop: @unchecked Sendable {
    package let loop: EventLoop
    /// How long a service may take to start.
    private let startLimit: Duration
    private var services: [CInt: HostedService] = [:]
    private var numberNext: CInt = 1

    package init(startLimit: Duration = .seconds(10)) throws(SystemError) {
        loop = try EventLoop.makeEmbedded()
        self.startLimit = startLimit
    }

    /// Throws unless the calling thread may use the loop now.
    func checkThread(_ call: String) throws(Failure) {
        switch loop.turnRefusal() {
        case nil: return
        case .nested?: throw Failure(EDEADLK, "\(call) was called by a service's own code")
        case .otherThread?, .notEmbedded?:
            throw Failure(EPERM, "\(call) was called on another thread than the loop's first call")
        }
    }

    func turn(milliseconds: CInt) throws(Failure) {
        guard loop.turn(timeout: milliseconds < 0 ? nil : .milliseconds(milliseconds)) else {
            throw Failure(ESHUTDOWN, "the loop was stopped")
        }
    }

    /// Takes turns until the service listens.
    package func start(
        _ start: @escaping ServiceStarter, host: String, port: Int
    ) throws(Failure) -> CInt {
        let starting = StartingService()
        let task = loop.spawn { [loop, startLimit] in
            let result: Result<Server, any Error>
            do {
                result = .success(
                    try await withTimeout(startLimit) { try await start(loop, host, port) })
            } catch {
                result = .failure(error)
            }
            // It comes too late: nobody will ever stop this server.
            if !starting.end(result) { await (try? result.get())?.shutdown(grace: .zero) }
        }
        let end = ContinuousClock.now + startLimit
        while !starting.hasEnded {
            let left = end - .now
            guard left > .zero else {
                task.cancel()
                guard starting.giveUp() else { continue }
                throw Failure(ETIMEDOUT, "the service does not start")
            }
            guard loop.turn(timeout: left) else { throw Failure(ESHUTDOWN, "the loop was stopped") }
        }
        do {
            return add(try starting.result())
        } catch {
            throw Failure(error)
        }
    }

    func service(_ number: CInt) throws(Failure) -> HostedService {
        guard let service = services[number] else {
            throw Failure(ENOENT, "no service has the number \(number)")
        }
        return service
    }

    /// Whether the service is still stopping.
    func stop(_ number: CInt, graceMilliseconds: CInt) throws(Failure) -> Bool {
        let service = try service(number)
        if service.stop(grace: .milliseconds(graceMilliseconds), on: loop) { return true }
        services[number] = nil
        return false
    }

    private func add(_ server: Server) -> CInt {
        // The numbers begin again after two thousand million starts.
        while services[numberNext] != nil { advanceNumber() }
        defer { advanceNumber() }
        services[numberNext] = HostedService(server: server)
        return numberNext
    }

    private func advanceNumber() {
        numberNext = numberNext == .max ? 1 : numberNext + 1
    }
}

/// A service that is being started: by a task of the loop, for a caller that takes its turns.
private final class StartingService: Sendable {
    private enum State {
        case waiting
        case ended(Result<Server, any Error>)
        case givenUp
    }
    private let state = Locked(State.waiting)

    /// False if nobody waits any more.
    func end(_ result: Result<Server, any Error>) -> Bool {
        state.withLock { state in
            if case .givenUp = state { return false }
            state = .ended(result)
            return true
        }
    }

    /// False if it has ended meanwhile.
    func giveUp() -> Bool {
        state.withLock { state in
            if case .ended = state { return false }
            state = .givenUp
            return true
        }
    }

    var hasEnded: Bool { (try? ended()) != nil }

    func result() throws -> Server { try ended().get() }

    private func ended() throws -> Result<Server, any Error> {
        try state.withLock { state in
            guard case .ended(let result) = state else { throw ReactorError.stopped }
            return result
        }
    }
}

/// A running service.
// @unchecked Sendable: touched by the thread of its loop's turns alone.
final class HostedService: @unchecked Sendable {
    let server: Server
    private var stopping: Task<ShutdownCounts, any Error>?
    private let hasStopped = Locked(false)

    init(server: Server) {
        self.server = server
    }

    /// Begins or goes on; false once it has stopped.
    func stop(grace: Duration, on loop: EventLoop) -> Bool {
        if let stopping {
            if grace == .zero { stopping.cancel() }
        } else {
            stopping = loop.spawn { [server, hasStopped] in
                defer { hasStopped.withLock { $0 = true } }
                return await server.shutdown(grace: grace)
            }
        }
        return !hasStopped.withLock { $0 }
    }
}
