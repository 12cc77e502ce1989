// Datagram: one message of a datagram socket, the socket's options and counts. Floor 2; plain
// values.

internal import CEpoll
public import SluiceReactor

/// One datagram that was received.
public struct Datagram: Hashable, Sendable {
    /// All of its bytes; may be empty.
    public var bytes: [UInt8]
    /// Where it came from; ``SocketAddress/isUnnamed`` for a Unix socket that was never bound.
    public var source: SocketAddress

    /// Makes one.
    public init(_ bytes: [UInt8], from source: SocketAddress) {
        self.bytes = bytes
        self.source = source
    }
}

/// What gives way when a queue of received datagrams is full.
public enum DatagramOverflow: Sendable, Hashable {
    /// What comes: the queue stays as it is.
    case dropNewest
    /// What has waited longest: for peers that send their state again and again.
    case dropOldest
}

/// Settings of a datagram socket. A value out of its range makes the call that gets it throw
/// ``StreamError/invalidOption(name:rule:)``.
public struct DatagramOptions: Sendable {
    /// Bytes of the longest datagram that can be received, 1 up to 1 MiB; 65,536 by default, which
    /// is more than UDP knows. A longer one is lost, and the receive throws
    /// ``StreamError/datagramTruncated(size:limit:source:)``.
    public var maxReceiveSize = 65_536
    /// Datagrams that wait for a receive, 1 or more; 4,096 by default.
    public var queueCount = StreamBounds.datagramQueueCount
    /// Bytes that wait for a receive, at least `maxReceiveSize`; 4 MiB by default. Each datagram
    /// counts 128 bytes more than it has.
    public var queueBytes = StreamBounds.datagramQueueBytes
    /// Who gives way when more come than are received.
    ///
    /// With `dropNewest`, the default, at most one system call's worth is taken from the kernel
    /// before it is wanted: the queue is the kernel's (`receiveBuffer`), which drops what does not
    /// fit. With `dropOldest` all that comes is taken, and the oldest are dropped.
    public var overflow = DatagramOverflow.dropNewest
    /// Bytes queued for sending above which `send` waits, 0 or more; 64 KiB by default.
    public var highWaterMark = StreamBounds.highWaterMark
    /// Bytes queued for sending above which `write` and `send` throw `outputFull`, at least the
    /// high mark; 1 MiB by default. Each datagram counts 128 bytes more than it has.
    public var outputCap = StreamBounds.outputCap
    /// Lets several sockets share the load of one port. socket(7), SO_REUSEPORT.
    public var reusePort = false
    /// Lets the kernel split and join datagrams of one size (UDP GSO and GRO) where it can; on by
    /// default. Nothing that is sent or received differs.
    public var joinsDatagrams = true
    /// Descriptors that may come beside one datagram, 0 up to ``Ancillary/descriptorsMax``, for
    /// ``DatagramSocket/receiveWithAncillary()``; a datagram with more is lost, and they are
    /// closed. `nil`, the default: the kernel closes what comes. Unix sockets alone; elsewhere
    /// opening throws ``StreamError/unsupported(_:)``.
    ///
    /// Datagrams are received many at a time, those that wait with their descriptors open: 1,012 of
    /// them at most, or one system call's.
    public var ancillaryCapacity: Int?
    /// Whether each datagram that is received says who sent it, checked by the kernel; needs an
    /// `ancillaryCapacity`. An unnamed socket is bound by the kernel then. unix(7), SO_PASSCRED.
    public var receivesCredentials = false
    /// The kernel's receive buffer in bytes, 1 up to 1 GiB; the kernel's choice by default.
    /// socket(7), SO_RCVBUF.
    public var receiveBuffer: Int?
    /// The kernel's send buffer likewise. It limits the datagrams of Unix sockets, and what all
    /// their peers together have not received yet: a few that receive nothing may use it up, and
    /// then nobody can be sent to. SO_SNDBUF.
    public var sendBuffer: Int?

    /// The defaults.
    public init() {}

