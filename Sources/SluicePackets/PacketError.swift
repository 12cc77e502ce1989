// What can go wrong on floor 3, sorted by who is at fault. Plain values; any thread.

public import SluiceReactor
public import SluiceStreams

/// An error of a codec, an endpoint or a packet connection.
public enum PacketError: Error, Hashable, Sendable {
    // The caller:

    /// The packet cannot be written by its codec: a separator in a line, a length that its prefix
    /// cannot hold. Nothing of it was sent, the endpoint stays usable.
    case unencodable(String)
    /// Another task is receiving on this endpoint.
    case busy
    /// Two types of a set of packets have the same id.
    case duplicateID(UInt64, types: [String])

    /// The connection was made without the half that is needed: a reader, to receive.
    case notReadable
    /// The connection was made without the half that is needed: a writer, to send.
    case notWritable
    /// A listener or a hook of this side threw something of its own, in its own words.
    case callbackThrew(String)

    // The peer:

    /// The peer has ended its packets while one of them was waited for.
    case peerClosed
    /// The connection was closed by its own deadline for idle ones.
    case idle
    /// The peer answered a request with a failure.
    case requestFailed(RequestFailure)
    /// The bytes of one packet make no sense. Decoding goes on behind them, unless the codec cannot
    /// know where that is: then every later receive throws ``desynchronized``.
    case malformed(String)
    /// A packet is longer than its limit, in bytes of its payload.
    case limitExceeded(limit: Int)
    /// The stream ended inside a packet: so many bytes of it had come.
    case truncated(received: Int)
    /// Nothing more can be received: after an error that was thrown before this one it is not known
    /// where the next packet begins. Sending goes on.
    case desynchronized

    /// A datagram of this sender makes no packet: why. The next receive goes on behind it.
    case malformedDatagram(from: SocketAddress, reason: String)

    /// The stream below failed: reset, closed by this side, cancelled, timed out …
    indirect case stream(StreamError)
}

extension PacketError: CustomStringConvertible {
    /// One line of plain words.
    public var description: String {
        switch self {
        case .unencodable(let reason): "the packet cannot be encoded: \(reason)"
        case .busy: "another task is receiving on this endpoint"
        case .duplicateID(let id, let types):
            "\(types.joined(separator: " and ")) both have the id \(id)"
        case .notReadable: "the connection has no reader"
        case .notWritable: "the connection has no writer"
        case .callbackThrew(let words): "a callback of this side threw: \(words)"
        case .peerClosed: "the peer has ended its packets"
        case .idle: "the connection was idle for too long"
        case .requestFailed(let failure): failure.description
        case .malformed(let reason): "malformed packet: \(reason)"
        case .limitExceeded(let limit): "a packet is longer than its limit of \(limit) bytes"
        case .truncated(let received): "the stream ended \(received) bytes into a packet"
        case .desynchronized: "the borders of the peer's packets were lost in an earlier error"
        case .malformedDatagram(let source, let reason):
            "a datagram from \(source) makes no packet: \(reason)"
        case .stream(let error): error.description
        }
    }
}

extension PacketError: HandlerError {
    /// Cancellation passes through the stream.
    package var isCancellation: Bool { self == .stream(.cancelled) }

    /// So does a reset.
    package var isReset: Bool {
        if case .stream(let error) = self { error.isReset } else { false }
    }

    /// So does what became of a datagram.
    package var isPeerFailure: Bool {
        if case .stream(let error) = self { error.isPeerFailure } else { false }
    }

    /// What a server counts a handler's error as.
    package var closeReason: CloseReason {
        switch self {
        case .truncated: .truncated
        case .limitExceeded: .limitExceeded
        case .stream(let error): error.closeReason
        case .peerClosed: .peerEnd
        case .idle: .idle
        case .notReadable, .notWritable, .callbackThrew, .requestFailed: .handlerThrew
        case .malformed, .desynchronized, .unencodable, .busy, .duplicateID, .malformedDatagram:
            .handlerThrew
        }
    }
}

extension PacketError: CustomReflectable {
    /// Nothing but the description. (Mirrors of Swift 6.3 free the box of an indirect case once too
    /// often; test libraries make mirrors of every error.)
    public var customMirror: Mirror { Mirror(self, children: EmptyCollection<Mirror.Child>()) }
}
