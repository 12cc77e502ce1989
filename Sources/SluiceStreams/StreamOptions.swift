// Options of streams, and the check of their ranges. Floor 2; plain values.

internal import SluiceReactor

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
    /// How long reads may wait for the peer's first byte, from the first of them on; `nil`, the
    /// default, waits without end. Of this and the next two: past it reads throw
    /// ``StreamError/peerTimedOut(_:)``, and what is written still leaves.
    public var firstByteTimeout: Duration?
    /// How long a read may wait for the rest once a part of it has come, whatever trickles in
    /// meanwhile: a peer that sends a byte a minute is cut all the same. Every single read call
    /// counts, `readToEnd` too; `nil` by default.
    public var messageTimeout: Duration?
    /// How long a read may wait while nothing comes, and the peer takes nothing of what is
    /// written; `nil` by default. While output leaves it may be found up to twice as late.
    public var idleTimeout: Duration?

    /// The defaults.
    public init() {}

    /// For services that strangers can reach: first byte 10 s, message 30 s, idle 300 s.
    public static var edge: StreamOptions {
        var options = StreamOptions()
        options.firstByteTimeout = .seconds(10)
        options.messageTimeout = .seconds(30)
        options.idleTimeout = .seconds(300)
        return options
    }

    func checked() throws(StreamError) -> StreamSettings {
        let low = lowWaterMark ?? highWaterMark / 4
        try require(limit > 0, "limit", "1 or more bytes")
        try require(highWaterMark >= 0, "highWaterMark", "0 or more bytes")
        try require(low >= 0 && low <= highWaterMark, "lowWaterMark", "0 up to highWaterMark")
        try require(outputCap >= highWaterMark, "outputCap", "at least highWaterMark")
        try require(outputCap <= 1 << 40, "outputCap", "at most 1 TiB")
        try require(writeStallTimeout ?? .seconds(1) > .zero, "writeStallTimeout", "more than 0")
        try require(closeTimeout > .zero, "closeTimeout", "more than 0")
        try require(firstByteTimeout ?? .seconds(1) > .zero, "firstByteTimeout", "more than 0")
        try require(messageTimeout ?? .seconds(1) > .zero, "messageTimeout", "more than 0")
        try require(idleTimeout ?? .seconds(1) > .zero, "idleTimeout", "more than 0")
        return StreamSettings(
            limit: limit, high: highWaterMark, low: low, outputCap: outputCap,
            writeStall: writeStallTimeout?.clampedNanoseconds ?? 0,
            close: closeTimeout.clampedNanoseconds,
            reads: ReadTimeouts(
                firstByte: firstByteTimeout?.clampedNanoseconds ?? 0,
                message: messageTimeout?.clampedNanoseconds ?? 0,
                idle: idleTimeout?.clampedNanoseconds ?? 0))
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
    let reads: ReadTimeouts

    init(
        limit: Int, high: Int, low: Int, outputCap: Int, writeStall: UInt64, close: UInt64,
        reads: ReadTimeouts
    ) {
        self.limit = limit
        self.high = high
        self.low = low
        self.outputCap = outputCap
        self.writeStall = writeStall
        self.close = close
        self.reads = reads
    }
}

func require(_ isInRange: Bool, _ name: String, _ rule: String) throws(StreamError) {
    if !isInRange { throw .invalidOption(name: name, rule: rule) }
}
