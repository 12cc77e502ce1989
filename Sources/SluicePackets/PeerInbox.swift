// PeerInbox: what one peer has sent to a datagram server and its handler has not received. Floor 3,
// the loop's thread.

internal import SluiceReactor
internal import SluiceStreams

/// A datagram that was not looked at yet.
struct PeerDatagram {
    var bytes: [UInt8]
    /// Closed with it.
    var ancillary: ArrivedAncillary?
}

/// A packet on its way to the handler.
struct PeerPacket<Received: Sendable>: Sendable {
    let packet: Received
    let ancillary: ArrivedAncillary?
}

// @unchecked Sendable by LoopMember: touched on the loop's thread alone.
final class PeerInbox<Received: Sendable>: LoopMember, @unchecked Sendable {
    let peer: SocketAddress
    /// The packet that began the conversation, until it is received.
    private var first: PeerPacket<Received>?
    /// What came after it.
    private(set) var queue = CountedQueue<PeerDatagram>()
    /// Descriptors beside both.
    private var descriptors = 0
    /// What all peers hold together.
    private let account: PeerAccount
    private var failure: StreamError?
    private var wait: Wait?
    private var isReading = false
    private var resultsInARow = 0
    /// Nothing more will come; what has come is still received.
    private var isEnding = false
    /// The handler's task while it runs.
    var task: Task<Void, Never>?
    /// Its handler has returned; what is queued waits for the next conversation.
    private(set) var isOver = false
    /// Its neighbours in the order of use.
    var older: PeerInbox?
    weak var newer: PeerInbox?

    init(
        peer: SocketAddress, first: PeerPacket<Received>, account: PeerAccount, loop: EventLoop
    ) {
        self.peer = peer
        self.first = first
        self.account = account
        super.init(loop: loop)
        hold(first.ancillary?.descriptors.count ?? 0)
    }

    deinit {
        account.bytes -= queue.bytes
        account.descriptors -= descriptors
    }

    /// So many descriptors more, or less.
    private func hold(_ count: Int) {
        descriptors += count
        account.descriptors += count
    }

    override func label() -> String { "the handler of \(peer)" }

    override func endWait(_ number: UInt32, _ outcome: WaitOutcome) {
        if wait?.number == number { endWait(outcome) }
    }

    override func loopStopped() {
        isEnding = true
        endWait(.closed)
    }

    private func endWait(_ outcome: WaitOutcome) {
        guard let wait else { return }
        self.wait = nil
        loop.dismiss(self)
        resume(wait, outcome)
    }

    // MARK: Filling

    /// Queues a datagram. Returns how many were dropped, this one or the oldest.
    func add(
        _ datagram: PeerDatagram, atMost count: Int, total: Int, _ overflow: DatagramOverflow
    ) -> Int {
        if isEnding { return 1 }
        let size = datagram.bytes.count + PeerAccount.overhead
        let more = datagram.ancillary?.descriptors.count ?? 0
        var dropped = 0
        if queue.count >= count {
            if overflow == .dropNewest { return 1 }
            dropped += drop()
        }
        // With everything full, what is older of this very peer gives way, or this one.
        while overflow == .dropOldest, !queue.isEmpty,
            account.bytes > total - size || !account.hasRoom(descriptors: more)
        {
            dropped += drop()
        }
        guard account.bytes <= total - size, account.hasRoom(descriptors: more) else {
            return dropped + 1
        }
        queue.append(datagram, bytes: size)
        account.bytes += size
        hold(more)
        endWait(.ready)
        return dropped
    }

    private func drop() -> Int { pop() == nil ? 0 : 1 }

    func pop() -> PeerDatagram? {
        let before = queue.bytes
        let datagram = queue.popFirst()
        account.bytes -= before - queue.bytes
        if let ancillary = datagram?.ancillary { hold(-ancillary.descriptors.count) }
        return datagram
    }

    private func takeFirst() -> PeerPacket<Received>? {
        guard let packet = first else { return nil }
        first = nil
        if let ancillary = packet.ancillary { hold(-ancillary.descriptors.count) }
        return packet
    }

    /// Its handler has returned: whoever else receives here is told.
    func handlerEnded() {
        task = nil
        isOver = true
        endWait(.ready)
    }

    /// Takes over what another one has left.
    func inherit(_ other: PeerInbox) {
        queue = other.queue
        other.queue = CountedQueue()
        // Of a handler that received nothing the first one is dropped.
        _ = other.takeFirst()
        // The account has them already.
        descriptors += other.descriptors
        other.descriptors = 0
    }

    /// A datagram to this peer did not arrive.
    func fail(_ error: StreamError) {
        failure = error
        endWait(.ready)
    }

    /// Nothing more will come.
    func finish(dropping: Bool) {
        isEnding = true
        if dropping {
            _ = takeFirst()
            while pop() != nil {}
        }
        endWait(.ready)
    }

    // MARK: Receiving

    /// The next packet. At home.
    nonisolated(nonsending) func receive(
        _ serializer: SerializerBox<Received>
    ) async throws(PacketError) -> PeerPacket<Received>? {
        guard !isReading else { throw .busy }
        isReading = true
        defer { isReading = false }
        // Buffered results never suspend by themselves: others have their turn after a row of them.
        resultsInARow += 1
        if resultsInARow >= Self.resultsInARowMax {
            resultsInARow = 0
            await EventLoop.yield()
            // A peer that sends without end must not hold its handler back from its own end.
            if Task.isCancelled { throw .stream(.cancelled) }
            if Deadline.current <= loop.now() { throw .stream(.timedOut) }
        }
        while true {
            if isOver { return nil }
            if let packet = takeFirst() { return packet }
            if let datagram = pop() {
                let packet = try serializer.packet(of: Datagram(datagram.bytes, from: peer))
                return PeerPacket(packet: packet, ancillary: datagram.ancillary)
            }
            if let failure {
                self.failure = nil
                throw .stream(failure)
            }
            if isEnding { return nil }
            resultsInARow = 0
            switch await suspend({ park($0, number: $1) }) {
            case .ready: continue
            case .closed: return nil
            case .cancelled: throw .stream(.cancelled)
            case .timedOut: throw .stream(.timedOut)
            }
        }
    }

    private static var resultsInARowMax: Int { Int(StreamBounds.resultsInARow) }

    private func park(_ continuation: UnsafeContinuation<WaitOutcome, Never>, number: UInt32) {
        begin(continuation, number: number) { wait in
            guard first == nil, queue.isEmpty, failure == nil, !isEnding, !isOver else {
                return false
            }
            loop.admit(self)
            self.wait = wait
            return true
        }
    }
}

/// What waits in all inboxes of a server: bytes, and descriptors beside them.
// @unchecked Sendable: touched on the loop's thread alone; an inbox is released there, or with its
// loop stopped.
final class PeerAccount: @unchecked Sendable {
    var bytes = 0
    var descriptors = 0
    /// What a datagram is taken to hold besides its bytes.
    static let overhead = StreamBounds.datagramOverhead

    /// Whether so many more descriptors may wait.
    func hasRoom(descriptors more: Int) -> Bool {
        more == 0 || descriptors + more <= StreamBounds.descriptorsQueued
    }
}
