// What a request connection knows. Floor 3, the loop's thread.

internal import SluiceReactor
internal import SluiceStreams

/// What all connections of a server share.
final class RequestSettings: Sendable {
    let options: RequestOptions
    let handler: RequestHandler?
    let grace: UInt64
    let idle: UInt64?

    init(_ options: RequestOptions, _ handler: RequestHandler?) {
        self.options = options
        self.handler = handler
        grace = options.packetGrace.clampedNanoseconds
        // Less would have the loop look all the time while a request is under way.
        idle = options.idleTimeout.map { max($0.clampedNanoseconds, 1_000_000) }
    }
}

/// A request of the peer's, not yet answered.
struct IncomingRequest {
    let tag: UInt64
    let request: Request
    /// Tells it from others of its tag, while it waits.
    var serial: UInt64 = 0

    var key: RequestKey { RequestKey(channel: request.channel, tag: tag) }
    /// What it holds, roughly.
    var cost: Int { request.payload.count + 128 }
}

/// Which request of a connection it is.
struct RequestKey: Hashable {
    let channel: UInt64
    let tag: UInt64
}

/// Where a request of the peer's is.
enum IncomingPlace {
    /// In its channel's queue, under this serial.
    case waiting(UInt64)
    case served(RequestWorker)

    var worker: RequestWorker? {
        if case .served(let worker) = self { worker } else { nil }
    }
}

/// A packet that waits for output to leave.
struct OutgoingPacket {
    let header: RequestHeader
    let payload: [UInt8]

    var cost: Int { payload.count + 64 }
}

/// One channel, from its first use on.
final class RequestChannel {
    let number: UInt64
    /// The tag of the next request: never used twice, since stock peers take each once.
    var nextTag: UInt64
    /// This side's requests without an answer.
    var pending: [UInt64: PendingCore] = [:]
    /// Those that wait for a place among these; some may have been given up.
    var submitting = CountedQueue<PendingCore>()
    var givenUp = 0
    /// Among the channels with such.
    var isListed = false
    /// Handlers of its requests that are waiting for something.
    var serving = 0
    /// Requests that wait for a handler.
    var waiting = CountedQueue<IncomingRequest>()
    /// Packets that wait for output to leave.
    var outgoing = CountedQueue<OutgoingPacket>()

    init(_ number: UInt64) {
        self.number = number
        nextTag = Self.firstTag(of: number)
    }

    /// The first two on channel 0 are those of the ends.
    private static func firstTag(of number: UInt64) -> UInt64 { number == 0 ? 2 : 0 }

    /// Whether a request of this side's has had the tag.
    func hasNumbered(_ tag: UInt64) -> Bool {
        tag >= Self.firstTag(of: number) && tag < nextTag
    }
}

/// Channels whose turn comes round.
struct ChannelRing {
    private var channels = CountedQueue<RequestChannel>()

    var isEmpty: Bool { channels.isEmpty }
    var count: Int { channels.count }
    mutating func append(_ channel: RequestChannel) { channels.append(channel, bytes: 0) }
    mutating func popFirst() -> RequestChannel? { channels.popFirst() }
    mutating func removeAll() { channels = CountedQueue() }
}

/// Everything hot, behind one pointer: fields of a class would cost exclusivity checks.
struct RequestState {
    // Reading
    /// Bytes that have to be there before it is worth looking.
    var wanted = 1
    /// The stream's read is begun: parked, or about to be gone on with.
    var isPumping = false
    var isParked = false
    /// Packets taken in this row.
    var row = 0
    /// Who takes the next request: a worker that has not waited since it took its last one.
    var puller: RequestWorker?
    // Serving
    var idle: [RequestWorker] = []
    /// Handlers that wait for something.
    var serving = 0
    /// Requests of the peer's that wait, or whose handlers do.
    var inProgress: [RequestKey: IncomingPlace] = [:]
    var serial: UInt64 = 0
    /// Workers whose handlers' answers are dropped.
    var discarded: [RequestWorker] = []
    var waitingBytes = 0
    /// Channels with waiting requests.
    var waitingChannels = ChannelRing()
    // Requests of this side
    let zero = RequestChannel(0)
    var channels: [UInt64: RequestChannel] = [:]
    var pendingCount = 0
    /// Those that wait for a place among the others: how many, and their channels.
    var submittingCount = 0
    var submittingChannels = ChannelRing()
    // Sending
    var outgoingBytes = 0
    var outgoingChannels = ChannelRing()
    var awaitsDrain = false
    var graceTimer: TimerToken = 0
    // The end
    var ending = RequestEnding()
    var joinWaits: [(wait: Wait, isForReceiving: Bool)] = []
    var idleTimer: TimerToken = 0
    var lastUse: UInt64 = 0
    var statistics = RequestStatistics()
}

/// An error's value is wide; few connections have one.
private final class ErrorBox {
    let error: PacketError

    init(_ error: PacketError) { self.error = error }
}

/// How far a connection has come to its end.
struct RequestEnding {
    /// The peer sends no requests any more.
    var peerEndedRequests = false
    /// The peer sends nothing any more.
    var hasReceivedEnd = false
    /// Bytes that came behind that.
    var ignored = 0
    /// Nothing more is read: for what reason; `nil` after the peer's orderly end.
    var reason: PacketError? {
        get { reasonBox?.error }
        set { reasonBox = newValue.map(ErrorBox.init) }
    }
    var isBroken: Bool { reasonBox != nil }
    private var reasonBox: ErrorBox?
    /// This side sends no requests any more.
    var endedRequests = false
    /// This side sends nothing more once its handlers are done.
    var wantsEnd = false
    var hasSentERQ = false
    var hasSentEnd = false
    /// What this side closes for.
    var closeReason: PacketError {
        get { closeReasonBox?.error ?? .stream(.closed) }
        set { closeReasonBox = ErrorBox(newValue) }
    }
    private var closeReasonBox: ErrorBox?
    /// This side closes.
    var isClosing = false
    /// The streams, too, are closed, or left to their owner.
    var isOver = false
    var closeTimer: TimerToken = 0
    /// When an orderly close becomes an abort.
    var deadline: UInt64 = .max
}
