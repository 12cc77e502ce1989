// Options and counts of a datagram server. Floor 3; plain values.

public import SluiceReactor
public import SluiceStreams

/// Settings of a datagram server. A value out of its range makes the start throw
/// ``StreamError/invalidOption(name:rule:)``.
public struct DatagramServerOptions: Sendable {
    /// What a sender without an address gets: a Unix socket that was never bound, or a UDP source
    /// with port 0.
    public enum Unnamed: Sendable, Hashable {
        /// Its datagrams are counted and dropped.
        case ignore
        /// Each of its datagrams is a conversation of its own, over with this one packet, and
        /// cannot be answered: sending throws.
        case handle
    }

    /// The socket's limits and buffers.
    public var socket = DatagramOptions()
    /// Conversations at once, 1 or more; 1,024 by default. A new peer ends the one that was silent
    /// for longest. (Sources can be forged: whoever can send may end others' conversations so.)
    public var maxPeers = PacketBounds.datagramPeers
    /// Datagrams of one peer that wait for its handler, 1 or more; 64 by default.
    public var queueCount = PacketBounds.datagramPeerQueueCount
    /// Bytes that wait, of all peers together; 16 MiB by default. What comes on top is dropped.
    public var queueBytes = PacketBounds.datagramServerBytes
    /// Who gives way when a peer's queue is full.
    public var overflow = DatagramOverflow.dropNewest
    /// What senders without an address get; ignored by default.
    public var unnamed = Unnamed.ignore
    /// Gets a report when a handler throws.
    public var report: @Sendable (Report) -> Void = Report.print

    /// The defaults.
    public init() {}

    func checked() throws(StreamError) {
        let counts = 1...1 << 24
        if !counts.contains(maxPeers) {
            throw .invalidOption(name: "maxPeers", rule: "1 to 16,777,216 peers")
        }
        if !counts.contains(queueCount) {
            throw .invalidOption(name: "queueCount", rule: "1 to 16,777,216 datagrams")
        }
        if !(1...1 << 40).contains(queueBytes) {
            throw .invalidOption(name: "queueBytes", rule: "1 byte to 1 TiB")
        }
    }
}

/// Counts of a datagram server since its start.
public struct DatagramServerStatistics: Hashable, Sendable {
    /// Conversations begun.
    public var conversations = 0
    /// Conversations now.
    public var peers = 0
    /// First datagrams of a peer that made no packet: dropped, nobody was told.
    public var malformed = 0
    /// Datagrams dropped because a peer's queue, or all together, were full; of descriptors 1,012
    /// may wait in all.
    public var dropped = 0
    /// Conversations ended for the sake of a new peer.
    public var evicted = 0
    /// First datagrams of new peers dropped because too many handlers of evicted ones still ran.
    public var refused = 0
    /// Datagrams of senders without an address that were dropped.
    public var unnamed = 0
    /// Handlers that threw something else than cancellation, or the failure of their peer.
    public var handlerFailures = 0
    /// Failures of peers that had no conversation, or that ended it: their handlers threw them on.
    public var peerFailures = 0
    /// Datagrams that wait for their handlers now, and their bytes.
    public var waiting = 0
    /// Bytes of them, each datagram counted with 128 more than it has.
    public var waitingBytes = 0
    /// The socket's own counts.
    public var socket = DatagramStatistics()
}
