// The bounds and defaults of floor 3, each with its reason. Constants; any thread.

/// The limits that codecs and endpoints have unless they are given others.
public enum PacketBounds {
    /// Bytes of a line's payload: what a person's line never reaches.
    public static let lineLimit = 65_536
    /// Bytes of a frame's payload: 1 MiB.
    public static let frameLimit = 1 << 20
    /// A payload that lacks at least this much is received straight into its packet.
    public static let gatheredBytes = 32 << 10
    /// Bytes of it that one receive may bring: a turn's share of one connection.
    @usableFromInline package static let gatheredAtOnce = 256 << 10
    /// Records inside records: deeper ones are refused, long before the stack is used up.
    public static let nestingLimit = 64
    /// Elements of one packet's arrays that take no byte: so few bytes cannot cause much work.
    public static let emptyElements = 1_024
    /// Packets that a connection decodes in a row for nobody who runs in between, and that its
    /// consumer takes in a row without a wait: others have their turn then.
    static let packetsInARow = 64
    /// Packets that wait in a sequence of one kind, unless it is given another bound.
    public static let packetsBuffered = 64
    /// How long two linked connections send on what has come when one of them has ended.
    static let linkRest = Duration.seconds(5)
    /// Conversations of a datagram server.
    public static let datagramPeers = 1_024
    /// Datagrams that wait in one of them: one system call's worth.
    public static let datagramPeerQueueCount = 64
    /// Bytes that wait in all of them.
    public static let datagramServerBytes = 16 << 20
    /// Bytes of one packet of a request connection.
    public static let requestPacketLimit = 16 << 20
    /// Channels of a request connection.
    public static let requestChannels = 256
    /// Requests of one side under way: 64 times what loopback needs to be busy.
    public static let requestsInFlight = 1_024
    /// Bytes of answers and waiting requests above which requests are not read.
    public static let requestMark = 1 << 20
    /// Bytes of requests kept so that answers can be read: more than the kernel's buffers hold in
    /// both directions, so that two peers who flood each other never wait for each other.
    public static let requestBacklog = 32 << 20
    /// Workers of a request connection that are kept for the next requests.
    static let idleWorkers = 4
    /// Bytes dropped behind a peer's end before nothing more is looked at.
    static let ignoredBytes = 1 << 20
    /// Packets taken before others have their turn.
    static let requestsInARow = 64
    /// How long a datagram server rests when its socket cannot be received from.
    static let datagramRest = Duration.milliseconds(100)
}
