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
    /// Conversations of a datagram server.
    public static let datagramPeers = 1_024
    /// Datagrams that wait in one of them: one system call's worth.
    public static let datagramPeerQueueCount = 64
    /// Bytes that wait in all of them.
    public static let datagramServerBytes = 16 << 20
    /// How long a datagram server rests when its socket cannot be received from.
    static let datagramRest = Duration.milliseconds(100)
}
