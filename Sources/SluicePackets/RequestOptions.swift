// The bounds and habits of a request connection. Floor 3; plain values.

internal import SluiceStreams

/// Settings of a ``RequestConnection``.
public struct RequestOptions: Sendable {
    /// Bytes of one packet at most, header included: compared when its size is read, before
    /// anything is kept of it, and before one is sent. 64 or more; 16 MiB by default.
    public var packetLimit = PacketBounds.requestPacketLimit
    /// Channels besides channel 0 that may be in use, 0 or more; 256 by default. A request on
    /// another one is refused, by either side.
    public var channelLimit = PacketBounds.requestChannels
    /// Which channels requests are taken on; `nil`, the default: all.
    public var servesChannel: (@Sendable (UInt64) -> Bool)?
    /// Requests of this side's that may wait for an answer: `submit` waits beyond. 1 or more; 1,024
    /// by default.
    public var inFlightLimit = PacketBounds.requestsInFlight
    /// The same for each channel; as many by default.
    public var inFlightPerChannel = PacketBounds.requestsInFlight
    /// Handlers that may wait at the same time: more requests are not read beyond, or are kept. So
    /// requests within requests that are deeper than that wait for each other. 1 or more; 1,024 by
    /// default.
    public var servingLimit = PacketBounds.requestsInFlight
    /// The same for each channel; as many by default.
    public var servingPerChannel = PacketBounds.requestsInFlight
    /// Bytes of answers that have not left and of requests that wait, above which no more requests
    /// are read until half of it is left. While requests of this side's are unanswered, also such
    /// as were given up, packets are read on, up to ``requestBacklogLimit``. 1 MiB by default.
    public var mark = PacketBounds.requestMark
    /// Bytes of requests kept while answers are still being waited for, above which nothing is
    /// read; two honest peers do not get there. 32 MiB by default.
    public var requestBacklogLimit = PacketBounds.requestBacklog
    /// How long each request may take unless it says otherwise; `nil`, the default: for ever.
    public var requestTimeout: Duration?
    /// After so long without a packet, with no request under way in either direction, the
    /// connection is closed; `nil`, the default: never. Less than 1 ms counts as that.
    public var idleTimeout: Duration?
    /// How long an orderly close may take; 5 s by default.
    public var closeTimeout: Duration = .seconds(5)
    /// How long packets wait for others to leave with them; 0, the default: until the end of the
    /// loop's turn. Nothing waits once this side has only its end to say.
    public var packetGrace: Duration = .zero
    /// Whether the streams are closed with the connection. If not, they are left behind the last
    /// packets of both sides, to be used on.
    public var closesStreams = true
    /// Refuses what stock peers let pass: integers longer than they need be, an answer to a request
    /// that nobody has sent, a tag that is in use. The connection ends then. False by default.
    public var isStrict = false
    /// Told of every packet, on the loop; must be quick.
    public var trace: (@Sendable (RequestTrace) -> Void)?

    /// The defaults.
    public init() {}

    /// - Throws: ``StreamError/invalidOption(name:rule:)``.
    func check() throws(StreamError) {
        func require(_ isInRange: Bool, _ name: String, _ rule: String) throws(StreamError) {
            if !isInRange { throw .invalidOption(name: name, rule: rule) }
        }
        try require(packetLimit >= 64, "packetLimit", "64 or more bytes")
        try require(channelLimit >= 0, "channelLimit", "0 or more channels")
        try require(inFlightLimit > 0, "inFlightLimit", "1 or more requests")
        try require(inFlightPerChannel > 0, "inFlightPerChannel", "1 or more requests")
        try require(servingLimit > 0, "servingLimit", "1 or more handlers")
        try require(servingPerChannel > 0, "servingPerChannel", "1 or more handlers")
        try require(mark > 0, "mark", "1 or more bytes")
        try require(requestBacklogLimit > 0, "requestBacklogLimit", "1 or more bytes")
    }
}

/// A packet that was received or sent.
public struct RequestTrace: Hashable, Sendable, CustomStringConvertible {
    /// What it is.
    public enum Kind: Hashable, Sendable {
        /// A request of this type.
        case request(type: UInt64)
        /// An answer.
        case response(isOK: Bool)
        /// The end of a side's requests.
        case endOfRequests
        /// The end of a side's packets.
        case end
    }

    /// Whether this side sent it.
    public let isSent: Bool
    /// What it is.
    public let kind: Kind
    /// Which request it is, or answers.
    public let tag: UInt64
    /// Its channel.
    public let channel: UInt64
    /// Its flags.
    public let flags: UInt64
    /// Bytes of its payload.
    public let payloadCount: Int

    init(_ header: RequestHeader, isSent: Bool, payloadCount: Int) {
        self.isSent = isSent
        kind =
            switch header.kind {
            case .request(let type): .request(type: type)
            case .response(let isOK): .response(isOK: isOK)
            case .end: .end
            case .endOfRequests: .endOfRequests
            }
        tag = header.tag
        channel = header.channel
        flags = header.flags
        self.payloadCount = payloadCount
    }

    /// For example `> request 3 of type 0, 5 bytes`.
    public var description: String {
        let place = channel == 0 ? "" : " on channel \(channel)"
        let what =
            switch kind {
            case .request(let type): "request \(tag) of type \(type)\(place)"
            case .response(let isOK): "\(isOK ? "answer" : "failure") to \(tag)\(place)"
            case .endOfRequests: "end of requests"
            case .end: "end"
            }
        let with = flags == 0 ? "" : ", flags \(flags)"
        return "\(isSent ? ">" : "<") \(what)\(with), \(payloadCount) bytes"
    }
}

/// What a connection has done so far.
public struct RequestStatistics: Hashable, Sendable {
    /// Requests sent.
    public internal(set) var requestsSent: UInt64 = 0
    /// Answers received to requests that were waiting.
    public internal(set) var answersReceived: UInt64 = 0
    /// Answers to requests that nobody waits for: given up, or never sent.
    public internal(set) var answersIgnored: UInt64 = 0
    /// Requests received.
    public internal(set) var requestsReceived: UInt64 = 0
    /// Requests refused without asking the handler.
    public internal(set) var requestsRefused: UInt64 = 0
    /// Answers sent, refusals included.
    public internal(set) var answersSent: UInt64 = 0
}
