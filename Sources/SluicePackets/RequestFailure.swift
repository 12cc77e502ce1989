// What a request ends with when it is refused. Floor 3; a plain value.

/// A request that failed: what its handler threw there, or what came back from the peer.
///
/// A handler that throws one answers with its flags and payload; any other error is answered with
/// the text that stock peers use, which tells nothing about it.
public struct RequestFailure: Error, Hashable, Sendable {
    /// As the answer has them.
    public var flags: UInt64
    /// As the answer has it.
    public var payload: [UInt8]

    /// A failure with these.
    public init(flags: UInt64 = 0, payload: [UInt8] = []) {
        self.flags = flags
        self.payload = payload
    }

    /// A failure with a text.
    public init(flags: UInt64 = 0, _ text: String) {
        self.init(flags: flags, payload: Array(text.utf8))
    }

    /// The payload as UTF-8, mended where it is none.
    public var text: String { String(decoding: payload, as: UTF8.self) }
}

extension RequestFailure: CustomStringConvertible {
    /// For example `request failed: no request handler (flags 3)`.
    public var description: String {
        let text = String(decoding: payload.prefix(200), as: UTF8.self)
        return "request failed: \(text)\(flags == 0 ? "" : " (flags \(flags))")"
    }
}
