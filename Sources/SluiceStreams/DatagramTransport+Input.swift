// Datagrams in: one place that receives, one place that parks a reader. Floor 2, the loop's thread.

internal import CEpoll
internal import Glibc
internal import SluiceReactor

extension DatagramTransport {
    func inputBecameReady() {
        if state.pointee.readable.latch() { endReadWait(.ready) }
        if settings.options.overflow == .dropOldest { takeEagerly() }
    }

    /// All that comes is taken, a batch in each turn.
    private func takeEagerly() {
        guard state.pointee.isOpen, state.pointee.readable.mayTry else { return }
        guard receiveOnce() else { return }
        // One is always kept: with what it is counted besides, the longest is over the bound.
        while state.pointee.arrivals.count > settings.options.queueCount
            || state.pointee.arrivals.bytes > settings.options.queueBytes
            || state.pointee.descriptorsWaiting > StreamBounds.descriptorsQueued,
            state.pointee.arrivals.count > 1
        {
            _ = popArrival()
            state.pointee.counts.dropped += 1
        }
        if state.pointee.readable.mayTry { loop.signal(self, readinessIn) }
    }

    /// Ends the parked receive, if there is one.
    func endReadWait(_ outcome: WaitOutcome) {
        guard let wait = state.pointee.readWait else { return }
        state.pointee.readWait = nil
        state.pointee.readable.unpark()
        resume(wait, outcome)
    }

    /// A datagram that is there already, if this thread may take it without suspending.
    @inline(__always)
    func nextWithoutWait() -> Arrival? {
        guard loop.isCurrent, !state.pointee.isReading,
            state.pointee.resultsInARow < StreamBounds.resultsInARow,
            let first = state.pointee.arrivals.first, first.isWhole
        else { return nil }
        state.pointee.resultsInARow &+= 1
        return popArrival()
    }

    private func popArrival() -> Arrival? {
        let arrival = state.pointee.arrivals.popFirst()
        if let ancillary = arrival?.ancillary {
            state.pointee.descriptorsWaiting -= ancillary.descriptors.count
        }
        return arrival
    }

    /// The next datagram. At home.
    nonisolated(nonsending) func receive() async throws(StreamError) -> Arrival {
        guard !state.pointee.isReading else { throw .busy }
        state.pointee.isReading = true
        defer { state.pointee.isReading = false }
        if state.pointee.resultsInARow >= StreamBounds.resultsInARow { try await takeTurns() }
        while true {
            if let arrival = try next() {
                state.pointee.resultsInARow &+= 1
                return arrival
            }
            if state.pointee.readable.mayTry {
                receiveOnce()
                continue
            }
            let outcome = await suspend { parkReader($0, number: $1) }
            state.pointee.resultsInARow = 0
            if outcome != .ready { throw error(of: outcome) }
        }
    }

    /// What has come: datagrams first, then news of peers, then the end.
    private func next() throws(StreamError) -> Arrival? {
        if let arrival = popArrival() {
            guard arrival.lostBytes == 0 else {
                throw .datagramTruncated(
                    size: arrival.lostBytes, limit: settings.room, source: arrival.datagram.source)
            }
            guard arrival.isWhole else { throw .ancillaryTruncated }
            return arrival
        }
        if !state.pointee.failures.isEmpty { throw state.pointee.failures.removeFirst().error }
        guard state.pointee.isOpen else { throw state.pointee.ending.error }
        return nil
    }

    private func parkReader(
        _ continuation: UnsafeContinuation<WaitOutcome, Never>, number: UInt32
    ) {
        begin(continuation, number: number) { wait in
            // Once more, where nothing can come in between any longer.
            guard state.pointee.isOpen, state.pointee.arrivals.isEmpty,
                state.pointee.failures.isEmpty, state.pointee.readable.park()
            else { return false }
            state.pointee.readWait = wait
            return true
        }
    }

    /// The one place that receives. Returns whether something came.
    @discardableResult
    private func receiveOnce() -> Bool {
        slab.prepare(room: settings.room)
        slab.prepareControls(room: settings.controlRoom, count: settings.batch)
        let count = Int(
            ce_receive_datagrams(loop.reactor, fd, slab.incoming, settings.batch, isInternet))
        guard count > 0 else {
            receiveFailed(Int32(truncatingIfNeeded: -count))
            return false
        }
        if count < settings.batch { state.pointee.readable.drained() }
        for index in 0..<count { take(index) }
        return true
    }

