// Options of streams and servers, and the check of their ranges. Floor 2; plain values.

internal import CEpoll
internal import Glibc
public import SluiceReactor

/// Settings of one stream. A value out of its range makes the call that gets it throw
/// ``StreamError/invalidOption(name:rule:)``; nothing is clamped silently.
public struct StreamOptions: Sendable {
    /// Bytes before a line's end or separator, 1 or more; 65,536 by default. Each call may give its
    /// own.
    public var limit = StreamBounds.lineLimit
    /// Queued bytes above which `drain` waits, 0 or more; 65,536 by default.
    public var highWaterMark = StreamBounds.highWaterMark
    /// Queued bytes at which it goes on, 0 up to the high mark; a quarter of the high mark by
    /// default.
    public var lowWaterMark: Int?
    /// Queued bytes above which a write throws `outputFull`, at least the high mark; 1 MiB by
    /// default.
    public var outputCap = StreamBounds.outputCap
    /// The stream is aborted as `stalled` when its peer takes nothing of queued bytes for this
    /// long; 30 s by default, `nil` waits without end.
    public var writeStallTimeout: Duration? = .seconds(30)
    /// How long an orderly close may take before it becomes an abort, more than 0; 5 s by default.
    public var closeTimeout: Duration = .seconds(5)

    /// The defaults.
    public init() {}

    func checked() throws(StreamError) -> StreamSettings {
        let low = lowWaterMark ?? highWaterMark / 4
        try require(limit > 0, "limit", "1 or more bytes")
        try require(highWaterMark >= 0, "highWaterMark", "0 or more bytes")
        try require(low >= 0 && low <= highWaterMark, "lowWaterMark", "0 up to highWaterMark")
        try require(outputCap >= highWaterMark, "outputCap", "at least highWaterMark")
        try require(outputCap <= 1 << 40, "outputCap", "at most 1 TiB")
        try require(writeStallTimeout ?? .seconds(1) > .zero, "writeStallTimeout", "more than 0")
        try require(closeTimeout > .zero, "closeTimeout", "more than 0")
        return StreamSettings(
            limit: limit, high: highWaterMark, low: low, outputCap: outputCap,
            writeStall: writeStallTimeout?.clampedNanoseconds ?? 0,
            close: closeTimeout.clampedNanoseconds)
    }
}

/// Checked options, shared by all streams of a server.
final class StreamSettings: Sendable {
    let limit: Int
    let high: Int
    let low: Int
    let outputCap: Int
    /// Nanoseconds; 0 for none.
    let writeStall: UInt64
    let close: UInt64

    init(limit: Int, high: Int, low: Int, outputCap: Int, writeStall: UInt64, close: UInt64) {
        self.limit = limit
        self.high = high
        self.low = low
        self.outputCap = outputCap
        self.writeStall = writeStall
        self.close = close
    }
}

/// Settings of a server.
public struct ServerOptions: Sendable {
    /// Settings of each connection's stream.
    public var stream = StreamOptions()
    /// Finished handshakes the kernel may queue, 1 or more; 4,096 by default, clipped by the kernel
    /// at net.core.somaxconn.
    public var backlog = StreamBounds.backlog
    /// Connections served at once, 1 or more. The next client waits in the backlog. By default
    /// 10,000, or what the descriptor limit leaves when 128 are spared (half of it below 256).
    public var maxConnections: Int?
    /// Connections accepted in one wake-up, 1 or more; 16 by default.
    public var acceptsPerWakeUp = StreamBounds.acceptsPerWakeUp
    /// Several processes may listen on the same address, the kernel spreads; off by default.
    /// socket(7), SO_REUSEPORT.
    public var reusePort = false
    /// Small writes leave at once instead of waiting for an acknowledgement; on by default. tcp(7),
    /// TCP_NODELAY.
    public var noDelay = true
    /// A silent peer is asked whether it lives; on by default. `nil` asks nothing.
    public var keepAlive: KeepAlive? = KeepAlive()
    /// The connection is broken when sent bytes stay unacknowledged for this long, 1 ms up to 24
    /// days; 30 s by default, `nil` leaves it to the kernel (some 15 minutes). tcp(7),
    /// TCP_USER_TIMEOUT.
    public var userTimeout: Duration? = .seconds(30)
    /// The kernel's receive buffer for each connection in bytes, 1 or more; the kernel's choice by
    /// default. socket(7), SO_RCVBUF.
    public var receiveBuffer: Int?
    /// The kernel's send buffer likewise. socket(7), SO_SNDBUF.
    public var sendBuffer: Int?
    /// Gets the server's reports, on its loop's thread.
    public var report: @Sendable (Report) -> Void = Report.print

