// The bounds of floor 1, each with its reason. Constants; any thread.

/// Every queue, batch and pool of the reactor is bounded by one of these.
package enum ReactorBounds {
    /// Events fetched by one wait: what is left over is fetched in the next turn, timers between.
    package static let eventsPerWait = 256
    /// Jobs run in one turn: the rest waits until timers and sockets had their share.
    package static let jobsPerTurn = 4_096
    /// Timers fired in one turn: after a long pause they would otherwise all fire before any read.
    package static let timersPerTurn = 4_096
    /// Closures waiting in the inbox: a producer faster than the loop is told, not stored.
    package static let inboxCapacity = 65_536
    /// A turn longer than this is reported: every connection waited that long.
    package static let turnReportNanoseconds: UInt64 = 100_000_000
    /// Threads for blocking work: more would only queue inside the kernel.
    package static let offloadThreads = 16
    /// Closures waiting for such a thread; each holds a suspended task.
    package static let offloadQueue = 4_096
    /// How long a worker thread without work stays.
    package static let offloadIdleSeconds = 10
    /// Bytes of free buffer blocks a loop keeps, per size.
    package static let freeBytesPerBlockSize = 1 << 20
    /// Bytes that must have become free before the allocator is asked to return them: less is soon
    /// used again.
    package static let returnedBytes = 4 << 20
    /// What a connection is taken to hold besides its buffers.
    package static let memberBytes = 3_072
    /// How long they must have been free: a load that comes and goes is no peak.
    package static let returnPauseNanoseconds: UInt64 = 1_000_000_000
    /// Such pauses at most while more is being freed.
    package static let returnLooks = 10
    /// Turns that a stopping loop grants its tasks to end.
    package static let turnsToStop = 1_000
}
