// Buffered sequences of one kind of packets. Floor 3; the loop's thread.

internal import SluiceReactor
internal import SluiceStreams

/// What a pump knows of a buffered sequence.
// @unchecked Sendable by PacketInterest.
final class PacketBuffer: PacketInterest, @unchecked Sendable {
    let bound: Int
    var packets = CountedQueue<any Packet>()
    /// Nothing more will be added.
    var ending: PacketEnding?

    init<T>(_ type: T.Type, bound: Int, _ isWanted: @escaping (T) -> Bool) {
        self.bound = bound
        super.init(type, isWanted)
    }

    override var isOver: Bool { ending != nil }
    override var isReady: Bool { !packets.isEmpty || ending != nil }

    /// Reading stops until a packet is taken.
    var isFull: Bool { packets.count >= bound }
}

extension PacketPump {
    func add(_ buffer: PacketBuffer) {
        if let ending {
            buffer.ending = ending
            return
        }
        guard reader != nil || hooks?.reading != nil else {
            buffer.ending = .failed(.notReadable)
            return
        }
        buffers.append(buffer)
        kick()
    }

    func add(_ packet: any Packet, to buffer: PacketBuffer) {
        buffer.packets.append(packet, bytes: 0)
        wake(buffer)
    }

    func end(_ buffer: PacketBuffer, _ new: PacketEnding) {
        guard buffer.ending == nil else { return }
        buffer.ending = new
        buffers.removeAll { $0 === buffer }
        endWait(of: buffer, .ready)
    }

    func remove(_ buffer: PacketBuffer) {
        end(buffer, .orderly)
        buffer.packets = CountedQueue()
        kick()
    }

    /// The next packet of a sequence; `nil` at its end.
    nonisolated(nonsending) func next(
        of buffer: PacketBuffer
    ) async throws(PacketError) -> (any Packet)? {
        while true {
            // Each time: another task may have come between the packet and this one.
            guard buffer.wait == nil else { throw .busy }
            if let packet = buffer.packets.popFirst() {
                // There is room again.
                if buffer.ending == nil { kick() }
                return packet
            }
            switch buffer.ending {
            case .orderly?: return nil
            case .failed(let error)?: throw error
            case nil: break
            }
            let outcome = await wait(for: buffer)
            if outcome != .ready { throw .stream(StreamError(of: outcome)) }
        }
    }
}

/// The packets of one kind from the moment it was made, none of them missed; one consumer.
///
/// It holds so many packets as it was told; when it is full, reading stops for everybody until one
/// is taken. Dropping it and its iterators ends that.
public struct PacketSequence<T: Sendable>: AsyncSequence, Sendable {
    let registration: BufferRegistration

    /// Takes packets one by one; all iterators share one position.
    public struct Iterator: AsyncIteratorProtocol, Sendable {
        let registration: BufferRegistration

        /// The next packet; from any task. What was buffered is given before the peer's end or an
        /// error; if this side closes first, that drops it.
        ///
        /// - Returns: `nil` when the peer's packets have ended in order or this side has closed.
        /// - Throws: as ``PacketWatch/next()``; a cancelled task loses no packet, and the sequence
        ///   goes on.
        public mutating func next() async throws(PacketError) -> T? {
            try await registration.next() as? T
        }

        /// The next packet, as ``next()``.
        public mutating func next(
            isolation: isolated (any Actor)?
        ) async throws(PacketError) -> T? {
            try await registration.next() as? T
        }
    }

    /// Begins where the last one stopped.
    public func makeAsyncIterator() -> Iterator { Iterator(registration: registration) }
}

/// Ends the buffering when the last iterator has gone.
// @unchecked Sendable: the buffer is touched on the loop's thread alone.
final class BufferRegistration: @unchecked Sendable {
    private let connection: PacketConnection
    private let buffer: PacketBuffer

    init(_ connection: PacketConnection, _ buffer: PacketBuffer) {
        self.connection = connection
        self.buffer = buffer
    }

    deinit {
        let (pump, buffer) = (connection.pump, buffer)
        if pump.loop.isCurrent { return pump.remove(buffer) }
        pump.loop.postAlways { pump.remove(buffer) }
    }

    nonisolated(nonsending) func next() async throws(PacketError) -> (any Packet)? {
        let pump = connection.pump
        guard pump.loop.isHome(#isolation) else {
            let result: Result<(any Packet)?, PacketError> = await pump.loop.hop {
                do throws(PacketError) { return .success(try await self.next()) } catch {
                    return .failure(error)
                }
            }
            return try result.get()
        }
        return try await pump.next(of: buffer)
    }
}
