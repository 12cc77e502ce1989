// Descriptors and credentials beside datagrams: each leaves with its own one, and comes with it.
// Floor 2, the loop's thread.

internal import CEpoll
internal import Glibc
internal import SluiceReactor

/// What leaves beside a queued datagram. Descriptors that are kept for it are closed with it.
final class PassingDatagram {
    private(set) var ancillary: Ancillary
    private(set) var control: [UInt8]
    /// Whether the descriptors are duplicates, to be closed here; until then they are the caller's,
    /// who waits to be told.
    private(set) var isKept = false
    /// Whether its datagram is no longer queued.
    var isGone = false
    /// What the kernel has against it.
    var refusal: Int32?

    init(_ ancillary: Ancillary) {
        self.ancillary = ancillary
        control = ancillary.control
    }

    deinit {
        if isKept { for descriptor in ancillary.descriptors { ce_discard(descriptor) } }
    }

    /// Its datagram has to wait: from now on it has duplicates, which outlive the caller's. Throws
    /// what fcntl(2) says, and nothing is kept then.
    func keep(_ reactor: OpaquePointer) throws(SystemError) {
        ancillary.descriptors = try duplicates(reactor, of: ancillary.descriptors)
        control = ancillary.control
        isKept = true
    }
}

/// Other descriptors of the same open files, all or none.
func duplicates(
    _ reactor: OpaquePointer, of descriptors: [Int32]
) throws(SystemError) -> [Int32] {
    var copies: [Int32] = []
    for descriptor in descriptors {
        let copy = ce_duplicate(reactor, descriptor)
        guard copy >= 0 else {
            for copy in copies { ce_discard(copy) }
            throw SystemError(call: "fcntl", errno: copy)
        }
        copies.append(copy)
    }
    return copies
}

extension DatagramTransport {
    /// Throws unless ancillary data passes here.
    func checkPassing() throws(StreamError) {
        guard !isInternet else {
            throw .unsupported("ancillary data passes through Unix sockets only")
        }
    }

    /// Throws unless what comes beside datagrams is received.
    package func checkCollecting() throws(StreamError) {
        try checkPassing()
        guard settings.controlRoom > 0 else {
            throw .unsupported("DatagramOptions.ancillaryCapacity asks for ancillary data")
        }
    }

    // MARK: Out

    /// Queues a datagram with ancillary data and sends what the kernel takes at once. Descriptors
    /// that have to wait are duplicated, so the caller's are its own again. If this throws, nothing
    /// is queued.
    func enqueue(
        _ bytes: [UInt8], to address: SocketAddress?, ancillary: Ancillary
    ) throws(StreamError) {
        try checkPassing()
        if ancillary.isEmpty { return try enqueue(bytes, to: address) }
        let count = ancillary.descriptors.count
        guard count <= Ancillary.descriptorsMax else {
            throw .tooManyDescriptors(count, limit: Ancillary.descriptorsMax)
        }
        let kept = state.pointee.descriptorsKept + count
        guard kept <= StreamBounds.descriptorsQueued else {
            throw .tooManyDescriptors(kept, limit: StreamBounds.descriptorsQueued)
        }
        let passing = PassingDatagram(ancillary)
        try enqueue(bytes, to: address, passing: passing)
        flushNow()
        if let errno = passing.refusal {
            throw .system(SystemError(call: "sendmmsg", errno: errno))
        }
        if passing.isGone { return }
        do throws(SystemError) { try passing.keep(loop.reactor) } catch {
            takeBack(passing)
            throw .system(error)
        }
        state.pointee.descriptorsKept += count
    }

    /// It is the newest of its queue: nothing was queued since.
    private func takeBack(_ passing: PassingDatagram) {
        if state.pointee.output.last?.passing === passing {
            state.pointee.output.removeLast()
        } else {
            state.pointee.stalled.removeLast()
        }
    }

    /// Takes the first datagram out of the queue, and lets go of what was kept for it.
    @discardableResult
    func popOutgoing() -> Outgoing? {
        let first = state.pointee.output.popFirst()
        if let passing = first?.passing {
            passing.isGone = true
            if passing.isKept {
                state.pointee.descriptorsKept -= passing.ancillary.descriptors.count
            }
        }
        return first
    }

    /// Describes what leaves beside a datagram; valid while the queue holds it.
    @inline(__always)
    func passing(_ outgoing: Outgoing, beside entry: UnsafeMutablePointer<ce_datagram>) {
        guard let passing = outgoing.passing else { return entry.pointee.control = nil }
        passing.control.withUnsafeBytes {
            entry.pointee.control = UnsafeMutableRawPointer(mutating: $0.baseAddress)
            entry.pointee.control_bytes = $0.count
        }
    }

    /// The kernel refuses the first datagram. True if that is about its ancillary data, and its
    /// sender still waits to be told: it is taken back then.
    func refusesPassing(_ errno: Int32) -> Bool {
        guard let passing = state.pointee.output.first?.passing, !passing.isKept,
            PassingOutput.refusals.contains(errno)
        else { return false }
        passing.refusal = errno
        popOutgoing()
        return true
    }

    // MARK: In

    /// What came beside a datagram; `nil` for nothing.
    func takeAncillary(_ entry: UnsafeMutablePointer<ce_datagram>) -> ArrivedAncillary? {
        let (count, isCut) = (entry.pointee.control_bytes, entry.pointee.is_control_cut)
        guard count > 0 || isCut else { return nil }
        let arrived = ArrivedAncillary()
        arrived.takeIn(
            UnsafeRawBufferPointer(start: entry.pointee.control, count: count), isCut: isCut,
            capacity: settings.options.ancillaryCapacity ?? 0)
        return arrived
    }
}
