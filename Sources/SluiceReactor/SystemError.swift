// What can go wrong on floor 1. Plain values; any thread.

internal import CEpoll

/// A system call that failed.
///
/// `errno` is the number the call gave, as in errno(3); `call` is the call's name as in its man
/// page.
public struct SystemError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The system call's name, for example `bind`.
    public let call: String
    /// The positive error number.
    public let errno: Int32

    /// Makes an error from a call's name and a positive or negative error number.
    public init(call: String, errno: Int32) {
        self.call = call
        self.errno = errno.magnitude > UInt32(Int32.max) ? Int32.max : Int32(errno.magnitude)
    }

    /// For example `bind: Address already in use (errno 98)`.
    public var description: String {
        "\(call): \(Self.text(of: errno)) (errno \(errno))"
    }

    /// The system's words for an error number.
    package static func text(of errno: Int32) -> String {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 128) { buffer in
            buffer.initialize(repeating: 0)
            ce_error_text(errno, buffer.baseAddress, buffer.count)
            return String(
                decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
        }
    }
}

/// An error of the event loop, its timers, its inbox or its thread pool.
public enum ReactorError: Error, Hashable, Sendable {
    /// The deadline of a surrounding `withTimeout` passed while waiting.
    case timedOut
    /// The task was cancelled while waiting.
    case cancelled
    /// The loop's inbox holds its bound of posted closures; this one was not queued.
    case inboxFull
    /// The loop was stopped; nothing was queued.
    case stopped
    /// The thread pool's queue holds its bound of waiting closures; this one was not queued.
    case offloadFull
    /// A host name could not be resolved.
    case resolution(host: String, reason: String)
    /// The signal cannot be watched: there is no such one, or a handler cannot go on after it.
    case unwatchable(Signal)
    /// A system call failed.
    case system(SystemError)
}

extension ReactorError: CustomStringConvertible {
    /// One line of plain words.
    public var description: String {
        switch self {
        case .timedOut: "the deadline passed"
        case .cancelled: "the task was cancelled"
        case .inboxFull: "the loop's inbox is full"
        case .stopped: "the loop was stopped"
        case .offloadFull: "the thread pool's queue is full"
        case .resolution(let host, let reason): "cannot resolve \(host): \(reason)"
        case .unwatchable(let signal): "\(signal) cannot be watched"
        case .system(let error): error.description
        }
    }
}
