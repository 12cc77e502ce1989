// What can go wrong on floor 2, sorted by who is at fault. Plain values; any thread.

public import SluiceReactor

/// An error of a stream, a server's start or a connection attempt.
public enum StreamError: Error, Hashable, Sendable {
    // The caller:

    /// This side has closed the stream, or finished writing.
    case closed
    /// This side has aborted the stream.
    case aborted
    /// Another task is reading from this reader.
    case busy
    /// More than the hard cap is queued; nothing of this write was queued, the stream stays usable.
    case outputFull(queued: Int)
    /// An option is out of its range.
    case invalidOption(name: String, rule: String)
    /// This kind of stream or socket cannot do that; nothing of it was done.
    case unsupported(String)
    /// The stream has nothing to say under this attribute's name.
    case unavailable(String)
    /// More descriptors than one message, or one stream's queue, may hold; nothing was sent.
    case tooManyDescriptors(Int, limit: Int)

    /// The datagram is longer than any that can be sent there; nothing of it was queued.
    case datagramTooLarge(size: Int, limit: Int)

    // The task:

    /// The task was cancelled while waiting. A read has consumed nothing.
    case cancelled
    /// The deadline of a surrounding `withTimeout` passed while waiting. A read has consumed
    /// nothing.
    case timedOut

    // The peer:

    /// The stream ended before the read was complete. `received` is all there was, now consumed;
    /// `expected` is the number of bytes asked for, `nil` when it was a separator.
    case truncated(received: [UInt8], expected: Int?)
    /// A line or frame is longer than its limit. Nothing was consumed; `scanned` bytes were looked
    /// at before the separator, or hold none of it. `skip(through:)` goes on behind it.
    case limitExceeded(limit: Int, scanned: Int, separatorFound: Bool)
    /// The peer reset or broke the connection.
    case reset(errno: Int32)
    /// The peer has taken nothing for the write-stall time.
    case stalled
    /// The peer has kept a read waiting beyond a deadline of the stream's options. Reads are over;
    /// what is written still leaves.
    case peerTimedOut(PeerDeadline)
    /// More descriptors came than the call or this process has room for (recvmsg(2), MSG_CTRUNC).
    /// All that came are closed, and what they came with is lost; the stream goes on behind it.
    case ancillaryTruncated

    /// A datagram was longer than the socket's `maxReceiveSize`; it is lost.
    case datagramTruncated(size: Int, limit: Int, source: SocketAddress)
    /// A datagram sent earlier did not arrive at this peer: ICMP says so (`ECONNREFUSED`: nobody
    /// listens there), or the kernel. `nil` if it is not known which peer. The socket lives on.
    case peerFailed(SocketAddress?, errno: Int32)

    // The system:

    /// A system call failed.
    case system(SystemError)
    /// The loop, its thread pool or name resolution failed.
    case reactor(ReactorError)
    /// The address cannot be listened on.
    case listenFailed(address: SocketAddress, SystemError)
    /// None of a host's addresses could be connected to; port 0 for a Unix socket.
    case connectFailed(host: String, port: Int, attempts: [ConnectAttempt])
}

/// One address that could not be connected to.
public struct ConnectAttempt: Error, Hashable, Sendable, CustomStringConvertible {
    /// The address tried.
    public let address: SocketAddress
    /// What failed.
    public let error: SystemError

    /// For example `127.0.0.1:1: connect: Connection refused (errno 111)`.
    public var description: String { "\(address): \(error)" }
}

extension StreamError: CustomStringConvertible {
    /// One line of plain words.
    public var description: String {
        switch self {
        case .closed: "the stream was closed by this side"
        case .aborted: "the stream was aborted by this side"
        case .busy: "another task is reading from this stream"
        case .outputFull(let queued): "\(queued) bytes are queued, over the hard cap"
        case .invalidOption(let name, let rule): "the option \(name) is out of range: \(rule)"
        case .unsupported(let rule): "unsupported: \(rule)"
        case .unavailable(let name): "the stream has no \(name)"
        case .tooManyDescriptors(let count, let limit):
            "\(count) descriptors are over the limit of \(limit)"
        case .cancelled: "the task was cancelled"
        case .timedOut: "the deadline passed"
        case .truncated(let received, let expected):
            "the stream ended after \(received.count) of "
                + "\(expected.map(String.init) ?? "an unknown number of") bytes"
        case .limitExceeded(let limit, let scanned, let found):
            "over the limit of \(limit) bytes: "
                + "\(found ? "the separator came after" : "no separator in") \(scanned) bytes"
        case .reset(let errno): "the peer broke the connection: \(SystemError.text(of: errno))"
        case .stalled: "the peer has taken nothing for too long"
        case .peerTimedOut(let deadline): deadline.words
        case .ancillaryTruncated: "more descriptors came than there is room for"
        case .datagramTooLarge(let size, let limit):
            "a datagram of \(size) bytes is over the limit of \(limit)"
        case .datagramTruncated(let size, let limit, let source):
            "a datagram of \(size) bytes from \(source) is longer than the \(limit) received"
        case .peerFailed(let address, let errno):
            "a datagram to \(address.map(\.description) ?? "a peer") did not arrive: "
                + SystemError.text(of: errno)
        case .system(let error): error.description
        case .reactor(let error): error.description
        case .listenFailed(let address, let error): "cannot listen on \(address): \(error)"
        case .connectFailed(let host, let port, let attempts):
            "cannot connect to \(host)\(port == 0 ? "" : " port \(port)"): "
                + attempts.map(\.description).joined(separator: "; ")
        }
    }
}

/// Why a direction of a transport is over; small, for each transport stores two.
enum EndReason: Hashable {
    case closed
    case aborted
    case stalled
    case loopStopped
    case reset(Int32)
    case peerTimedOut(PeerDeadline)

    var error: StreamError {
        switch self {
        case .closed: .closed
        case .aborted: .aborted
        case .stalled: .stalled
        case .loopStopped: .reactor(.stopped)
        case .reset(let errno): .reset(errno: errno)
        case .peerTimedOut(let deadline): .peerTimedOut(deadline)
        }
    }
}
