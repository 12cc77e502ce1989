// EventLoop: one thread's reactor, and an executor of Swift tasks. Floor 1.
//
// A turn has six phases:
//   1 take the inbox: what other threads posted
//   2 fire the timers that are due
//   3 call the members listed for work; run the jobs queued by then, up to a bound
//   4 flush list: each transport that was written to hands its bytes to the kernel
//   5 wait: not at all if jobs or output remain, else until the next timer
//   6 latch what became ready and resume the tasks parked on it
//
// Everything but the inbox belongs to the loop's thread. Hot state lies behind one pointer: fields
// of a class would cost an exclusivity check at each access.

public import CEpoll

/// The loop's state, touched by its thread alone.
package struct LoopState {
    var jobs = JobQueue()
    var timers = TimerHeap<TimerTarget>()
    var members = MemberTable()
    package var blocks = BlockPool()
    /// Room that all datagram sockets of the loop share, alive while there is one.
    package weak var datagramSlab: AnyObject?
    var flushList: [LoopMember] = []
    var flushing: [LoopMember] = []
    var inboxSpare: [Inbox.Item] = []
    var workers: [(member: LoopMember, outcome: WaitOutcome)] = []
    var signals: [(member: LoopMember, ready: UInt32)] = []
    var yielded: [UnsafeContinuation<Void, Never>] = []
    /// The most that was held since memory was last returned; MemoryReturn.swift.
    var heldMemoryPeak = 0
    var isReturningMemory = false
    var origin: UInt32 = 0
    var waitNumber: UInt32 = 0
    var isStopRequested = false
    var hasStopped = false
    /// The deadline of the shim's timer, in an embedded loop; `.max` for none.
    var hostDeadline: UInt64 = .max
    var watch = TurnWatch()
    /// Signals that the thread blocked before they were watched, and by how many watches they are.
    var signalsLetThrough: [Signal: Int] = [:]
}

/// What a timer is for: a purpose of the member's own, or the end of one of its waits.
struct TimerTarget {
    var member: LoopMember
    var purpose: UInt32
    var waitNumber: UInt32
}

/// One thread's event loop: it waits for sockets and timers and runs the tasks that prefer it.
///
/// Most programs never name one. `startServer` and `openConnection` use the loop the caller runs
/// on, else ``background``. ``run(options:_:)`` turns the calling thread into a loop for programs
/// that want a single thread; ``start(options:)`` makes one with a thread of its own;
/// ``makeEmbedded(options:)`` one that takes its turns inside another loop of the program.
///
/// Tasks started with ``spawn(name:_:)`` or handed a connection by a server run on the loop's
/// thread, and so do their child tasks, continuations and the ordinary actors they await. A bare
/// `Task {}` leaves the loop. Blocking in a task stops every connection of the loop: use
/// ``offload(_:)``.
///
/// Stands on epoll(7).
// @unchecked Sendable: `state` is used on the loop's thread alone, which every entry checks; the
// inbox is made for any thread; the rest is constant.
public final class EventLoop: TaskExecutor, @unchecked Sendable {
    /// Settings of a loop, fixed at its start.
    public struct Options: Sendable {
        /// The name of its own thread, at most 15 bytes of it.
        public var name = "sluice"
        /// Posted closures that may wait at once, 1 or more; 65,536 by default.
        public var inboxCapacity = ReactorBounds.inboxCapacity
        /// A turn longer than this is reported; 100 ms by default.
        public var turnReportThreshold = Duration.nanoseconds(ReactorBounds.turnReportNanoseconds)
        /// Gets the loop's reports, on the loop's thread.
        public var report: @Sendable (Report) -> Void = Report.print

        /// The defaults.
        public init() {}
    }

    @usableFromInline package let reactor: OpaquePointer
    package let state: UnsafeMutablePointer<LoopState>
    /// Scratch for one gathering send; CE_IOVECS_MAX long.
    package let iovecs: UnsafeMutablePointer<iovec>
    private let events: UnsafeMutablePointer<ce_event>
    let inbox: Inbox
    let ending = LoopEnding()
    package let options: Options
    /// Whether a host's loop calls for the turns.
    let embedding: Embedding?
    let turnReportNanoseconds: UInt64
    /// The face for actors: `nonisolated var unownedExecutor` returns
    /// `loop.serialExecutor.asUnownedSerialExecutor()`, and the actor runs on this loop.
    public let serialExecutor: LoopSerialExecutor

    package init(
        options: Options, system: UnsafePointer<ce_system>? = nil, embedding: Embedding? = nil
    ) throws(SystemError) {
        precondition(options.inboxCapacity > 0, "the inbox holds at least one closure")
        var reactor: OpaquePointer?
        var call: UnsafePointer<CChar>?
        let result = ce_reactor_create(&reactor, system, &call)
        guard result == 0, let reactor else {
            throw SystemError(call: call.map { String(cString: $0) } ?? "epoll", errno: result)
        }
        ignoreSIGPIPE()
        self.reactor = reactor
        self.options = options
        self.embedding = embedding
        turnReportNanoseconds = options.turnReportThreshold.clampedNanoseconds
        state = .allocate(capacity: 1)
        state.initialize(to: LoopState())
        iovecs = .allocate(capacity: Int(CE_IOVECS_MAX))
        events = .allocate(capacity: ReactorBounds.eventsPerWait)
        inbox = Inbox(capacity: options.inboxCapacity)
        serialExecutor = LoopSerialExecutor()
        serialExecutor.loop = self
    }

    deinit {
        ce_reactor_close(reactor)
        state.pointee.jobs.deallocate()
        state.pointee.blocks.deallocate()
        state.deinitialize(count: 1)
        state.deallocate()
        iovecs.deallocate()
        events.deallocate()
    }

