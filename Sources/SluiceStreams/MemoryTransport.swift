// MemoryTransport: one end of a pair inside the process, with a bounded pipe each way. It behaves
// as a socket would, kernel buffer included. Floor 2, the loop's thread.

internal import Glibc
internal import SluiceReactor

/// Bytes on their way from one end to the other; the "kernel" of a memory pair.
private final class MemoryPipe {
    var bytes: [UInt8] = []
    var head = 0
    var isEnded = false
    /// What its sender and, behind the bytes, its receiver are told once one of them is gone.
    var breakErrno: Int32 = 0

    var count: Int { bytes.count - head }
}

// @unchecked Sendable by Transport.
final class MemoryTransport: Transport, @unchecked Sendable {
    private let incoming: MemoryPipe
    private let outgoing: MemoryPipe
    /// Bytes the pipe holds, and bytes moved by one call, at most.
    private let capacity: Int
    private let chunk: Int
    private weak var peer: MemoryTransport?

    private init(
        loop: EventLoop, settings: StreamSettings, capacity: Int, chunk: Int,
        incoming: MemoryPipe, outgoing: MemoryPipe
    ) {
        self.incoming = incoming
        self.outgoing = outgoing
        self.capacity = capacity
        self.chunk = chunk
        super.init(loop: loop, settings: settings)
        loop.admit(self)
    }

    static func makePair(
        loop: EventLoop, settings: StreamSettings, capacity: Int, chunk: Int
    ) -> (MemoryTransport, MemoryTransport) {
        let (there, back) = (MemoryPipe(), MemoryPipe())
        let first = MemoryTransport(
            loop: loop, settings: settings, capacity: capacity, chunk: chunk,
            incoming: back, outgoing: there)
        let second = MemoryTransport(
            loop: loop, settings: settings, capacity: capacity, chunk: chunk,
            incoming: there, outgoing: back)
        first.peer = second
        second.peer = first
        return (first, second)
    }

    override func receive(into buffer: UnsafeMutableRawPointer, count: Int) -> Int {
        let taken = min(count, chunk, incoming.count)
        guard taken > 0 else {
            if incoming.breakErrno != 0 { return -Int(ECONNRESET) }
            return incoming.isEnded ? 0 : -Int(EAGAIN)
        }
        incoming.bytes.withUnsafeBytes { bytes in
            if let base = bytes.baseAddress { memcpy(buffer, base + incoming.head, taken) }
        }
        incoming.head += taken
        if incoming.head == incoming.bytes.count || incoming.head >= capacity {
            incoming.bytes.removeFirst(incoming.head)
            incoming.head = 0
        }
        tell(peer, readinessOut)
        // A short count means drained, so bytes or an end left behind have to be announced.
        if incoming.count > 0 || incoming.isEnded || incoming.breakErrno != 0 {
            tell(self, readinessIn)
        }
        return taken
    }

    override func transmit(_ pieces: UnsafePointer<iovec>, count: Int) -> Int {
        if outgoing.breakErrno != 0 { return -Int(outgoing.breakErrno) }
        var room = min(capacity - outgoing.count, chunk)
        guard room > 0 else { return -Int(EAGAIN) }
        var sent = 0
        for index in 0..<count where room > 0 {
            let length = min(pieces[index].iov_len, room)
            outgoing.bytes.append(
                contentsOf: UnsafeRawBufferPointer(
                    start: pieces[index].iov_base, count: length))
            sent += length
            room -= length
        }
        tell(peer, readinessIn)
        if outgoing.count < capacity { tell(self, readinessOut) }
        return sent
    }

    override func finish() {
        outgoing.isEnded = true
        tell(peer, readinessIn | readinessHangUp)
    }

    override func release(reset: Bool) {
        // As with a socket: unread input, or a deliberate reset, breaks the peer's stream; what has
        // arrived there before is still read.
        let isLoss = reset || incoming.count > 0
        if isLoss { outgoing.breakErrno = ECONNRESET }
        outgoing.isEnded = true
        incoming.breakErrno = isLoss ? ECONNRESET : EPIPE
        incoming.bytes = []
        incoming.head = 0
        let ready = readinessIn | readinessOut | readinessHangUp
        tell(peer, isLoss ? ready | readinessError : ready)
        peer = nil
    }

    override var unacknowledged: Int { outgoing.count }

    override func label() -> String { "the holder of a memory stream" }

    private func tell(_ member: MemoryTransport?, _ ready: UInt32) {
        if let member, member.token != 0 { loop.signal(member, ready) }
    }
}
