// DatagramSwitch: one task that receives for all peers and hands each datagram to its conversation.
// Floor 3, the loop's thread.
//
// Invariants: `peers` holds at most `maxPeers` inboxes; the list from `newest` by `older` holds the
// same ones, the last used first. An inbox leaves both before its successor comes in.

public import SluiceReactor
internal import SluiceStreams

// @unchecked Sendable: touched on the loop's thread alone.
final class DatagramSwitch<Sent: Sendable, Received: Sendable>: DatagramServerCore,
    @unchecked Sendable
{
    private typealias Inbox = PeerInbox<Received>

    private let receiving: SerializerBox<Received>
    private let sender: DatagramSender<Sent>
    private let options: DatagramServerOptions
    private let handler: DatagramHandler<Sent, Received>
    private let waits: ServerWaits
    private let account = PeerAccount()
    private var reader: Task<Void, any Error>?
    private var peers: [SocketAddress: Inbox] = [:]
    private var newest: Inbox?
    private weak var oldest: Inbox?
    /// Every inbox whose handler runs, those of evicted peers too.
    private var running: [ObjectIdentifier: Inbox] = [:]
    private var isClosing = false
    private var counts = DatagramServerStatistics()

    init(
        _ socket: DatagramSocket, sending: SerializerBox<Sent>, receiving: SerializerBox<Received>,
        _ sender: DatagramSender<Sent>, options: DatagramServerOptions,
        handler: @escaping DatagramHandler<Sent, Received>
    ) {
        self.receiving = receiving
        self.sender = sender
        self.options = options
        self.handler = handler
        waits = ServerWaits(loop: socket.loop)
        super.init(socket)
    }

    func start() {
        reader = loop.spawn { await self.receiveAll() }
    }

    // MARK: Receiving

    private nonisolated(nonsending) func receiveAll() async {
        while !isClosing {
            do throws(StreamError) {
                take(try await socket.receiveArrival())
            } catch {
                switch error {
                case .datagramTruncated, .ancillaryTruncated: continue  // the socket counts them
                case .peerFailed(let address, _): tell(address, error)
                case .cancelled, .closed, .reactor: return startClosing()
                default: await rest(error)
                }
            }
        }
    }

    /// The system is short of something.
    private nonisolated(nonsending) func rest(_ error: StreamError) async {
        options.report(
            Report(
                kind: .receivePaused, message: "receiving rests 100 ms: \(error)", error: error))
        try? await sleep(for: PacketBounds.datagramRest)
    }

    private func tell(_ address: SocketAddress?, _ error: StreamError) {
        guard let address, let inbox = peers[address] else { return counts.peerFailures += 1 }
        inbox.fail(error)
    }

    private func take(_ arrival: Arrival) {
        if isClosing { return counts.dropped += 1 }
        let source = arrival.datagram.source
        let datagram = PeerDatagram(bytes: arrival.datagram.bytes, ancillary: arrival.ancillary)
        if source.isNobody {
            guard options.unnamed == .handle else { return counts.unnamed += 1 }
            return begin(datagram, from: source, inherits: nil)
        }
        guard let inbox = peers[source] else {
            return begin(datagram, from: source, inherits: nil)
        }
        touch(inbox)
        counts.dropped += inbox.add(
            datagram, atMost: options.queueCount, total: options.queueBytes, options.overflow)
    }

    /// Begins a conversation, if the datagram makes a packet.
    private func begin(
        _ datagram: PeerDatagram, from peer: SocketAddress, inherits other: Inbox?
    ) {
        let first: Received
        do throws(PacketError) {
            first = try receiving.deserialize(datagram.bytes.span.bytes)
        } catch { return counts.malformed += 1 }
        // Handlers of evicted peers that take their time have as many places again.
        guard running.count - options.maxPeers < options.maxPeers else {
            return counts.refused += 1
        }
        guard account.hasRoom(descriptors: datagram.ancillary?.descriptors.count ?? 0) else {
            return counts.dropped += 1
        }
        let packet = PeerPacket(packet: first, ancillary: datagram.ancillary)
        let inbox = Inbox(peer: peer, first: packet, account: account, loop: loop)
        if let other { inbox.inherit(other) }
        if !peer.isNobody {
            if peers.count >= options.maxPeers, let oldest { evict(oldest) }
            peers[peer] = inbox
            link(inbox)
        } else {
            // Nothing can follow it: whoever sends next may be somebody else.
            inbox.finish(dropping: false)
        }
        counts.conversations += 1
        running[ObjectIdentifier(inbox)] = inbox
        let task = Task.immediate(executorPreference: loop) { await self.run(inbox) }
        if running[ObjectIdentifier(inbox)] === inbox { inbox.task = task }
    }

    // MARK: Handlers

    private nonisolated(nonsending) func run(_ inbox: Inbox) async {
        do {
            try await handler(DatagramConversation(inbox, receiving, sender))
        } catch {
            let known = error as? any HandlerError
            if known?.isPeerFailure ?? false {
                // A peer that has gone is counted; it is no fault of the handler's.
                counts.peerFailures += 1
            } else if !(known?.isCancellation ?? false) {
                counts.handlerFailures += 1
                options.report(
                    Report(
                        kind: .handlerThrew, message: "\(error)", peer: inbox.peer, error: error))
            }
        }
        ended(inbox)
    }

    private func ended(_ inbox: Inbox) {
        running[ObjectIdentifier(inbox)] = nil
        inbox.handlerEnded()
        if peers[inbox.peer] === inbox {
            if inbox.queue.isEmpty || isClosing {
                forget(inbox)
            } else {
                // In the next turn: a handler that never reads must not pile up calls.
                loop.postAlways { self.goOn(after: inbox) }
            }
        }
        finishIfDone()
    }

    /// What a handler left behind begins a conversation of its own.
    private func goOn(after inbox: Inbox) {
        guard peers[inbox.peer] === inbox else { return }
        forget(inbox)
        guard !isClosing else { return }
        while peers[inbox.peer] == nil, let datagram = inbox.pop() {
            begin(datagram, from: inbox.peer, inherits: inbox)
        }
    }

    // MARK: The order of use

    private func link(_ inbox: Inbox) {
        inbox.older = newest
        newest?.newer = inbox
        newest = inbox
        if oldest == nil { oldest = inbox }
    }

    private func unlink(_ inbox: Inbox) {
        if let newer = inbox.newer { newer.older = inbox.older } else { newest = inbox.older }
        if let older = inbox.older { older.newer = inbox.newer } else { oldest = inbox.newer }
        inbox.older = nil
        inbox.newer = nil
    }

    private func touch(_ inbox: Inbox) {
        guard newest !== inbox else { return }
        unlink(inbox)
        link(inbox)
    }

    private func forget(_ inbox: Inbox) {
        peers[inbox.peer] = nil
        unlink(inbox)
    }

    private func evict(_ inbox: Inbox) {
        counts.evicted += 1
        counts.dropped += inbox.queue.count
        forget(inbox)
        inbox.finish(dropping: true)
        inbox.task?.cancel()
    }

    // MARK: The end

    override func startClosing() {
        guard !isClosing else { return }
        isClosing = true
        reader?.cancel()
        for inbox in running.values { inbox.finish(dropping: false) }
        for inbox in Array(peers.values) where inbox.isOver { forget(inbox) }
        finishIfDone()
    }

    private func finishIfDone() {
        guard isClosing, running.isEmpty else { return }
        reader = nil
        socket.closeNow()
        waits.wake()
    }

    override func shutdown(grace: Duration) async -> ShutdownCounts {
        startClosing()
        let all = running.count
        var result = ShutdownCounts()
        await waitUntilDone(atMost: grace)
        result.finished = all - running.count
        for inbox in running.values { inbox.task?.cancel() }
        await waitUntilDone(atMost: .seconds(1))
        result.cancelled = all - result.finished - running.count
        result.aborted = running.count
        socket.closeNow()
        return result
    }

    private nonisolated(nonsending) func waitUntilDone(atMost duration: Duration) async {
        guard !running.isEmpty else { return }
        try? await withTimeout(duration) {
            try await waits.wait(while: { !self.running.isEmpty })
        }
    }

    override func waitClosed() async throws(StreamError) {
        try await waits.wait(while: { !self.socket.isClosed || !self.running.isEmpty })
    }

    override func statistics() -> DatagramServerStatistics {
        var counts = self.counts
        counts.peers = peers.count
        counts.waiting = peers.values.reduce(0) { $0 + $1.queue.count }
        counts.waitingBytes = account.bytes
        counts.socket = socket.transport.statistics()
        return counts
    }
}

extension SocketAddress {
    /// Whether nothing can be sent there; a UDP source says so with port 0, RFC 768.
    fileprivate var isNobody: Bool { isUnnamed || port == 0 }
}

extension Report.Kind {
    /// Receiving rests because the system is out of memory.
    public static let receivePaused = Report.Kind("receive-paused")
}
