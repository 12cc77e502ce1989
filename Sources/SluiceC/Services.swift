// Services by name: what a Swift target offers to a C program. Floor 4; any thread.

internal import Glibc
internal import SluiceReactor
public import Sluice

/// Starts a service on the loop given, at the host and port that the C program asked for, and
/// returns its server. Runs as a task of that loop, inside the C program's turns.
public typealias ServiceStarter =
    @Sendable (_ loop: EventLoop, _ host: String, _ port: Int) async throws -> Server

/// Registers a service under a name, by which a C program starts it with `sluice_start`.
///
/// Any thread, before that call. A second registration of a name replaces the first; services that
/// run already go on.
///
/// - Parameters:
///   - name: not empty.
///   - start: called once for each start. It must not block; it is given up after 10 seconds.
public func registerService(_ name: String, _ start: @escaping ServiceStarter) {
    precondition(!name.isEmpty, "a service's name is not empty")
    starters.withLock { $0[name] = start }
}

private let starters = Locked<[String: ServiceStarter]>([:])

func starter(named name: String) -> ServiceStarter? { starters.withLock { $0[name] } }

/// What a call of the C interface returns when it fails, and says.
package struct Failure: Error {
    /// A negative errno.
    package var code: CInt
    package var text: String

    init(_ errno: Int32, _ text: String) {
        code = -errno
        self.text = text
    }

    /// Of what a service threw at its start.
    init(_ error: any Error) {
        self.init(Self.errno(of: error), "\(error)")
    }

    private static func errno(of error: any Error) -> Int32 {
        switch error {
        case let error as SystemError: error.errno
        case StreamError.listenFailed(_, let cause), StreamError.system(let cause): cause.errno
        case StreamError.invalidOption: EINVAL
        case StreamError.timedOut, ReactorError.timedOut: ETIMEDOUT
        case StreamError.reactor(let cause): errno(of: cause)
        case ReactorError.system(let cause): cause.errno
        case ReactorError.resolution: EHOSTUNREACH
        case ReactorError.stopped: ESHUTDOWN
        default: EIO
        }
    }
}
