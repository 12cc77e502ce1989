// The bounds and defaults of floor 2, each with its reason. Constants; any thread.

package enum StreamBounds {
    /// Bytes before a line's end, unless the caller says otherwise.
    package static let lineLimit = 65_536
    /// Bytes that readToEnd gathers unless told otherwise.
    package static let readToEndLimit = 16 << 20
    /// `drain` waits above this many queued bytes, until a quarter of it is left.
    package static let highWaterMark = 65_536
    /// A write is refused while more than this is queued: nobody waits for `drain`.
    package static let outputCap = 1 << 20
    /// Bytes handed to the kernel for one connection in one turn: the others have their share.
    package static let flushPerTurn = 256 << 10
    /// Bytes received for one connection in one turn, before its reader lets others run.
    package static let receivePerTurn: Int32 = 256 << 10
    /// Results given without suspending before the reader re-queues itself: pulling has no other
    /// brake, a peer that always has data would never let its task suspend.
    package static let resultsInARow: UInt8 = 64
    /// Room offered to one receive.
    package static let receiveBytes = 65_536
    /// A receive of at least this size next time goes straight into the caller's array.
    package static let directReceiveBytes = 4_096
    /// An array of at least this size is queued by reference.
    package static let referencedArrayBytes = 4_096
    /// A drain that finds this much queued sends it at once instead of at the end of the turn.
    package static let eagerFlushBytes = 16_384
    /// Descriptors kept open for one stream until its peer takes them: four full messages. The
    /// same for a datagram socket, and for those that came there and were not received.
    package static let descriptorsQueued = 1_012
    /// How long a stream rests when the kernel has too many descriptors on their way.
    package static let passingRestNanoseconds: UInt64 = 10_000_000
    /// Bytes of input dropped after our end was sent, before the connection is closed anyway.
    package static let lingerBytes: Int32 = 1 << 20
    /// More output than this a peer takes bit by bit, TCP's first window; less at once.
    package static let takenAtOnce: UInt64 = 65_536
    /// Connections accepted in one wake-up.
    package static let acceptsPerWakeUp = 16
    /// The kernel clips it at net.core.somaxconn.
    package static let backlog = 4_096
    /// How long accepting rests when the system is out of descriptors or memory.
    package static let acceptPauseNanoseconds: UInt64 = 100_000_000
    /// How long one address of a host has a head start before the next is tried, RFC 8305 §5.
    package static let connectStagger = Duration.milliseconds(250)
    /// Connections of one server by default, if the descriptor limit allows.
    package static let connections = 10_000
    /// Datagrams received or sent by one system call: what one costs is spread over enough by then.
    package static let datagramsPerCall = 64
    /// Datagrams sent for one socket in one turn: the others have their share.
    package static let datagramsPerTurn = 256
    /// Room for the datagrams of one receive, shared by a loop's sockets; what was never used of it
    /// costs no memory.
    package static let datagramSlabBytes = 4 << 20
    /// Room for what comes beside the datagrams of one receive, if it is wanted: enough for seven
    /// full messages, or one descriptor beside each of them all.
    package static let datagramControlBytes = 8_192
    /// Datagrams that wait for a receive, unless the options say otherwise.
    package static let datagramQueueCount = 4_096
    /// Bytes of them.
    package static let datagramQueueBytes = 4 << 20
    /// What a queued datagram is taken to hold besides its bytes, so that empty ones are bounded.
    package static let datagramOverhead = 128
    /// Failures of peers kept until somebody is told: a peer that is gone answers each datagram.
    package static let peerFailures = 16
    /// How often a datagram is tried again for failures of others: with as many fetched each time,
    /// these are more than a usual receive buffer holds.
    package static let refusalsForOthers = 32
    /// Datagrams joined for the kernel to take apart (UDP_MAX_SEGMENTS of Linux 4.18).
    package static let datagramsJoined = 64
    /// How long sending to a full Unix socket rests first, and at most: the kernel does not tell an
    /// unconnected sender when there is room.
    package static let datagramRestNanoseconds: (first: UInt64, most: UInt64) = (
        1_000_000, 50_000_000
    )
    /// Descriptors left for the program beside those connections.
    package static let sparedDescriptors = 128
}
