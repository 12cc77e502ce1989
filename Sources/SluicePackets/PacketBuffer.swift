// Buffered sequences of one kind of packets. Floor 3; the loop's thread.

internal import SluiceReactor
internal import SluiceStreams

/// What a pump knows of a buffered sequence.
// @unchecked Sendable: touched on the loop's thread alone; the reference travels.
final class PacketBuffer: @unchecked Sendable {
    let kind: Any.Type
    let accepts: (any Packet) -> Bool
    let isWanted: (any Packet) -> Bool
    let bound: Int
    var packets = CountedQueue<any Packet>()
    var wait: Wait?
    /// Nothing more will be added.
    var ending: PacketEnding?

    init<T>(_ type: T.Type, bound: Int, _ isWanted: @escaping (T) -> Bool) {
        kind = type
        self.bound = bound
        accepts = { $0 is T }
        self.isWanted = { packet in (packet as? T).map(isWanted) ?? false }
    }

    /// As `WatchEntry.takes`.
    func takes(_ packet: any Packet) -> Bool {
        ending == nil && isWanted(packet) && ending == nil
    }

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
        askAgainIfClosed()
    }

    func add(_ packet: any Packet, to buffer: PacketBuffer) {
        buffer.packets.append(packet, bytes: 0)
        guard buffer.wait != nil else { return }
        areWatchersDue = true
        wokeSomebody()
        endWait(of: buffer, .ready)
    }

    func end(_ buffer: PacketBuffer, _ new: PacketEnding) {
        guard buffer.ending == nil else { return }
        buffer.ending = new
        buffers.removeAll { $0 === buffer }
        endWait(of: buffer, .ready)
    }

    func endWait(of buffer: PacketBuffer, _ outcome: WaitOutcome) {
        guard let wait = buffer.wait else { return }
        buffer.wait = nil
        resume(wait, outcome)
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
            let outcome = await suspend { continuation, number in
                begin(continuation, number: number) { wait in
                    guard buffer.packets.isEmpty, buffer.ending == nil else { return false }
                    buffer.wait = wait
                    askAgainIfClosed()
                    return true
                }
            }
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

        /// The next packet; from any task. What was buffered is given before the end or an error;
        /// this side's close drops it.
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
