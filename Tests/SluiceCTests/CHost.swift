// What these tests share: a host that knows the C functions alone, its clients, and its thread.

import CSluice
import Glibc
import Sluice
import SluiceC
import SluiceTestKit
import Testing

/// A C call of a test's host failed.
struct CallFailed: Error, CustomStringConvertible {
    let code: CInt
    let text = lastError()
    var description: String { "\(code): \(text)" }
}

/// The text of the thread's last failed call.
func lastError() -> String { sluice_error().map { String(cString: $0) } ?? "NULL" }

/// Registers a service under a name that nobody else has.
func registered(_ start: @escaping ServiceStarter) -> String {
    let name = "service \(UInt64.random(in: 0 ... .max))"
    registerService(name, start)
    return name
}

/// Runs a test's body on a thread that blocks as it likes, with a deadline.
func onHostThread(
    sourceLocation: SourceLocation = #_sourceLocation, _ body: @escaping @Sendable () throws -> Void
) async throws {
    try await withDeadline(.seconds(60), sourceLocation: sourceLocation) {
        try await Task(executorPreference: ThreadOfItsOwn()) { try body() }.value
    }
}

struct CHost {
    let loop: OpaquePointer

    init() throws {
        guard let loop = sluice_create() else { throw CallFailed(code: 0) }
        self.loop = loop
    }

    /// The loop, for closures that go to other threads.
    var address: Int { Int(bitPattern: loop) }

    func start(_ name: String) throws -> CInt {
        let service = sluice_start(loop, name, "127.0.0.1", 0)
        guard service > 0 else { throw CallFailed(code: service) }
        return service
    }

    /// Stops a service and takes turns until it has stopped.
    func stop(_ service: CInt, grace: CInt = 30_000) throws {
        try serve {
            let result = sluice_stop(loop, service, grace)
            if result < 0 { throw CallFailed(code: result) }
            return result == 0
        }
    }

    func serve(until isOver: () throws -> Bool) throws {
        try Self.serve([self], until: isOver)
    }

    /// Polls the descriptors of all hosts and takes the turns that they call for. The poll returns
    /// now and then without that, since a client may end on its own thread.
    static func serve(_ hosts: [CHost], until isOver: () throws -> Bool) throws {
        let end = ContinuousClock.now + .seconds(30)
        while try !isOver() {
            guard ContinuousClock.now < end else { throw CallFailed(code: -ETIMEDOUT) }
            var pollers = hosts.map {
                pollfd(fd: sluice_descriptor($0.loop), events: Int16(POLLIN), revents: 0)
            }
            guard poll(&pollers, nfds_t(pollers.count), 10) > 0 else { continue }
            for (host, poller) in zip(hosts, pollers) where poller.revents != 0 {
                let result = sluice_turn(host.loop, 0)
                if result != 0 { throw CallFailed(code: result) }
            }
        }
    }
}

/// A client of a host's service, on a loop of its own.
final class Client: Sendable {
    private let result = Shared<Result<Void, any Error>?>(nil)

    init(port: CInt, _ body: @escaping @Sendable (StreamEnd) async throws -> Void) {
        Task { [result] in
            do {
                try await withLoop { _ in
                    let end = StreamEnd(
                        try await openConnection(host: "127.0.0.1", port: Int(port)))
                    try await body(end)
                    await end.writer.close()
                }
                result.set(.success(()))
            } catch {
                result.set(.failure(error))
            }
        }
    }

    var hasEnded: Bool { result.value != nil }

    /// Blocks until it has ended.
    func wait() { result.block { $0 != nil } }

    /// What it failed of.
    var error: (any Error)? {
        guard case .failure(let error) = result.value else { return nil }
        return error
    }
}

extension StreamEnd {
    /// Sends a line and expects the same line back.
    func echo(_ text: String) async throws {
        try await writer.send(text + "\n")
        let answer = try await reader.readLine()
        #expect(answer == bytes(text + "\n"))
    }
}
