// JobQueue: the loop's run queue, a ring that only its thread touches. Floor 1.
// Invariant: `count` slots from `head` on, modulo the capacity, hold jobs; the rest is garbage.

/// Which of the loop's two executor faces a job came through; it is run with the same one.
/// (The wrong pairing costs two extra enqueues for each await.)
package enum JobFace: UInt8, Sendable {
    case task
    case serial
}

/// A job of the Swift runtime, and what made it runnable.
package struct QueuedJob: Sendable {
    var job: UnownedJob
    var face: JobFace
    /// Slot of the member whose wait ended, for reports; 0 for none.
    var origin: UInt32
}

/// First in, first out; grows by doubling, never shrinks below what one burst needed.
package struct JobQueue {
    private var slots: UnsafeMutablePointer<QueuedJob>
    private var mask: Int
    private var head = 0
    package private(set) var count = 0

    package init() {
        slots = .allocate(capacity: 256)
        mask = 255
    }

    /// Frees the storage; jobs still queued are forgotten.
    func deallocate() {
        slots.deallocate()
    }

    mutating func append(_ job: QueuedJob) {
        if count > mask { grow() }
        (slots + ((head &+ count) & mask)).initialize(to: job)
        count &+= 1
    }

    /// Requires `count > 0`.
    mutating func removeFirst() -> QueuedJob {
        assert(count > 0)
        let job = (slots + head).move()
        head = (head &+ 1) & mask
        count &-= 1
        return job
    }

    private mutating func grow() {
        let larger = UnsafeMutablePointer<QueuedJob>.allocate(capacity: (mask + 1) * 2)
        for index in 0..<count {
            (larger + index).initialize(to: (slots + ((head + index) & mask)).move())
        }
        slots.deallocate()
        slots = larger
        mask = mask * 2 + 1
        head = 0
    }
}