    /// The defaults.
    public init() {}

    /// Times of TCP's keep-alive, tcp(7): by default a peer that is gone is found within two
    /// minutes.
    public struct KeepAlive: Sendable {
        /// Silence before the first question, 1 s or more in whole seconds.
        public var idle = Duration.seconds(60)
        /// Between questions.
        public var interval = Duration.seconds(15)
        /// Unanswered questions until the connection is broken, 1 to 127.
        public var count = 4

        /// 60 s, 15 s, 4.
        public init() {}
    }

    private func checkedListenOptions() throws(StreamError) -> ce_listen_options {
        let bytes = 1...Int(Int32.max) / 2
        let times = 1...32_767
        var options = ce_listen_options()
        options.backlog = Int32(backlog)
        if noDelay { options.flags |= CE_NO_DELAY.rawValue }
        if reusePort { options.flags |= CE_REUSE_PORT.rawValue }
        if let keepAlive {
            let (idle, interval) = (keepAlive.idle.wholeSeconds, keepAlive.interval.wholeSeconds)
            try require(times.contains(idle), "keepAlive.idle", "1 to 32,767 seconds")
            try require(times.contains(interval), "keepAlive.interval", "1 to 32,767 seconds")
            try require((1...127).contains(keepAlive.count), "keepAlive.count", "1 to 127")
            options.flags |= CE_KEEP_ALIVE.rawValue
            options.keep_alive_idle_seconds = Int32(idle)
            options.keep_alive_interval_seconds = Int32(interval)
            options.keep_alive_count = Int32(keepAlive.count)
        }
        if let userTimeout {
            let milliseconds = Int(clamping: userTimeout.clampedNanoseconds / 1_000_000)
            try require(
                (1...Int(Int32.max)).contains(milliseconds), "userTimeout", "1 ms to 24 days")
            options.user_timeout_milliseconds = Int32(milliseconds)
        }
        try require(bytes.contains(receiveBuffer ?? 1), "receiveBuffer", "1 byte to 1 GiB")
        try require(bytes.contains(sendBuffer ?? 1), "sendBuffer", "1 byte to 1 GiB")
        options.receive_buffer_bytes = Int32(receiveBuffer ?? 0)
        options.send_buffer_bytes = Int32(sendBuffer ?? 0)
        return options
    }

    func checked() throws(StreamError) -> ServerSettings {
        try require((1...Int(Int32.max)).contains(backlog), "backlog", "1 or more")
        try require(acceptsPerWakeUp > 0, "acceptsPerWakeUp", "1 or more")
        try require(maxConnections ?? 1 > 0, "maxConnections", "1 or more")
        return ServerSettings(
            stream: try stream.checked(), listenOptions: try checkedListenOptions(),
            connections: maxConnections ?? Self.connectionsByDefault(),
            acceptsPerWakeUp: acceptsPerWakeUp, report: report)
    }

    private static func connectionsByDefault() -> Int {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else {
            return StreamBounds.connections
        }
        let descriptors = Int(clamping: limit.rlim_cur)
        let spared =
            descriptors < 2 * StreamBounds.sparedDescriptors
            ? descriptors / 2 : StreamBounds.sparedDescriptors
        return max(1, min(StreamBounds.connections, descriptors - spared))
    }
}

/// Checked server options.
struct ServerSettings: Sendable {
    let stream: StreamSettings
    let listenOptions: ce_listen_options
    let connections: Int
    let acceptsPerWakeUp: Int
    let report: @Sendable (Report) -> Void
}

private func require(_ isInRange: Bool, _ name: String, _ rule: String) throws(StreamError) {
    if !isInRange { throw .invalidOption(name: name, rule: rule) }
}

extension Duration {
    /// Seconds, with a begun one counted.
    fileprivate var wholeSeconds: Int {
        Int(clamping: (clampedNanoseconds + 999_999_999) / 1_000_000_000)
    }
}
