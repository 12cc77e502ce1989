// DatagramSlab: what one batch of datagrams needs, shared by all datagram sockets of a loop, so
// that an idle one owns nothing. Floor 2, the loop's thread. Nothing stays in it after a call.

internal import CEpoll
internal import SluiceReactor

final class DatagramSlab {
    /// The shim's list for a receive, and for a send.
    let incoming: UnsafeMutablePointer<ce_datagram>
    let outgoing: UnsafeMutablePointer<ce_datagram>
    /// How many queued datagrams each of `outgoing` stands for.
    let joined: UnsafeMutablePointer<Int>
    private let pieces: UnsafeMutablePointer<ce_piece>
    /// The bytes of `outgoing`, and how many pieces there are.
    let outgoingPieces: UnsafeMutablePointer<ce_piece>
    static let outgoingPiecesMax = 1_024
    private let memory: UnsafeMutableRawPointer
    /// Room for what comes beside datagrams, once a socket wants it.
    private var controls: UnsafeMutableRawPointer?
    /// What `incoming` is laid out for.
    private var room = 0
    private var controlRoom = 0

    /// Bytes between two rooms more than need be: without them all rooms would begin in the same
    /// set of the processor's cache.
    private static let skew = 192

    private init() {
        let count = StreamBounds.datagramsPerCall
        incoming = .allocate(capacity: count)
        outgoing = .allocate(capacity: count)
        joined = .allocate(capacity: count)
        pieces = .allocate(capacity: count)
        outgoingPieces = .allocate(capacity: Self.outgoingPiecesMax)
        incoming.initialize(repeating: ce_datagram(), count: count)
        outgoing.initialize(repeating: ce_datagram(), count: count)
        joined.initialize(repeating: 0, count: count)
        pieces.initialize(repeating: ce_piece(), count: count)
        outgoingPieces.initialize(repeating: ce_piece(), count: Self.outgoingPiecesMax)
        memory = .allocate(
            byteCount: StreamBounds.datagramSlabBytes + count * Self.skew, alignment: 64)
    }

    deinit {
        incoming.deallocate()
        outgoing.deallocate()
        joined.deallocate()
        pieces.deallocate()
        outgoingPieces.deallocate()
        memory.deallocate()
        controls?.deallocate()
    }

    /// The loop's, made if it has none.
    static func of(_ loop: EventLoop) -> DatagramSlab {
        if let slab = loop.state.pointee.datagramSlab as? DatagramSlab { return slab }
        let slab = DatagramSlab()
        loop.state.pointee.datagramSlab = slab
        return slab
    }

    /// Lays `incoming` out for datagrams of up to so many bytes.
    func prepare(room: Int) {
        guard room != self.room else { return }
        self.room = room
        let count = min(StreamBounds.datagramsPerCall, StreamBounds.datagramSlabBytes / room)
        for index in 0..<count {
            pieces[index] = ce_piece(start: bytes(index), count: room)
            incoming[index].pieces = UnsafePointer(pieces + index)
            incoming[index].pieces_count = 1
        }
    }

    /// Gives the first rooms so many bytes each for what comes beside a datagram, or none. Before
    /// each receive: the kernel writes over the sizes.
    func prepareControls(room: Int, count: Int) {
        if room == 0, controlRoom == 0 { return }
        controlRoom = room
        guard room > 0 else {
            for index in 0..<StreamBounds.datagramsPerCall { incoming[index].control = nil }
            return
        }
        let base =
            controls
            ?? .allocate(byteCount: StreamBounds.datagramControlBytes, alignment: 16)
        controls = base
        for index in 0..<count {
            incoming[index].control = base + index * room
            incoming[index].control_bytes = room
        }
    }

    /// Where it came from.
    func source(_ index: Int) -> UnsafePointer<ce_address> {
        // The struct begins with it.
        UnsafeRawPointer(incoming + index).assumingMemoryBound(to: ce_address.self)
    }

    /// Where one to be sent goes.
    func destination(_ index: Int) -> UnsafeMutablePointer<ce_address> {
        UnsafeMutableRawPointer(outgoing + index).assumingMemoryBound(to: ce_address.self)
    }

    /// Where the bytes of a received datagram lie.
    func bytes(_ index: Int) -> UnsafeMutableRawPointer {
        memory + index * (room + Self.skew)
    }
}