    func checked() throws(StreamError) -> DatagramSettings {
        let bytes = 1...Int(Int32.max) / 2
        let sizes = 1...1 << 20
        try require(sizes.contains(maxReceiveSize), "maxReceiveSize", "1 byte to 1 MiB")
        try require(queueCount > 0, "queueCount", "1 or more datagrams")
        try require(queueBytes >= maxReceiveSize, "queueBytes", "at least maxReceiveSize")
        try require(queueBytes <= 1 << 40, "queueBytes", "at most 1 TiB")
        try require(highWaterMark >= 0, "highWaterMark", "0 or more bytes")
        try require(outputCap >= highWaterMark, "outputCap", "at least highWaterMark")
        try require(outputCap <= 1 << 40, "outputCap", "at most 1 TiB")
        try require(bytes.contains(receiveBuffer ?? 1), "receiveBuffer", "1 byte to 1 GiB")
        try require(bytes.contains(sendBuffer ?? 1), "sendBuffer", "1 byte to 1 GiB")
        let capacities = 0...Ancillary.descriptorsMax
        try require(
            capacities.contains(ancillaryCapacity ?? 0), "ancillaryCapacity", "0 to 253 descriptors"
        )
        try require(
            ancillaryCapacity != nil || !receivesCredentials, "receivesCredentials",
            "together with ancillaryCapacity")
        return DatagramSettings(self)
    }
}

/// Checked options.
final class DatagramSettings: Sendable {
    let options: DatagramOptions
    /// Bytes of room for one datagram.
    let room: Int
    /// Whether the kernel may hand over several datagrams as one.
    let joinsReceived: Bool
    /// Bytes of room for what comes beside one datagram; 0 if that is not wanted.
    let controlRoom: Int
    /// Datagrams asked for by one receive: never more than the queue may hold.
    let batch: Int

    init(_ options: DatagramOptions) {
        self.options = options
        room = options.maxReceiveSize
        // What the kernel has joined is received whole, so it must have its place.
        joinsReceived =
            options.joinsDatagrams && room >= 65_536
            && options.queueCount >= StreamBounds.datagramsJoined
        let count = options.queueCount / (joinsReceived ? StreamBounds.datagramsJoined : 1)
        let bytes = min(options.queueBytes, StreamBounds.datagramSlabBytes) / room
        var most = min(count, bytes, StreamBounds.datagramsPerCall)
        if let capacity = options.ancillaryCapacity {
            controlRoom = ArrivedAncillary.room(capacity: capacity)
            most = min(most, StreamBounds.datagramControlBytes / controlRoom)
            most = min(most, StreamBounds.descriptorsQueued / max(1, capacity))
        } else {
            controlRoom = 0
        }
        batch = max(1, most)
    }

    var shim: ce_datagram_options {
        var flags = CE_DATAGRAM_ERRORS.rawValue | CE_DATAGRAM_DROPS.rawValue
        if options.reusePort { flags |= CE_DATAGRAM_REUSE_PORT.rawValue }
        if joinsReceived { flags |= CE_DATAGRAM_JOINED.rawValue }
        if options.receivesCredentials { flags |= CE_DATAGRAM_CREDENTIALS.rawValue }
        return ce_datagram_options(
            flags: flags, receive_buffer_bytes: Int32(options.receiveBuffer ?? 0),
            send_buffer_bytes: Int32(options.sendBuffer ?? 0))
    }
}

/// Counts of a datagram socket since it was opened.
public struct DatagramStatistics: Hashable, Sendable {
    /// Datagrams taken from the kernel.
    public var received = 0
    /// Of these, dropped as the oldest of a full queue.
    public var dropped = 0
    /// Of these, lost because they were longer than `maxReceiveSize`.
    public var truncated = 0
    /// Of these, lost because more descriptors came with them than there was room for.
    public var ancillaryTruncated = 0
    /// Dropped by the kernel for want of room in its receive buffer, as of the last datagram
    /// received; udp(7). Of those it has joined each run counts as one. Unix senders wait instead.
    public var droppedByKernel = 0
    /// Datagrams the kernel took for sending.
    public var sent = 0
    /// Datagrams it did not: their peers' failures were reported.
    public var notSent = 0
    /// Failures of peers that nobody was told of, since too many came.
    public var failuresUnseen = 0
    /// Datagrams that wait for a receive now, and their bytes.
    public var waiting = 0
    /// Bytes of them, each datagram counted with 128 more than it has.
    public var waitingBytes = 0
    /// Descriptors beside them.
    public var waitingDescriptors = 0
    /// Datagrams that wait to be sent now.
    public var queued = 0

    package init() {}
}
