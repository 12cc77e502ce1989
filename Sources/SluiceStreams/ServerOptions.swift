// Options of servers, and the check of their ranges. Floor 2; plain values.

internal import CEpoll
internal import Glibc
public import SluiceReactor

/// Settings of a server. A value out of its range makes the start throw
/// ``StreamError/invalidOption(name:rule:)``.
public struct ServerOptions: Sendable {
    /// Settings of each connection's stream.
    public var stream = StreamOptions()
    /// Settings of each connection's socket.
    public var socket = SocketOptions()
    /// Finished handshakes the kernel may queue, 1 or more; 4,096 by default, clipped by the kernel
    /// at net.core.somaxconn.
    public var backlog = StreamBounds.backlog
    /// Connections served at once, 1 or more. The next client waits in the backlog. By default
    /// 10,000, or what the descriptor limit leaves when 128 are spared (half of it below 256). More
    /// than it leaves makes the start throw, with the limit to set.
    public var maxConnections: Int?
    /// Connections accepted in one wake-up, 1 or more; 16 by default.
    public var acceptsPerWakeUp = StreamBounds.acceptsPerWakeUp
    /// Several processes may listen on the same address, the kernel spreads; off by default.
    /// socket(7), SO_REUSEPORT.
    public var reusePort = false
    /// Listens, but accepts nobody until `release`: for services that have to start first.
    package var isHeld = false
    /// Gets the server's reports, on its loop's thread.
    public var report: @Sendable (Report) -> Void = Report.print

    /// The defaults.
    public init() {}

    /// For services that strangers can reach: the defaults with the deadlines of
    /// ``StreamOptions/edge``.
    public static var edge: ServerOptions {
        var options = ServerOptions()
        options.stream = .edge
        return options
    }

    func checked() throws(StreamError) -> ServerSettings {
        try require((1...Int(Int32.max)).contains(backlog), "backlog", "1 or more")
        try require(acceptsPerWakeUp > 0, "acceptsPerWakeUp", "1 or more")
        try require(maxConnections ?? 1 > 0, "maxConnections", "1 or more")
        var listenOptions = ce_listen_options()
        listenOptions.backlog = Int32(backlog)
        listenOptions.socket = try socket.checked()
        if reusePort { listenOptions.socket.flags |= CE_REUSE_PORT.rawValue }
        return ServerSettings(
            stream: try stream.checked(), listenOptions: listenOptions,
            connections: try connectionsWithinLimit(DescriptorLimit.current),
            acceptsPerWakeUp: acceptsPerWakeUp, isHeld: isHeld, report: report)
    }

    /// A cap that the descriptor limit cannot hold would fail in the middle of the work.
    private func connectionsWithinLimit(_ limit: DescriptorLimit) throws(StreamError) -> Int {
        guard let wanted = maxConnections else {
            return min(StreamBounds.connections, limit.connections)
        }
        try require(
            wanted <= limit.connections, "maxConnections",
            "at most \(limit.connections) with a descriptor limit of \(limit.descriptors); "
                + "\(wanted) need a limit of \(DescriptorLimit.needed(for: wanted)) (ulimit -n)")
        return wanted
    }
}

/// How many connections the process's limit of descriptors holds; getrlimit(2), RLIMIT_NOFILE.
struct DescriptorLimit {
    var descriptors: Int

    static var current: DescriptorLimit {
        var limit = rlimit()
        let result = getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        return DescriptorLimit(descriptors: result == 0 ? Int(clamping: limit.rlim_cur) : .max)
    }

    /// What is left when some are spared for the program: half of a small limit.
    var connections: Int {
        let spared = StreamBounds.sparedDescriptors
        return max(1, descriptors < 2 * spared ? descriptors / 2 : descriptors - spared)
    }

    /// The limit that holds so many connections.
    static func needed(for connections: Int) -> Int {
        let spared = StreamBounds.sparedDescriptors
        if connections <= spared { return 2 * connections }
        let (limit, isOver) = connections.addingReportingOverflow(spared)
        return isOver ? .max : limit
    }
}

/// Checked server options.
struct ServerSettings: Sendable {
    let stream: StreamSettings
    let listenOptions: ce_listen_options
    let connections: Int
    let acceptsPerWakeUp: Int
    let isHeld: Bool
    let report: @Sendable (Report) -> Void
}
