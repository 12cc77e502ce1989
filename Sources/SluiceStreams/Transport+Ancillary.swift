// Descriptors and credentials beside the bytes: sent with the first byte of what they belong to,
// and received no further than the packet that is asked for. Floor 2, the loop's thread.

internal import CEpoll
internal import Glibc
internal import SluiceReactor

extension Transport {
    /// Throws unless ancillary data can be asked for here.
    final func checkPassing() throws(StreamError) {
        guard passesDescriptors else {
            throw .unsupported("ancillary data passes through Unix sockets only")
        }
    }

    // MARK: Out

    /// Throws unless this may be sent here beside bytes.
    final func checkPassing(_ ancillary: Ancillary) throws(StreamError) {
        try checkPassing()
        let count = ancillary.descriptors.count
        guard count <= Ancillary.descriptorsMax else {
            throw .tooManyDescriptors(count, limit: Ancillary.descriptorsMax)
        }
        let kept = state.pointee.passing?.descriptorsKept ?? 0
        guard kept + count <= StreamBounds.descriptorsQueued else {
            throw .tooManyDescriptors(kept + count, limit: StreamBounds.descriptorsQueued)
        }
    }

    /// Bytes of the stream up to here, what is queued included.
    final var outputPlace: UInt64 {
        state.pointee.bytesSent &+ UInt64(state.pointee.output.count)
    }

    /// Ties ancillary data, which was checked, to what was queued just now, from `mark` on, and
    /// sends what the kernel takes at once. Descriptors that have to wait are duplicated, so the
    /// caller's are its own again. If this throws, what was queued is taken back.
    final func pass(_ ancillary: Ancillary, from mark: UInt64) throws(StreamError) {
        if ancillary.isEmpty { return }
        let count = Int(outputPlace &- mark)
        guard count > 0 else { throw .unsupported("ancillary data travels with a byte at least") }
        let passing = state.pointee.passing ?? PassingOutput()
        passing.append(ancillary, mark: mark)
        state.pointee.passing = passing
        flushNow()
        if let failure = state.pointee.outputFailure { throw failure.error }
        guard state.pointee.bytesSent <= mark else { return }
        if let errno = passing.refusal {
            takeBack(count)
            throw .system(SystemError(call: "sendmsg", errno: errno))
        }
        do throws(SystemError) { try passing.keep(loop.reactor) } catch {
            takeBack(count)
            throw .system(error)
        }
    }

    /// Nothing of the newest message has left: neither will its bytes.
    private func takeBack(_ count: Int) {
        state.pointee.output.removeLast(count, pool: &loop.state.pointee.blocks)
        state.pointee.passing?.removeLast()
        if state.pointee.passing?.isEmpty == true { endPassing() }
    }

    /// `transmit`, with what is tied to the next byte.
    @inline(never)
    final func transmit(_ pieces: UnsafePointer<iovec>, count: Int, _ passing: PassingOutput) -> Int
    {
        let sent = state.pointee.bytesSent
        guard let control = passing.control(sent: sent) else {
            return transmit(pieces, count: count)
        }
        let taken = control.withUnsafeBytes { transmit(pieces, count: count, control: $0) }
        if taken > 0 {
            passing.left(sent: sent &+ UInt64(taken))
            if passing.isEmpty { endPassing() }
        }
        return taken
    }

    /// The kernel refuses a call while ancillary data is on its way. False if that ends the output:
    /// the sender of data that had to wait was told that it is queued, and what the peer would get
    /// without it means something else.
    @inline(never)
    final func refused(_ errno: Int, _ passing: PassingOutput) -> Bool {
        if passing.refuses(errno, sent: state.pointee.bytesSent) { return true }
        // Until somebody receives some of those on their way, which nothing tells; unix(7).
        guard errno == Int(ETOOMANYREFS) else { return false }
        state.pointee.writable.blocked()
        if passing.retryTimer == 0 {
            passing.retryTimer = loop.arm(
                self, purpose: TransportTimer.passing.rawValue,
                deadline: loop.now() &+ StreamBounds.passingRestNanoseconds)
        }
        return true
    }

