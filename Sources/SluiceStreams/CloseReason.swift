// CloseReason: why a server's connection ended, for counters. Floor 2; plain values.

package import SluiceReactor

/// Why a connection of a server ended. Each ends for one reason; of several the first in this list
/// that fits is counted; the raw values are their places in it.
public enum CloseReason: UInt8, Hashable, Sendable, CaseIterable {
    /// The server's shutdown aborted it under its handler, or ended a close that was in progress.
    case forced
    /// The peer reset or broke it.
    case reset
    /// The peer let ``StreamOptions/firstByteTimeout`` pass.
    case firstByte
    /// The peer let ``StreamOptions/messageTimeout`` pass.
    case message
    /// The peer let ``StreamOptions/idleTimeout`` pass.
    case idle
    /// The peer took nothing for ``StreamOptions/writeStallTimeout``.
    case stalled
    /// An orderly close took longer than ``StreamOptions/closeTimeout``, and bytes were lost.
    case closeTimeout
    /// Its loop stopped.
    case loopStopped
    /// The handler aborted it.
    case aborted
    /// The peer ended it in the middle of what a read wanted: the handler threw
    /// ``StreamError/truncated(received:expected:)``.
    case truncated
    /// The handler threw ``StreamError/limitExceeded(limit:scanned:separatorFound:)``.
    case limitExceeded
    /// The handler threw ``StreamError/outputFull(queued:)``.
    case overflow
    /// The handler threw something else.
    case handlerThrew
    /// The handler was cancelled by the server's shutdown and gave up.
    case cancelled
    /// The handler gave the descriptor away.
    case detached
    /// The peer's end came first.
    case peerEnd
    /// This side closed it first.
    case local
}

extension Transport {
    /// Why the stream itself ended, as far as it knows; `nil` for an orderly close.
    final var breakReason: CloseReason? {
        guard let input = reason(of: state.pointee.inputFailure) else {
            return reason(of: state.pointee.outputFailure)
        }
        guard let output = reason(of: state.pointee.outputFailure) else { return input }
        return input.rawValue <= output.rawValue ? input : output
    }

    private func reason(of end: EndReason?) -> CloseReason? {
        switch end {
        case .reset: .reset
        case .peerTimedOut(.firstByte): .firstByte
        case .peerTimedOut(.message): .message
        case .peerTimedOut(.idle): .idle
        case .stalled: .stalled
        case .loopStopped: .loopStopped
        case .aborted: state.pointee.inputFailure == .aborted ? .aborted : .closeTimeout
        case .closed, nil: nil
        }
    }
}

/// An error that knows how a server counts it when a handler throws it; those of higher floors too.
package protocol HandlerError: Error {
    /// Whether it is a task's cancellation, which nobody needs to be told of.
    var isCancellation: Bool { get }
    /// Whether it says that a peer broke its connection.
    var isReset: Bool { get }
    /// Whether it says that datagrams do not reach a peer.
    var isPeerFailure: Bool { get }
    /// What it is counted as.
    var closeReason: CloseReason { get }
}

extension HandlerError {
    package var isReset: Bool { false }
    package var isPeerFailure: Bool { false }
}

extension StreamError: HandlerError {
    package var isCancellation: Bool { self == .cancelled }

    package var isReset: Bool {
        if case .reset = self { true } else { false }
    }

    package var isPeerFailure: Bool {
        if case .peerFailed = self { true } else { false }
    }

    package var closeReason: CloseReason {
        switch self {
        case .truncated: .truncated
        case .limitExceeded: .limitExceeded
        case .outputFull: .overflow
        default: .handlerThrew
        }
    }
}

extension ReactorError: HandlerError {
    package var isCancellation: Bool { self == .cancelled }
    package var closeReason: CloseReason { .handlerThrew }
}

extension CancellationError: HandlerError {
    package var isCancellation: Bool { true }
    package var closeReason: CloseReason { .handlerThrew }
}
