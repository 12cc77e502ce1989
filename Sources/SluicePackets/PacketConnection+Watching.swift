// How packets are received: the sequence of all, watches for one, sequences of a kind. Floor 3.

internal import SluiceReactor
internal import SluiceStreams

extension PacketConnection {
    /// All packets up to the end, for one consumer: a second one, made while an iterator of this
    /// one is alive, gets ``PacketError/busy``, and the first goes on. Continues after a `break`,
    /// none skipped; if others want packets too, by a loop that begins in the same turn.
    ///
    /// Beware: while the loop's body runs, at most one more packet is read. A body that itself
    /// awaits a later packet, by a watch or ``request(_:expecting:where:within:)``, waits for
    /// itself if another packet comes first. Spawn a task for that, or give it a deadline.
    ///
    /// After the end each further `next` says the same again.
    public var packets: ConnectionPackets { ConnectionPackets(connection: self) }

    /// Watches for one packet of a kind. On the loop; from elsewhere use
    /// ``nextPacket(of:where:within:)``.
    ///
    /// Registered when it returns. Nothing is read before the calling task waits for something, so
    /// several watches may be registered in a row, and one before the packet that it is the answer
    /// to.
    ///
    /// - Parameters:
    ///   - type: a type of packets, or a protocol: `(any Keyed).self` matches every packet that
    ///     conforms to it.
    ///   - predicate: which of them; a quick function, on the loop.
    ///   - timeout: from now on; then ``PacketWatch/next()`` throws ``StreamError/timedOut``.
    public func watch<T: Sendable>(
        for type: T.Type, where predicate: @escaping @Sendable (T) -> Bool = { _ in true },
        within timeout: Duration? = nil
    ) -> PacketWatch<T> {
        preconditionOnLoop("watch", twin: "nextPacket")
        let entry = WatchEntry(type, purpose: pump.nextPurpose(), predicate)
        pump.add(entry, within: timeout)
        return PacketWatch(self, entry)
    }

    /// Whether a watch, sequence or listener would see packets of this type, predicates aside. For
    /// a protocol: whether it is itself watched for. On the loop.
    public func isWatching<T>(for type: T.Type) -> Bool {
        preconditionOnLoop("isWatching", twin: "loop.spawn { }")
        if let packet = (type as? any Packet.Type)?.init() {
            return pump.watches.contains { $0.accepts(packet) }
                || pump.buffers.contains { $0.accepts(packet) }
                || pump.listeners.contains { $0.accepts(packet) }
        }
        return pump.watches.contains { $0.kind == type }
            || pump.buffers.contains { $0.kind == type }
            || pump.listeners.contains { $0.kind == type }
    }

    /// All packets of a kind from now on, as a buffered sequence. On the loop.
    ///
    /// - Parameters:
    ///   - type: as in ``watch(for:where:within:)``.
    ///   - bound: packets that it holds, 1 or more; when it is full, reading stops for everybody.
    ///   - predicate: as there.
    public func packets<T: Sendable>(
        of type: T.Type, buffering bound: Int = PacketBounds.packetsBuffered,
        where predicate: @escaping @Sendable (T) -> Bool = { _ in true }
    ) -> PacketSequence<T> {
        preconditionOnLoop("packets(of:)", twin: "loop.spawn { }")
        precondition(bound > 0, "a sequence holds at least one packet")
        let buffer = PacketBuffer(type, bound: bound, predicate)
        pump.add(buffer)
        return PacketSequence(registration: BufferRegistration(self, buffer))
    }

    /// Waits for one packet of a kind; from any task. A watch and its ``PacketWatch/next()``.
    ///
    /// - Returns: the packet; `nil` when the packets end in order first.
    /// - Throws: as ``PacketWatch/next()``.
    public nonisolated(nonsending) func nextPacket<T: Sendable>(
        of type: T.Type, where predicate: @escaping @Sendable (T) -> Bool = { _ in true },
        within timeout: Duration? = nil
    ) async throws(PacketError) -> T? {
        guard loop.isHome(#isolation) else {
            return try await hop { () throws(PacketError) in
                try await self.nextPacket(of: type, where: predicate, within: timeout)
            }
        }
        return try await watch(for: type, where: predicate, within: timeout).next()
    }

    /// Sends a packet and waits for the answer, which is watched for before anything is sent. From
    /// any task.
    ///
    /// Beware: the body of a loop over ``packets`` that awaits this waits for itself if another
    /// packet comes before the answer, since that one is for the loop; a listener does so in any
    /// case. Spawn a task there, or give a timeout.
    ///
    /// - Parameters:
    ///   - packet: sent as by ``send(_:)``.
    ///   - type: as in ``watch(for:where:within:)``, and so are the others.
    ///   - timeout: of the sending too.
    /// - Throws: ``PacketError/peerClosed`` when the packets end in order before the answer;
    ///   otherwise as `send` and ``PacketWatch/next()``.
    public nonisolated(nonsending) func request<T: Sendable>(
        _ packet: any Packet, expecting type: T.Type,
        where predicate: @escaping @Sendable (T) -> Bool = { _ in true },
        within timeout: Duration? = nil
    ) async throws(PacketError) -> T {
        guard loop.isHome(#isolation) else {
            return try await hop { () throws(PacketError) in
                try await self.request(
                    packet, expecting: type, where: predicate, within: timeout)
            }
        }
        let watch = watch(for: type, where: predicate, within: timeout)
        do throws(PacketError) { try await send(packet, within: timeout) } catch {
            // Perhaps the answer has come all the same; if not, the watch says so now.
            if error != .stream(.timedOut) { throw error }
        }
        guard let answer = try await watch.next() else {
            throw pump.isClosedHere ? .stream(.closed) : .peerClosed
        }
        return answer
    }

