// Report: what a running loop or server has to tell its operator. Floor 1; any thread.

internal import Glibc

/// Something an operator should know: a handler threw, accepting paused, a turn was too long.
public struct Report: Sendable, CustomStringConvertible {
    /// What sort of thing happened. Higher floors add their own.
    public struct Kind: Hashable, Sendable, CustomStringConvertible {
        /// Lower-case words joined by hyphens.
        public let name: String

        /// Makes a kind of one's own.
        public init(_ name: String) {
            self.name = name
        }

        /// The kind's name.
        public var description: String { name }

        /// A turn of the loop took longer than its threshold: every connection waited that long.
        public static let turnTooLong = Kind("turn-too-long")
        /// A connection's handler threw; its connection was closed, the server lives.
        public static let handlerThrew = Kind("handler-threw")
        /// Accepting rests because the system is out of descriptors or memory.
        public static let acceptPaused = Kind("accept-paused")
        /// An accepted connection could not be served and was closed.
        public static let connectionDropped = Kind("connection-dropped")
        /// A listener failed for good; its server closed.
        public static let acceptFailed = Kind("accept-failed")
    }

    /// What sort of thing happened.
    public var kind: Kind
    /// One line of plain words.
    public var message: String
    /// The peer it concerns, if it concerns one.
    public var peer: SocketAddress?
    /// The error behind it, if there is one.
    public var error: (any Error)?
    /// How long it took, where that is the matter.
    public var duration: Duration?

    /// Makes a report.
    public init(
        kind: Kind, message: String, peer: SocketAddress? = nil, error: (any Error)? = nil,
        duration: Duration? = nil
    ) {
        self.kind = kind
        self.message = message
        self.peer = peer
        self.error = error
        self.duration = duration
    }

    /// For example `handler-threw: 127.0.0.1:50112: the peer reset the connection`.
    public var description: String {
        "\(kind): \(peer.map { "\($0): " } ?? "")\(message)"
    }

    /// The default receiver: one line on standard error, at most one a second per kind, with the
    /// number of those left out. Any thread.
    public static let print: @Sendable (Report) -> Void = { report in
        guard let suppressed = printLimit.admit(report.kind) else { return }
        let more = suppressed > 0 ? " (\(suppressed) more suppressed)" : ""
        var line = "sluice: \(report)\(more)\n"
        // A full pipe may hold the line back for a moment; once a second that is bearable.
        line.withUTF8 { _ = write(STDERR_FILENO, $0.baseAddress, $0.count) }
    }

    private static let printLimit = ReportLimit()
}

/// At most one report a second for each kind.
package final class ReportLimit: Sendable {
    private struct Seen {
        var last: ContinuousClock.Instant
        var suppressed: Int
    }
    private let seen = Locked<[Report.Kind: Seen]>([:])

    package init() {}

    /// How many of the kind were left out since the last admitted one, or `nil`: leave this out
    /// too.
    package func admit(_ kind: Report.Kind, at now: ContinuousClock.Instant = .now) -> Int? {
        seen.withLock { seen in
            if let before = seen[kind], now - before.last < .seconds(1) {
                seen[kind]?.suppressed += 1
                return nil
            }
            let suppressed = seen[kind]?.suppressed ?? 0
            seen[kind] = Seen(last: now, suppressed: 0)
            return suppressed
        }
    }
}
