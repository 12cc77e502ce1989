// Datagrams out: one place that transmits, one place that parks senders. Floor 2, the loop's
// thread.
//
// What is written in a turn leaves at its end, up to 64 datagrams in a system call. When sendmmsg
// refuses, it says so of the first datagram of its list only; and the reason may be an older one's,
// which ICMP brought meanwhile: so that datagram is tried once more before it is given up, and as
// often as there is news to be fetched, within a bound.

internal import CEpoll
internal import Glibc
internal import SluiceReactor

extension DatagramTransport {
    func outputBecameReady() {
        _ = state.pointee.writable.latch()
        if !state.pointee.output.isEmpty { loop.listForFlush(self) }
    }

    /// Bytes that wait, each datagram with its overhead.
    private var queuedBytes: Int {
        state.pointee.output.bytes + state.pointee.stalled.bytes
    }

    /// Queues a datagram, or throws and queues nothing.
    func enqueue(
        _ bytes: [UInt8], to address: SocketAddress?, passing: PassingDatagram? = nil
    ) throws(StreamError) {
        guard state.pointee.isOpen else { throw state.pointee.ending.error }
        guard bytes.count <= sizeMax else {
            throw .datagramTooLarge(size: bytes.count, limit: sizeMax)
        }
        if let address {
            guard address.isSameFamily(as: local), !address.isUnnamed, address.port != 0 else {
                throw .invalidOption(
                    name: "address", rule: "one that \(local) can send to, not \(address)")
            }
        } else if remote == nil {
            throw .invalidOption(name: "address", rule: "needed on a socket without a peer")
        }
        if let failure = takeFailure(of: address) { throw failure.error }
        if queuedBytes > settings.options.outputCap { throw .outputFull(queued: queuedBytes) }
        if state.pointee.output.isEmpty { loop.listForFlush(self) }
        state.pointee.newest &+= 1
        state.pointee.output.append(
            Outgoing(
                bytes: bytes, address: address, number: state.pointee.newest, passing: passing),
            bytes: bytes.count + StreamBounds.datagramOverhead)
    }

    /// Whether this peer took no more; what goes there is set aside.
    private func isFull(_ address: SocketAddress?) -> Bool {
        guard !state.pointee.fullPeers.isEmpty, let address else { return false }
        return state.pointee.fullPeers.contains(address)
    }

    /// Bytes that a send to this peer waits for: not those that wait for another, full one.
    private func bytesAhead(of address: SocketAddress?) -> Int {
        isFull(address) ? queuedBytes : state.pointee.output.bytes
    }

    /// Whether a send is done once its datagram is queued; counted as a result of the row.
    @inline(__always)
    func needNotWait(_ address: SocketAddress?) -> Bool {
        guard bytesAhead(of: address) <= settings.options.highWaterMark,
            state.pointee.sendsInARow < StreamBounds.resultsInARow
        else { return false }
        state.pointee.sendsInARow &+= 1
        return true
    }

    /// Waits until little enough is queued before what goes to this peer. At home.
    nonisolated(nonsending) func drain(_ address: SocketAddress?) async throws(StreamError) {
        let mark = settings.options.highWaterMark
        // What the kernel takes at once need not be waited for.
        if bytesAhead(of: address) > mark { flushNow() }
        if bytesAhead(of: address) > mark { return try await waitForOutput(.drain(address)) }
        if needNotWait(address) { return }
        try await takeTurns()
    }

    /// Waits until everything queued so far has left. At home.
    nonisolated(nonsending) func flush() async throws(StreamError) {
        guard state.pointee.isOpen else { throw state.pointee.ending.error }
        flushNow()
        if state.pointee.output.isEmpty, state.pointee.stalled.isEmpty { return }
        try await waitForOutput(.flush(state.pointee.newest))
    }

    nonisolated(nonsending) private func waitForOutput(
        _ goal: DatagramWait.Goal
    ) async throws(StreamError) {
        let outcome = await suspend { continuation, number in
            begin(continuation, number: number) { wait in
                guard !isReached(goal) else { return false }
                state.pointee.outputWaits.append(DatagramWait(wait: wait, goal: goal))
                return true
            }
        }
        state.pointee.sendsInARow = 0
        // Not whether it is open: what a close has sent was sent.
        if outcome != .ready { throw error(of: outcome) }
    }

    private func isReached(_ goal: DatagramWait.Goal) -> Bool {
        switch goal {
        case .drain(let address): bytesAhead(of: address) <= settings.options.highWaterMark / 4
        case .flush(let newest): !isQueued(upTo: newest)
        }
    }

    /// Whether one of the datagrams up to this number still waits. Mostly the first one tells.
    private func isQueued(upTo number: UInt64) -> Bool {
        state.pointee.output.contains { $0.number <= number }
            || state.pointee.stalled.contains { $0.number <= number }
    }

    // MARK: Flushing

    /// The one place that transmits: until the queue is empty, the kernel refuses, or this turn's
    /// share is used up.
    func flushNow() {
        let turn = loop.turnNumber
        if state.pointee.flushTurn != turn {
            state.pointee.flushTurn = turn
            state.pointee.flushedInTurn = 0
        }
        while state.pointee.isOpen, !state.pointee.output.isEmpty, state.pointee.writable.mayTry {
            guard state.pointee.flushedInTurn < StreamBounds.datagramsPerTurn else {
                loop.listForFlush(self)
                break
            }
            setFullAside()
            if state.pointee.output.isEmpty { break }
            let messages = gather()
            let taken = Int(ce_send_datagrams(loop.reactor, fd, slab.outgoing, messages))
            if taken > 0 {
                sent(messages: taken)
            } else {
                refused(Int32(truncatingIfNeeded: -taken))
            }
        }
        if !state.pointee.outputWaits.isEmpty { releaseOutputWaits() }
    }