    /// Whether the calling thread is running this loop. Costs a nanosecond; any thread.
    @inlinable
    public var isCurrent: Bool {
        ce_is_current(reactor)
    }

    /// The loop that the calling thread is running, or `nil`.
    public static var current: EventLoop? {
        ce_current_owner().map { Unmanaged<EventLoop>.fromOpaque($0).takeUnretainedValue() }
    }

    // MARK: The turn

    /// One turn. `wait` false polls only.
    func turn(wait: Bool) {
        work()
        resume(waitForEvents(wait: wait))
    }

    /// Phases 1 to 4.
    func work() {
        takeInbox()
        fireTimers()
        callWorkers()
        runJobs()
        flushAll()
    }

    /// Waits in the kernel: 0 polls, negative waits for ever. Returns the number of `events`.
    func wait(nanoseconds: Int64) -> Int {
        let count = ce_wait(
            reactor, events, Int32(truncatingIfNeeded: ReactorBounds.eventsPerWait), nanoseconds)
        // Only a broken epoll descriptor fails here, which is the program's fault, not the wire's.
        precondition(count >= 0, "epoll_wait: \(SystemError.text(of: -count))")
        return Int(count)
    }

    /// Phase 6, with so many of `events`.
    func resume(_ count: Int) {
        state.pointee.watch.turnBegan(at: now())
        for index in 0..<count {
            let event = events[index]
            state.pointee.members.member(of: event.token)?.becameReady(event.ready)
        }
        deliverSignals()
    }

    /// Readiness that comes from inside the process (the other end of a memory pair) is delivered
    /// here, not where it arises, so that no member's call ever runs inside another's.
    private func deliverSignals() {
        guard !state.pointee.signals.isEmpty else { return }
        var signals: [(member: LoopMember, ready: UInt32)] = []
        swap(&signals, &state.pointee.signals)
        for signal in signals { signal.member.becameReady(signal.ready) }
    }

    private func takeInbox() {
        inbox.take(into: &state.pointee.inboxSpare)
        guard !state.pointee.inboxSpare.isEmpty else { return }
        var items: [Inbox.Item] = []
        swap(&items, &state.pointee.inboxSpare)
        for item in items {
            switch item {
            case .job(let job): append(job)
            case .body(let body): body()
            }
        }
        state.pointee.watch.inboxItems &+= UInt64(items.count)
        items.removeAll(keepingCapacity: items.count <= 1_024)
        swap(&items, &state.pointee.inboxSpare)
    }

    private func fireTimers() {
        guard state.pointee.timers.count > 0 else { return }
        let now = now()
        for _ in 0..<ReactorBounds.timersPerTurn {
            guard let target = state.pointee.timers.popDue(now: now) else { return }
            if target.waitNumber != 0 {
                target.member.endWait(target.waitNumber, .timedOut)
            } else {
                target.member.timerFired(target.purpose)
            }
        }
    }

    /// Who is listed from now on has its call in the next turn.
    private func callWorkers() {
        guard !state.pointee.workers.isEmpty else { return }
        var workers: [(member: LoopMember, outcome: WaitOutcome)] = []
        swap(&workers, &state.pointee.workers)
        for worker in workers { worker.member.work(worker.outcome) }
        // The room is used again.
        if state.pointee.workers.isEmpty {
            workers.removeAll(keepingCapacity: workers.count <= 1_024)
            swap(&workers, &state.pointee.workers)
        }
    }

    private func runJobs() {
        let count = min(state.pointee.jobs.count, ReactorBounds.jobsPerTurn)
        let taskFace = asUnownedTaskExecutor()
        let serialFace = serialExecutor.asUnownedSerialExecutor()
        for _ in 0..<count {
            let queued = state.pointee.jobs.removeFirst()
            let began = ce_now_coarse(reactor)
            switch queued.face {
            case .task: queued.job.runSynchronously(on: taskFace)
            case .serial: queued.job.runSynchronously(on: serialFace)
            }
            let spent = ce_now_coarse(reactor) &- began
            if spent > 0 { noteLongJob(spent, origin: queued.origin) }
        }
        state.pointee.watch.jobs &+= UInt64(count)
        // Tasks that yielded become jobs of the next turn.
        for continuation in state.pointee.yielded { continuation.resume() }
        state.pointee.yielded.removeAll(keepingCapacity: true)
    }

    private func flushAll() {
        defer { noteHeldMemory() }
        guard !state.pointee.flushList.isEmpty else { return }
        var members: [LoopMember] = []
        swap(&members, &state.pointee.flushing)
        swap(&members, &state.pointee.flushList)
        for member in members where member.isOnFlushList {
            member.isOnFlushList = false
            member.flushOutput()
        }
        members.removeAll(keepingCapacity: true)
        swap(&members, &state.pointee.flushing)
    }

    /// Whether a task or a member is to go on in the next turn.
    var hasWork: Bool { state.pointee.jobs.count > 0 || !state.pointee.workers.isEmpty }

    /// Whether something is left to do that no descriptor and no timer will call for.
    var isBusy: Bool {
        hasWork || !state.pointee.flushList.isEmpty || !state.pointee.signals.isEmpty
    }

    private func waitForEvents(wait mayWait: Bool) -> Int {
        let end = now()
        state.pointee.watch.turnEnded(at: end)
        reportLongTurn()
        var timeout: Int64 = 0
        if mayWait, !isBusy, !state.pointee.isStopRequested, inbox.fallAsleep() {
            timeout = -1
            if let deadline = state.pointee.timers.nextDeadline() {
                timeout = Int64(clamping: deadline > end ? deadline - end : 0)
            }
        }
        let count = wait(nanoseconds: timeout)
        if timeout != 0 { inbox.wokeUp() }
        return count
    }
}