    final func passingTimerFired() {
        state.pointee.passing?.retryTimer = 0
        outputBecameReady()
    }

    /// No ancillary data is on its way any more.
    final func endPassing() {
        guard let passing = state.pointee.passing else { return }
        loop.disarm(passing.retryTimer)
        state.pointee.passing = nil
    }

    // MARK: In

    /// As `fill`, but nothing is taken from the kernel: bytes it has are copied behind those that
    /// are buffered, so that a decoder can tell how many of them are wanted.
    ///
    /// - Returns: how many were seen, 0 if there is a reason for none.
    final func look() throws(StreamError) -> (seen: Int, Filling) {
        while true {
            if let refusal = try mayFill() { return (0, refusal) }
            let room = state.pointee.input.room(from: &loop.state.pointee.blocks)
            guard let base = room.baseAddress else { preconditionFailure("a room has bytes") }
            let count = min(room.count, receiveShare)
            let seen = receive(into: base, count: count, isLook: true, nil).count
            if seen > 0 { return (seen, .bytes) }
            _ = received(seen, asked: count)
        }
    }

    /// Takes exactly `count` bytes that `look` has seen, and what came beside them.
    ///
    /// The kernel has no reason to refuse them. Should it, because somebody else reads from the
    /// same socket, the input is broken for good: the decoder has used them already.
    final func take(_ count: Int, _ arrived: ArrivedAncillary, capacity: Int) throws(StreamError) {
        var left = count
        var refusals = 0
        while left > 0 {
            let room = state.pointee.input.room(from: &loop.state.pointee.blocks)
            guard let base = room.baseAddress else { preconditionFailure("a room has bytes") }
            let result = takeMessage(base, min(left, room.count), arrived, capacity)
            if result == -Int(EAGAIN), refusals < 2 {
                refusals += 1
                continue
            }
            guard result > 0 else {
                end(.reset(result < 0 ? Int32(truncatingIfNeeded: -result) : EIO), reset: true)
                throw (state.pointee.inputFailure ?? .closed).error
            }
            accept(result)
            state.pointee.input.append(result)
            left -= result
            refusals = 0
        }
        if !arrived.isEmpty { state.pointee.arrived = arrived }
    }

    /// Receives that `body` makes are with room for descriptors.
    final func collecting<R>(
        _ arrived: ArrivedAncillary, capacity: Int, _ body: () throws(StreamError) -> R
    ) throws(StreamError) -> R {
        collector = { [unowned self] base, count in
            takeMessage(base, count, arrived, capacity)
        }
        defer {
            collector = nil
            if !arrived.isEmpty, state.pointee.phase == .open { state.pointee.arrived = arrived }
        }
        return try body()
    }

    /// One recvmsg(2) with room for descriptors and credentials.
    final func takeMessage(
        _ base: UnsafeMutableRawPointer, _ count: Int, _ arrived: ArrivedAncillary, _ capacity: Int
    ) -> Int {
        let room = ArrivedAncillary.room(capacity: capacity)
        return withUnsafeTemporaryAllocation(byteCount: room, alignment: 16) { control in
            let result = receive(into: base, count: count, isLook: false, control)
            if result.count >= 0 {
                let filled = UnsafeRawBufferPointer(rebasing: control.prefix(result.control))
                arrived.takeIn(filled, isCut: result.isCut, capacity: capacity)
            }
            return result.count
        }
    }
}

/// What one recvmsg(2) gave.
struct ReceivedMessage {
    /// Bytes, 0 at the end, or -errno.
    var count: Int
    /// Bytes of control messages.
    var control = 0
    /// MSG_CTRUNC: some of these had no room.
    var isCut = false
}
