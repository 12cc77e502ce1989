// Watches: one packet of a kind, for whoever waits for it. Floor 3; the loop's thread.

internal import SluiceReactor
internal import SluiceStreams

/// What a pump knows of a watch.
// @unchecked Sendable by PacketInterest.
final class WatchEntry: PacketInterest, @unchecked Sendable {
    let purpose: UInt32
    var timer: TimerToken = 0
    /// Once it is over: the packet, or `nil` at an orderly end.
    var outcome: Result<(any Packet)?, PacketError>?

    init<T>(_ type: T.Type, purpose: UInt32, _ isWanted: @escaping (T) -> Bool) {
        self.purpose = purpose
        super.init(type, isWanted)
    }

    override var isOver: Bool { outcome != nil }
    override var isReady: Bool { outcome != nil }
}

extension PacketPump {
    /// Registers a watch; reading for it begins at the end of the turn.
    func add(_ watch: WatchEntry, within timeout: Duration?) {
        if let ending {
            watch.outcome = ending.error.map { .failure($0) } ?? .success(nil)
            return
        }
        guard reader != nil || hooks?.reading != nil else {
            watch.outcome = .failure(.notReadable)
            return
        }
        watches.append(watch)
        if let timeout {
            let (deadline, isOver) = loop.now().addingReportingOverflow(timeout.clampedNanoseconds)
            watch.timer = loop.arm(
                self, purpose: watch.purpose, deadline: isOver ? .max - 1 : deadline)
        }
        kick()
    }

    func offerToWatches(_ packet: any Packet) -> Bool {
        guard !watches.isEmpty else { return false }
        var isSeen = false
        // A copy: a predicate may register another watch, which is for later packets.
        for watch in watches where watch.takes(packet) {
            isSeen = true
            wake(watch)
            finish(watch, .success(packet))
        }
        if isSeen { watches.removeAll { $0.outcome != nil } }
        return isSeen
    }

    func endWatches(_ ending: PacketEnding) {
        let ended = watches
        watches = []
        for watch in ended { finish(watch, ending.error.map { .failure($0) } ?? .success(nil)) }
    }

    /// Ends one watch alone.
    func end(_ watch: WatchEntry, _ outcome: Result<(any Packet)?, PacketError>) {
        guard watch.outcome == nil else { return }
        watches.removeAll { $0 === watch }
        finish(watch, outcome)
    }

    /// Lets a watch's task go on with what it has come to.
    private func finish(_ watch: WatchEntry, _ outcome: Result<(any Packet)?, PacketError>) {
        watch.outcome = outcome
        loop.disarm(watch.timer)
        watch.timer = 0
        endWait(of: watch, .ready)
    }

    /// Nobody waits for it any more.
    func remove(_ watch: WatchEntry) {
        guard watch.outcome == nil else { return }
        end(watch, .success(nil))
        kick()
    }

    /// Waits until the watch is over.
    nonisolated(nonsending) func outcome(
        of watch: WatchEntry
    ) async throws(PacketError) -> (any Packet)? {
        if watch.outcome == nil {
            guard watch.wait == nil else { throw .busy }
            let outcome = await wait(for: watch)
            if watch.outcome == nil {
                remove(watch)
                throw .stream(StreamError(of: outcome))
            }
        }
        let outcome = watch.outcome
        // One packet, once.
        if case .success? = outcome { watch.outcome = .success(nil) }
        return try outcome?.get()
    }
}

extension StreamError {
    /// What a wait that was not answered throws.
    init(of outcome: WaitOutcome) {
        switch outcome {
        case .cancelled: self = .cancelled
        case .timedOut: self = .timedOut
        case .closed, .ready: self = .reactor(.stopped)
        }
    }
}

/// One packet of a kind that is watched for: of a type, or of all types that conform to a protocol.
///
/// Registered from the moment it exists, so no packet that is read afterwards is missed. It is for
/// one packet; a second one needs a second watch, registered before the task that got the first one
/// waits for anything else, or ``PacketConnection/packets(of:buffering:where:)``. Dropping it ends
/// the watching.
// @unchecked Sendable: the entry is touched on the loop's thread alone.
public final class PacketWatch<T: Sendable>: @unchecked Sendable {
    /// Kept: a connection lives as long as somebody watches.
    private let connection: PacketConnection
    private let entry: WatchEntry

    init(_ connection: PacketConnection, _ entry: WatchEntry) {
        self.connection = connection
        self.entry = entry
    }

    deinit {
        let (pump, entry) = (connection.pump, entry)
        if pump.loop.isCurrent { return pump.remove(entry) }
        pump.loop.postAlways { pump.remove(entry) }
    }

    /// Waits for the packet; from any task. One task waits at a time.
    ///
    /// - Returns: the packet, once; `nil` when the peer's packets ended in order or this side has
    ///   closed first, and after the packet was taken or ``cancel()`` was called.
    /// - Throws: what ended the packets; ``PacketError/stream(_:)`` with
    ///   ``StreamError/timedOut`` after the watch's own deadline or a surrounding one, or with
    ///   ``StreamError/cancelled`` for a cancelled task: the watching is then over, too;
    ///   ``PacketError/busy``; ``PacketError/notReadable``.
    public nonisolated(nonsending) func next() async throws(PacketError) -> T? {
        let pump = connection.pump
        guard pump.loop.isHome(#isolation) else {
            let result: Result<T?, PacketError> = await pump.loop.hop {
                do throws(PacketError) { return .success(try await self.next()) } catch {
                    return .failure(error)
                }
            }
            return try result.get()
        }
        return try await pump.outcome(of: entry) as? T
    }

    /// Ends the watching; a waiting `next` returns `nil`. Any thread.
    public func cancel() {
        let (pump, entry) = (connection.pump, entry)
        if pump.loop.isCurrent { return pump.remove(entry) }
        pump.loop.postAlways { pump.remove(entry) }
    }
}