    /// Gets the packets that nobody wanted, on the loop; `nil` drops them. They are counted either
    /// way. Kept until the packets end: to use the connection it holds it weakly, as a listener.
    public var onUnhandled: (@Sendable (any Packet) -> Void)? {
        get {
            preconditionOnLoop("onUnhandled", twin: "loop.spawn { }")
            return pump.onUnhandled
        }
        set {
            preconditionOnLoop("onUnhandled", twin: "loop.spawn { }")
            pump.onUnhandled = newValue
        }
    }
}

/// The packets of a connection as an asynchronous sequence.
public struct ConnectionPackets: AsyncSequence, Sendable {
    let connection: PacketConnection

    /// Takes packets one by one.
    public struct Iterator: AsyncIteratorProtocol, Sendable {
        let consumer: PacketConsumer

        /// The next packet; from any task.
        ///
        /// - Returns: `nil` when the peer's packets have ended between two of them, and when this
        ///   side has closed.
        /// - Throws: what ended the packets: ``PacketError/malformed(_:)``,
        ///   ``PacketError/limitExceeded(limit:)``, ``PacketError/truncated(received:)``,
        ///   ``PacketError/callbackThrew(_:)``, ``PacketError/stream(_:)``; ``PacketError/busy``
        ///   for a second consumer, and while somebody reads bytes; ``StreamError/cancelled`` and
        ///   ``StreamError/timedOut`` as ``PacketError/stream(_:)``: no packet is lost then, and
        ///   the next call goes on.
        public mutating func next() async throws(PacketError) -> (any Packet)? {
            try await consumer.next()
        }

        /// The next packet, as ``next()``.
        public mutating func next(
            isolation: isolated (any Actor)?
        ) async throws(PacketError) -> (any Packet)? {
            try await consumer.next()
        }
    }

    /// Begins where the last one stopped.
    public func makeAsyncIterator() -> Iterator {
        Iterator(consumer: PacketConsumer(connection))
    }
}

/// The one who iterates, as long as the iterator lives.
// @unchecked Sendable: touched on the loop of its connection alone.
final class PacketConsumer: @unchecked Sendable {
    private let connection: PacketConnection
    /// Given by the pump when it first asks; on the loop.
    var number: UInt64 = 0

    init(_ connection: PacketConnection) {
        self.connection = connection
    }

    deinit {
        let (pump, number) = (connection.pump, number)
        if number == 0 { return }
        if pump.loop.isCurrent { return pump.consumerLeft(number) }
        pump.loop.postAlways { pump.consumerLeft(number) }
    }

    /// What it found, until it is given out, which is at once.
    private var found: Result<(any Packet)?, PacketError>?

    /// What waits is kept small, by calls that are not inlined: its frame stays on the task of each
    /// idle connection, and an error's value is wide.
    nonisolated(nonsending) func next() async throws(PacketError) -> (any Packet)? {
        guard connection.pump.loop.isHome(#isolation) else { return try await nextFromElsewhere() }
        if connection.pump.isRowOver { await takeTurns() }
        while !look() {
            noteEnd(
                of: connection.pump.isWaitOfHandler
                    ? await connection.pump.waitToTake() : await waitAside())
        }
        return try takeFound()
    }

    /// Whether something was found, without a wait.
    @inline(never)
    private func look() -> Bool {
        if found != nil { return true }
        do throws(PacketError) {
            switch try connection.pump.take(self) {
            case .packet(let packet): found = .success(packet)
            case .end: found = .success(nil)
            case .nothing: return false
            }
        } catch {
            found = .failure(error)
        }
        return true
    }

    /// A wait has ended: it throws only if there is nothing to take.
    @inline(never)
    private func noteEnd(of outcome: WaitOutcome) {
        let pump = connection.pump
        guard outcome != .ready, pump.slot == nil, pump.ending == nil else { return }
        found = .failure(.stream(StreamError(of: outcome)))
    }

    @inline(never)
    private func takeFound() throws(PacketError) -> (any Packet)? {
        let found = found
        self.found = nil
        return try found?.get() ?? nil
    }

    @inline(never)
    private nonisolated(nonsending) func nextFromElsewhere() async throws(PacketError)
        -> (any Packet)?
    {
        try await connection.hop { () throws(PacketError) in try await self.next() }
    }

    @inline(never)
    private nonisolated(nonsending) func waitAside() async -> WaitOutcome {
        await connection.pump.waitAsGuest()
    }

    @inline(never)
    private nonisolated(nonsending) func takeTurns() async {
        await EventLoop.yield()
        // With a peer that floods it may never come to a wait, which would see these.
        if Task.isCancelled {
            found = .failure(.stream(.cancelled))
        } else if Deadline.current <= connection.loop.now() {
            found = .failure(.stream(.timedOut))
        }
    }
}
