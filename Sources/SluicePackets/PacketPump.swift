// PacketPump: what reads a connection's packets, without a task. Floor 3; the loop's thread.
//
// It is called when input may be there (`work`), when a consumer asks (`pump`), and at the end of
// a turn in which somebody began to want packets, or the last of those has run whom a packet had
// woken (`flushOutput`): they run before the next one is decoded. It decodes and receives while
// somebody wants packets, and parks in between.
//
// Invariants: `isReading` is the stream's own mark of a read, held from the first attempt at a
// packet until it is whole or nobody wants it; there is an `ending` or there may be more.

internal import SluiceReactor
internal import SluiceStreams

/// How a connection's packets are over.
enum PacketEnding {
    /// The peer's end between two packets, or this side's close.
    case orderly
    case failed(PacketError)

    var error: PacketError? {
        if case .failed(let error) = self { error } else { nil }
    }
}

// @unchecked Sendable by LoopMember: touched on the loop's thread alone.
final class PacketPump: LoopMember, @unchecked Sendable {
    var reader: StreamReader?
    var writer: StreamWriter?
    let format: PacketFormat
    var context: (any Hashable & Sendable)?
    var receiving: PacketReceiving
    var sending: PacketSending
    /// The hooks, if there are any.
    let hooks: PacketHooks?
    /// The hook's read in progress.
    var hookTask: Task<Void, any Error>?

    /// Who iterates `packets`, by number: an address might soon be another one's.
    var consumer: UInt64?
    private var consumers: UInt64 = 0
    var consumerWait: Wait?
    /// It is the wait of the connection's own handler.
    var isHandlersWait = false
    /// The consumer is here to take a packet, if one can be had without a wait.
    var isAsked = false
    /// Read for the consumer and not taken by it.
    var slot: (any Packet)?
    /// Packets that the consumer took without a wait.
    var takenInARow = 0

    var watches: [WatchEntry] = []
    var buffers: [PacketBuffer] = []
    var listeners: [PacketListener] = []
    /// Listeners run: the next packet is read when they are done.
    var isListening = false
    var closeWaits: [Wait] = []
    private var purposes: UInt32 = 0

    /// Between the first attempt at a packet and its end.
    private(set) var isReading = false
    private var isParked = false
    /// In `pump`: users' code that it calls may come back here.
    private var isInside = false
    private var isListed = false
    /// Tasks woken by a packet that have not run yet; the last one of them reads on.
    var dueCount = 0
    /// The same of the consumer, whose packet lies in the slot.
    var isConsumerDue = false
    /// No packet any more.
    var ending: PacketEnding?
    /// This side has closed or aborted.
    var isClosedHere = false
    /// Nothing is waited for: it ends behind what has come.
    var endsWhenRead = false
    /// What a callback threw, as it was.
    var thrown: (any Error)?
    var counts = PacketStatistics()
    var onUnhandled: (@Sendable (any Packet) -> Void)?

    init(
        _ reader: StreamReader?, _ writer: StreamWriter?, _ format: PacketFormat,
        _ prepared: PreparedFormat, _ hooks: PacketHooks?, loop: EventLoop
    ) {
        self.reader = reader
        self.writer = writer
        self.format = format
        self.hooks = hooks
        context = prepared.context
        receiving = prepared.makeReceiving()
        sending = prepared.makeSending()
        super.init(loop: loop)
    }

    override func label() -> String { "a packet connection" }

    /// Has the streams tell of their end.
    func attach() {
        reader?.attach(self)
        writer?.attach(self)
        if areStreamsClosed { loop.listForWork(self, .closed) }
    }

    func detach() {
        reader?.forgetWaits(of: self)
        reader?.detach(self)
        writer?.detach(self)
    }

    /// Numbers for timers.
    func nextPurpose() -> UInt32 {
        purposes &+= 1
        return purposes
    }

    /// Numbers for consumers.
    func nextConsumer() -> UInt64 {
        consumers &+= 1
        return consumers
    }

    // MARK: Called by the loop

    override func work(_ outcome: WaitOutcome) {
        isListed = false
        if isParked, let reader, !reader.isPumpParked {
            isParked = false
            // What it throws the next attempt finds.
            try? reader.parkEnded(outcome)
        }
        if outcome == .closed { streamsMayHaveEnded() }
        if outcome == .cancelled, isHandlersWait { endConsumerWait(.cancelled) }
        pump()
    }

    override func flushOutput() {
        guard dueCount == 0 else { return }
        passOverForNobody()
        pump()
    }

    override func endWait(_ number: UInt32, _ outcome: WaitOutcome) {
        endAnyWait(number, outcome)
    }

    override func timerFired(_ purpose: UInt32) { endWatch(purpose) }

    /// Reads on at the end of the turn, if somebody wants packets then.
    func kick() {
        if ending == nil { loop.listForFlush(self) }
    }

    // MARK: Reading

    /// Whether packets are wanted and nobody has to run before the next one.
    var mayRead: Bool {
        guard ending == nil, slot == nil, !isListening, dueCount == 0,
            reader != nil || hooks?.reading != nil
        else { return false }
        if buffers.contains(where: \.isFull) { return false }
        return isAsked || consumerWait != nil || !watches.isEmpty || !buffers.isEmpty
            || !listeners.isEmpty
    }

    /// Decodes and receives until nobody wants more, or there is no more now.
    func pump() {
        guard !isInside else { return }
        isInside = true
        defer { isInside = false }
        if hooks?.reading != nil {
            readByHook()
            return watchForEnd()
        }
        var count = 0
        while mayRead {
            guard count < PacketBounds.packetsInARow else { return goOnLater() }
            guard let packet = readNow() else { return }
            count += 1
            deliver(packet)
        }
        stopReading()
        watchForEnd()
    }

    func goOnLater() {
        guard !isListed else { return }
        isListed = true
        loop.listForWork(self, .ready)
    }

    /// The next packet; `nil` if it is waited for now, or there is none any more.
    private func readNow() -> (any Packet)? {
        guard let reader, beginReading(reader), !reader.isPumpParked else { return nil }
        while true {
            switch receiving.attempt(reader, nil) {
            case .bytes, .end:
                isReading = false
                reader.endPumping()
                return takeOutcome()
            case .shareUsed:
                goOnLater()
                return nil
            case .blocked:
                if endsWhenRead {
                    end(.orderly)
                    return nil
                }
                isParked = reader.park(self)
                if isParked { return nil }
                if loop.hasStopped {
                    end(.failed(.stream(.reactor(.stopped))))
                    return nil
                }
            }
        }
    }

    private func takeOutcome() -> (any Packet)? {
        do throws(PacketError) {
            if let packet = try receiving.takeOutcome() { return packet }
            end(.orderly)
        } catch {
            inputFailed(error)
        }
        return nil
    }

    private func beginReading(_ reader: StreamReader) -> Bool {
        if isReading { return true }
        do throws(StreamError) {
            try reader.beginPumping()
            isReading = true
            return true
        } catch {
            if error != .busy {
                inputFailed(.stream(error))
            } else if let wait = consumerWait {
                // Somebody reads bytes. The consumer is told; the others wait until it asks again.
                consumerWait = nil
                resume(wait, .ready)
            }
            return false
        }
    }

    /// Somebody else reads from the reader at present.
    var isBusy: Bool { !isReading && hookTask == nil && reader?.isBeingRead == true }

    func stopReading() {
        guard isReading, let reader else { return }
        (isReading, isParked) = (false, false)
        reader.unpark()
        reader.endPumping()
    }
}
