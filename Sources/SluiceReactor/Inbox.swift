// Inbox: the one door for other threads. Floor 1; the only part of a loop that any thread may
// touch.
//
// Protocol: a producer stores its item, raises `pending`, then looks at `sleeping`; the loop raises
// `sleeping`, then looks at `pending`, then waits. All four are sequentially consistent, so at
// least one of the two sees the other, and whoever takes `sleeping` down makes the one wake-up
// call.
//
// Once the loop's thread has ended, whoever stores an item calls for somebody to run it: a task
// that comes back to a stopped loop must still be told that it stopped.

internal import Synchronization

final class Inbox: Sendable {
    enum Item: Sendable {
        case job(QueuedJob)
        case body(@Sendable () -> Void)
    }

    /// What has to be done after storing an item.
    enum Follow {
        case nothing
        case wake
        /// The loop's thread has ended: run the item somewhere.
        case serve
    }

    private struct Contents {
        var items: [Item] = []
        var bodies = 0
        var isClosed = false
        /// No thread runs the loop.
        var isForsaken = false
    }

    /// Closures held at most. Jobs are not refused: each is a task that somebody already made.
    private let capacity: Int
    private let contents = Locked(Contents())
    private let pending = Atomic(false)
    private let sleeping = Atomic(false)

    init(capacity: Int) {
        self.capacity = capacity
    }

    /// Stores a job of the runtime.
    func put(_ job: QueuedJob) -> Follow {
        putAlways(.job(job))
    }

    /// Stores a closure unless the bound is reached or the loop has stopped.
    func put(_ body: @escaping @Sendable () -> Void) throws(ReactorError) -> Follow {
        let refusal: ReactorError? = contents.withLock { contents in
            if contents.isClosed { return .stopped }
            if contents.bodies >= capacity { return .inboxFull }
            contents.items.append(.body(body))
            contents.bodies += 1
            return nil
        }
        if let refusal { throw refusal }
        return raisePending()
    }

    /// Stores an item that the bound does not refuse: there are at most as many as tasks.
    func putAlways(_ item: Item) -> Follow {
        let isForsaken = contents.withLock { contents in
            contents.items.append(item)
            let isForsaken = contents.isForsaken
            contents.isForsaken = false
            return isForsaken
        }
        let follow = raisePending()
        return isForsaken ? .serve : follow
    }

    /// The thread that ran the loop is about to leave it. False: something came in, go on.
    func forsake() -> Bool {
        contents.withLock { contents in
            contents.isForsaken = contents.items.isEmpty
            return contents.isForsaken
        }
    }

    /// Takes everything; `spare` is the emptied array of last time, so that none is allocated.
    func take(into spare: inout [Item]) {
        guard pending.load(ordering: .relaxed) else { return }
        var taken: [Item] = []
        swap(&taken, &spare)
        spare = contents.withLock { [taken] contents in
            pending.store(false, ordering: .sequentiallyConsistent)
            contents.bodies = 0
            var full = taken
            swap(&full, &contents.items)
            return full
        }
    }

    /// Says that the loop is about to wait. False: something came in, do not wait.
    func fallAsleep() -> Bool {
        sleeping.store(true, ordering: .sequentiallyConsistent)
        guard pending.load(ordering: .sequentiallyConsistent) else { return true }
        sleeping.store(false, ordering: .relaxed)
        return false
    }

    /// Says that the loop is awake, so that producers need not wake it.
    func wokeUp() {
        sleeping.store(false, ordering: .sequentiallyConsistent)
    }

    /// Refuses closures from now on.
    func close() {
        contents.withLock { $0.isClosed = true }
    }

    private func raisePending() -> Follow {
        pending.store(true, ordering: .sequentiallyConsistent)
        return sleeping.exchange(false, ordering: .sequentiallyConsistent) ? .wake : .nothing
    }
}
