// Requests and what comes back, as plain values. Floor 3; any thread.

/// A request as its handler gets it.
public struct Request: Hashable, Sendable {
    /// Which of the service's requests it is: 0 to 2^64 - 2.
    public var type: UInt64
    /// Whatever the two sides have agreed on: 62 bits.
    public var flags: UInt64
    /// Whatever the two sides have agreed on.
    public var payload: [UInt8]
    /// The channel it came on, and is answered on; 0 unless the peer says otherwise.
    public var channel: UInt64

    /// A request with these.
    public init(
        _ type: UInt64, flags: UInt64 = 0, payload: [UInt8] = [], channel: UInt64 = 0
    ) {
        self.type = type
        self.flags = flags
        self.payload = payload
        self.channel = channel
    }
}

/// What a handler answers with: flags, bytes, both or nothing. A handler that throws says that the
/// request has failed: see ``RequestFailure``.
public struct Answer: Hashable, Sendable {
    /// 0 to 2^61 - 1; wider ones make the answer a failure.
    public var flags: UInt64
    /// The answer's bytes.
    public var payload: [UInt8]

    /// An answer; nothing by default.
    public init(flags: UInt64 = 0, payload: [UInt8] = []) {
        self.flags = flags
        self.payload = payload
    }

    /// No flags, no bytes: done.
    public static var nothing: Answer { Answer() }
    /// Flags alone.
    public static func flags(_ flags: UInt64) -> Answer { Answer(flags: flags) }
    /// Bytes alone.
    public static func bytes(_ payload: [UInt8]) -> Answer { Answer(payload: payload) }
    /// A text's UTF-8 bytes.
    public static func text(_ text: String) -> Answer { Answer(payload: Array(text.utf8)) }
}

/// What the peer answered.
public struct Response: Hashable, Sendable {
    /// Whether the request was fulfilled. If not, the payload says why, as the peer's handler would
    /// have it.
    public var isOK: Bool
    /// As the answer has them.
    public var flags: UInt64
    /// As the answer has it.
    public var payload: [UInt8]

    /// An answer with these.
    public init(isOK: Bool = true, flags: UInt64 = 0, payload: [UInt8] = []) {
        self.isOK = isOK
        self.flags = flags
        self.payload = payload
    }

    /// The payload as UTF-8, mended where it is none.
    public var text: String { String(decoding: payload, as: UTF8.self) }

    /// The same, if it was fulfilled.
    ///
    /// - Throws: ``PacketError/requestFailed(_:)`` if not.
    public func fulfilled() throws(PacketError) -> Response {
        if isOK { return self }
        throw .requestFailed(RequestFailure(flags: flags, payload: payload))
    }
}

/// Answers the peer's requests: runs on the connection's loop. Many run at the same time, up to
/// ``RequestOptions/servingLimit``; each that does not wait is over before the next request is
/// looked at.
///
/// What it throws is answered as a failure: a ``RequestFailure`` as it is, everything else by the
/// text "exception during handler". The connection lives on.
public typealias RequestHandler =
    nonisolated(nonsending) @Sendable (Request, RequestConnection) async throws -> Answer