    private func receiveFailed(_ errno: Int32) {
        if errno == EAGAIN { return state.pointee.readable.blocked() }
        // What was pending is fetched now, so the next call goes on behind it.
        if collectFailures() { return }
        switch errno {
        case ECONNREFUSED, ECONNRESET, EHOSTUNREACH, ENETUNREACH, EHOSTDOWN, ENETDOWN, ENONET,
            ENOPROTOOPT, EPROTO, EACCES, EMSGSIZE, ETIMEDOUT, EOPNOTSUPP:
            note(PeerFailure(address: remote, errno: errno))
        default:
            note(PeerFailure(address: remote, errno: errno, call: "recvmmsg"))
        }
    }

    /// Makes datagrams of what lies in one room.
    private func take(_ index: Int) {
        let entry = slab.incoming + index
        let source = SocketAddress(at: slab.source(index)) ?? .unnamed
        let length = entry.pointee.length
        if entry.pointee.has_drops { noteDrops(entry.pointee.drops) }
        // Taken out in any case: descriptors beside a datagram that is lost are closed.
        let ancillary = settings.controlRoom > 0 ? takeAncillary(entry) : nil
        guard !entry.pointee.is_cut, length <= settings.room else {
            state.pointee.counts.received += 1
            state.pointee.counts.truncated += 1
            state.pointee.arrivals.append(
                Arrival(datagram: Datagram([], from: source), lostBytes: max(1, length)),
                bytes: StreamBounds.datagramOverhead)
            return
        }
        let bytes = UnsafeRawBufferPointer(start: slab.bytes(index), count: length)
        let size = Int(entry.pointee.segment_bytes)
        guard size > 0, size < length else { return add(Array(bytes), source, ancillary) }
        var start = 0
        while start < length {
            let end = min(start + size, length)
            add(Array(bytes[start..<end]), source)
            start = end
        }
    }

    private func add(
        _ bytes: [UInt8], _ source: SocketAddress, _ ancillary: ArrivedAncillary? = nil
    ) {
        state.pointee.counts.received += 1
        if let ancillary {
            state.pointee.descriptorsWaiting += ancillary.descriptors.count
            if ancillary.isCut { state.pointee.counts.ancillaryTruncated += 1 }
        }
        state.pointee.arrivals.append(
            Arrival(datagram: Datagram(bytes, from: source), ancillary: ancillary),
            bytes: bytes.count + StreamBounds.datagramOverhead)
    }

    private func noteDrops(_ drops: UInt32) {
        state.pointee.counts.droppedByKernel += Int(drops &- state.pointee.drops)
        state.pointee.drops = drops
    }

    // MARK: Failures of peers

    /// Fetches what ICMP said, up to a bound; that ends the socket's pending error, too. Returns
    /// whether there was anything.
    @discardableResult
    func collectFailures() -> Bool {
        guard isInternet, state.pointee.isOpen else { return false }
        for index in 0..<StreamBounds.peerFailures {
            var peer = ce_address()
            let errno = ce_datagram_error(loop.reactor, fd, &peer)
            guard errno > 0 else { return index > 0 }
            note(PeerFailure(address: SocketAddress(at: &peer) ?? remote, errno: errno))
        }
        return true
    }

    /// Keeps the news for the next call that it concerns.
    func note(_ failure: PeerFailure) {
        if state.pointee.failures.count >= StreamBounds.peerFailures {
            state.pointee.failures.removeFirst()
            state.pointee.counts.failuresUnseen += 1
        }
        state.pointee.failures.append(failure)
        endReadWait(.ready)
    }

    /// What there is to tell somebody who sends to this peer; on a socket with one, everything is.
    func takeFailure(of address: SocketAddress?) -> PeerFailure? {
        guard !state.pointee.failures.isEmpty,
            let index = state.pointee.failures.firstIndex(where: {
                remote != nil || ($0.address != nil && $0.address == address)
            })
        else { return nil }
        return state.pointee.failures.remove(at: index)
    }
}