    /// Describes the first datagrams of the queue in the slab, as few messages as can be. Returns
    /// how many.
    private func gather() -> Int {
        let queued = state.pointee.output.count
        var (messages, next, pieces) = (0, 0, 0)
        while messages < StreamBounds.datagramsPerCall, next < queued,
            pieces < DatagramSlab.outgoingPiecesMax
        {
            let first = state.pointee.output[next]
            if isFull(first.address) { break }
            let entry = slab.outgoing + messages
            entry.pointee.pieces = UnsafePointer(slab.outgoingPieces + pieces)
            describe(first, pieces)
            var (count, total, last) = (1, first.bytes.count, first.bytes.count)
            while state.pointee.joins, next + count < queued, count < StreamBounds.datagramsJoined,
                pieces + count < DatagramSlab.outgoingPiecesMax, last == first.bytes.count, last > 0
            {
                let other = state.pointee.output[next + count]
                last = other.bytes.count
                guard last > 0, last <= first.bytes.count, last <= sizeMax - total,
                    other.address == first.address
                else { break }
                describe(other, pieces + count)
                (count, total) = (count + 1, total + last)
            }
            entry.pointee.pieces_count = count
            entry.pointee.segment_bytes = count > 1 ? UInt32(first.bytes.count) : 0
            if let address = first.address {
                address.store(at: slab.destination(messages))
            } else {
                entry.pointee.address.length = 0
            }
            passing(first, beside: entry)
            slab.joined[messages] = count
            (messages, next, pieces) = (messages + 1, next + count, pieces + count)
        }
        return messages
    }

    /// Valid while the queue holds the array.
    private func describe(_ outgoing: Outgoing, _ index: Int) {
        slab.outgoingPieces[index] = outgoing.bytes.withUnsafeBytes {
            ce_piece(start: $0.baseAddress, count: $0.count)
        }
    }

    private func sent(messages: Int) {
        var count = 0
        for index in 0..<messages { count += slab.joined[index] }
        for _ in 0..<count { popOutgoing() }
        state.pointee.flushedInTurn += count
        state.pointee.counts.sent += count
        state.pointee.refusalsForOthers = 0
        guard state.pointee.refusal != 0 else { return }
        // So it was not this datagram's own.
        note(PeerFailure(address: remote, errno: state.pointee.refusal))
        state.pointee.refusal = 0
    }

    /// The kernel did not take the first datagram.
    private func refused(_ errno: Int32) {
        if errno == EAGAIN { return refusedForNow() }
        // What ICMP said of other datagrams refuses this one; there may be more of it than is
        // fetched at once.
        if collectFailures(), state.pointee.refusalsForOthers < StreamBounds.refusalsForOthers {
            state.pointee.refusalsForOthers += 1
            return
        }
        if slab.joined[0] > 1 {
            // It cannot take these apart: not on this route.
            state.pointee.joins = false
            return
        }
        if refusesPassing(errno) { return }
        guard state.pointee.refusal != 0 else {
            state.pointee.refusal = errno
            return
        }
        let first = popOutgoing()
        state.pointee.flushedInTurn += 1
        state.pointee.counts.notSent += 1
        state.pointee.refusalsForOthers = 0
        note(PeerFailure(address: first?.address ?? remote, errno: state.pointee.refusal))
        state.pointee.refusal = 0
    }

    private func releaseOutputWaits() {
        var index = 0
        while index < state.pointee.outputWaits.count {
            if isReached(state.pointee.outputWaits[index].goal) {
                resume(state.pointee.outputWaits.remove(at: index).wait, .ready)
            } else {
                index += 1
            }
        }
    }

    // MARK: Full Unix peers

    /// There is no room. The kernel tells when there is some again, but for a Unix peer that the
    /// socket is not connected to: of such a one that takes no more nothing is told, and it is
    /// asked again by a timer. Only that peer's datagrams wait then.
    private func refusedForNow() {
        guard !isInternet, let address = state.pointee.output.first?.address, address != remote
        else { return state.pointee.writable.blocked() }
        state.pointee.fullPeers.insert(address)
        guard state.pointee.restTimer == 0 else { return }
        let (first, most) = StreamBounds.datagramRestNanoseconds
        state.pointee.rest = min(max(first, state.pointee.rest * 2), most)
        state.pointee.restTimer = loop.arm(
            self, purpose: 0, deadline: loop.now() &+ state.pointee.rest)
    }

    /// Datagrams to full peers leave the queue as they come to its head: each is moved once,
    /// however many such peers there are.
    private func setFullAside() {
        while isFull(state.pointee.output.first?.address) {
            state.pointee.output.moveFirst(to: &state.pointee.stalled)
        }
    }

    /// The full peers are tried again, each one's datagrams in their order.
    func restEnded() {
        state.pointee.restTimer = 0
        var waiting = state.pointee.stalled
        state.pointee.stalled = CountedQueue()
        state.pointee.fullPeers = []
        waiting.append(contentsOf: state.pointee.output)
        state.pointee.output = waiting
        let sent = state.pointee.counts.sent
        flushNow()
        // One of them takes datagrams again; what others took meanwhile says nothing.
        if state.pointee.counts.sent != sent { state.pointee.rest = 0 }
    }
}
