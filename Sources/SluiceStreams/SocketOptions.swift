// SocketOptions: what the kernel is told about a connection's socket. Floor 2; plain values.

internal import CEpoll
internal import SluiceReactor

/// Settings of a stream socket, for the connections of a server and for one's own.
///
/// Those of TCP do not concern Unix sockets.
public struct SocketOptions: Sendable {
    /// Small writes leave at once instead of waiting for an acknowledgement; on by default. tcp(7),
    /// TCP_NODELAY.
    public var noDelay = true
    /// A silent peer is asked whether it lives; on by default. `nil` asks nothing.
    public var keepAlive: KeepAlive? = KeepAlive()
    /// The connection is broken when sent bytes stay unacknowledged for this long, 1 ms up to 24
    /// days; 30 s by default, `nil` leaves it to the kernel (some 15 minutes). tcp(7),
    /// TCP_USER_TIMEOUT.
    public var userTimeout: Duration? = .seconds(30)
    /// The kernel's receive buffer for each connection in bytes, 1 up to 1 GiB; the kernel's choice
    /// by default. socket(7), SO_RCVBUF.
    public var receiveBuffer: Int?
    /// The kernel's send buffer likewise. socket(7), SO_SNDBUF.
    public var sendBuffer: Int?

    /// The defaults.
    public init() {}

    /// Times of TCP's keep-alive, tcp(7): by default a peer that is gone is found within two
    /// minutes.
    public struct KeepAlive: Sendable {
        /// Silence before the first question, 1 s up to 32,767 s in whole seconds.
        public var idle = Duration.seconds(60)
        /// Between questions, likewise.
        public var interval = Duration.seconds(15)
        /// Unanswered questions until the connection is broken, 1 to 127.
        public var count = 4

        /// 60 s, 15 s, 4.
        public init() {}
    }

    /// As the shim wants them.
    func checked() throws(StreamError) -> ce_socket_options {
        let bytes = 1...Int(Int32.max) / 2
        let times = 1...32_767
        var options = ce_socket_options()
        if noDelay { options.flags |= CE_NO_DELAY.rawValue }
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
}

extension Duration {
    /// Seconds, with a begun one counted.
    fileprivate var wholeSeconds: Int {
        Int(clamping: (clampedNanoseconds + 999_999_999) / 1_000_000_000)
    }
}
