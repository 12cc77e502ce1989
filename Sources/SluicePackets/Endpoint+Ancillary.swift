// Packets with descriptors and credentials beside them, over Unix sockets. Floor 3; lives on its
// stream's loop.

internal import SluiceReactor
public import SluiceStreams

/// A packet and what came beside its bytes.
public struct ReceivedPacket<Packet: Sendable>: ~Copyable, Sendable {
    /// The packet.
    public let packet: Packet
    /// Empty if nothing came with it. What is not taken out of it is closed with it.
    public var ancillary: ReceivedAncillary
}

/// The two before they are given out, as a value that may be copied on its way.
private struct Arrival<Packet: Sendable>: Sendable {
    let packet: Packet
    let ancillary: ArrivedAncillary
}

extension StreamReceiver {
    /// Receives the next packet and the descriptors that came with it.
    ///
    /// These are the ones sent with any byte of the packet, or with what was sent as one message
    /// with its beginning. No byte behind the packet is taken from the kernel, so the descriptors
    /// of a later packet stay with that, and a packet that was buffered already comes without any.
    /// Descriptors that came with the beginning of a packet whose rest is still missing are kept
    /// and given out with it, also if this call is cancelled or times out; a `receive()` that
    /// completes such a packet closes them. Costs two or three system calls for each packet.
    ///
    /// - Parameter ancillaryCapacity: descriptors that may come with one packet, 0 to
    ///   ``Ancillary/descriptorsMax``.
    /// - Returns: the packet; `nil` when the stream has ended between two packets.
    /// - Throws: as ``receive()``; as ``PacketError/stream(_:)``: ``StreamError/unsupported(_:)``
    ///   if the stream is no Unix socket, ``StreamError/ancillaryTruncated`` for a packet with more
    ///   descriptors than that, which are all closed; the next receive goes on behind the packet.
    public nonisolated(nonsending) func receive(
        ancillaryCapacity: Int
    ) async throws(PacketError) -> ReceivedPacket<Received>? {
        precondition(
            (0...Ancillary.descriptorsMax).contains(ancillaryCapacity),
            "ancillaryCapacity is 0 to 253 descriptors")
        guard let arrival = try await receiveArrival(ancillaryCapacity) else { return nil }
        return ReceivedPacket(
            packet: arrival.packet, ancillary: ReceivedAncillary(arrival.ancillary))
    }

    private nonisolated(nonsending) func receiveArrival(
        _ capacity: Int
    ) async throws(PacketError) -> Arrival<Received>? {
        guard reader.isHome(#isolation) else {
            return try await reader.onLoop { () throws(PacketError) in
                try await self.receiveArrival(capacity)
            }
        }
        let decoder = passing()
        do throws(StreamError) { try await reader.beginDecoding() } catch {
            throw PacketError(ofReceive: error)
        }
        defer { reader.endDecoding() }
        do throws(StreamError) { try reader.checkPassing() } catch { throw .stream(error) }
        while true {
            // The end of a packet lets go of what came with it; here it is still wanted.
            let coming = reader.arrived ?? ArrivedAncillary()
            if let packet = try nextPacket(reader) { return try arrival(packet, coming) }
            let seen: Int?
            do { seen = try await moreAhead(decoder, coming, capacity) } catch {
                throw PacketError(ofReceive: error)
            }
            guard let seen else {
                return try decoder.last(reader).map { (packet) throws(PacketError) in
                    try arrival(packet, coming)
                }
            }
            guard seen > 0 else { continue }
            let ahead = Ahead(count: seen, arrived: coming, capacity: capacity)
            if let packet = try decoder.ahead(reader, ahead) { return try arrival(packet, coming) }
        }
    }

    /// Looks at what has come, waiting for it if need be; or lets a decoder that gathers a packet
    /// in storage of its own receive there, which is never more than the packet's.
    ///
    /// - Returns: how many bytes were seen and not taken; `nil` at the end.
    private nonisolated(nonsending) func moreAhead(
        _ decoder: PassingDecoder<Received>, _ coming: ArrivedAncillary, _ capacity: Int
    ) async throws -> Int? {
        guard decoder.isGathering() else { return try await reader.lookAhead() }
        let filling = try reader.collecting(coming, capacity: capacity) {
            () throws(StreamError) in try decoder.fill(reader)
        }
        if filling == .end { return nil }
        if filling != .bytes { try await reader.waitForMore(filling) }
        return 0
    }

    private func arrival(
        _ packet: Received, _ coming: ArrivedAncillary
    ) throws(PacketError) -> Arrival<Received> {
        if coming.isCut { throw .stream(.ancillaryTruncated) }
        return Arrival(packet: packet, ancillary: coming)
    }
}

/// What a decoder does for receives with ancillary data, its type hidden.
@usableFromInline
struct PassingDecoder<Received: Sendable> {
    let fill: (StreamReader) throws(StreamError) -> StreamReader.Filling
    let last: (StreamReader) throws(PacketError) -> Received?
    let ahead: (StreamReader, Ahead) throws(PacketError) -> Received?
    let isGathering: () -> Bool

    @usableFromInline
    init<D: PacketDecoder<Received>>(_ box: DecoderBox<D>) {
        fill = { reader throws(StreamError) in try box.fill(from: reader) }
        last = { reader throws(PacketError) in try box.last(from: reader) }
        ahead = { reader, ahead throws(PacketError) in try box.next(from: reader, ahead) }
        isGathering = { box.state.pointee.decoder.isGathering }
    }
}

/// Bytes that were seen in the kernel behind those of the buffer, and what may come with them.
@usableFromInline
struct Ahead {
    let count: Int
    let arrived: ArrivedAncillary
    let capacity: Int

    /// Takes the first bytes seen.
    func take(_ count: Int, from reader: StreamReader) throws(PacketError) {
        do throws(StreamError) {
            try reader.takeAhead(count, arrived, capacity: capacity)
        } catch { throw .stream(error) }
    }
}

extension DecoderBox {
    /// A packet out of the buffered bytes and those seen, of which no more than the packet's are
    /// taken from the kernel.
    @usableFromInline
    func next(from reader: StreamReader, _ ahead: Ahead) throws(PacketError) -> D.Received? {
        let held = reader.undecoded.count
        let count = held + ahead.count
        guard count >= state.pointee.wanted else {
            try ahead.take(ahead.count, from: reader)
            return nil
        }
        switch state.pointee.decoder.decode(reader.undecoded(andAhead: ahead.count).bytes) {
        case .more(let missing, let used):
            try ahead.take(ahead.count, from: reader)
            moreIsMissing(missing, used: used, of: count, reader)
            return nil
        case .packet(let packet, let used):
            try ahead.take(max(0, used - held), from: reader)
            packetEnded(used, reader)
            return packet
        case .malformed(let error, let used):
            try ahead.take(max(0, used - held), from: reader)
            packetEnded(used, reader)
            throw error
        case .poisoned(let error):
            state.pointee.isPoisoned = true
            throw error
        }
    }
}

extension StreamSender {
    /// Queues a packet, and descriptors or credentials that leave with its first byte. On the
    /// loop's thread.
    ///
    /// - Parameters:
    ///   - packet: of 1 byte or more.
    ///   - ancillary: at most ``Ancillary/descriptorsMax`` descriptors, the caller's again when
    ///     this has returned.
    /// - Throws: ``PacketError/unencodable(_:)``; else as
    ///   ``StreamWriter/write(_:ancillary:)``, as ``PacketError/stream(_:)``. Nothing is queued
    ///   then.
    public func write(_ packet: Sent, ancillary: Ancillary) throws(PacketError) {
        let mark: UInt64
        do throws(StreamError) { mark = try writer.beginPassing(ancillary) } catch {
            throw .stream(error)
        }
        try writePacket(packet, writer)
        do throws(StreamError) { try writer.endPassing(ancillary, mark: mark) } catch {
            throw .stream(error)
        }
    }

    /// `write(_:ancillary:)`, and waits while more is queued than the high mark allows.
    ///
    /// - Throws: as both. If it throws ``StreamError/cancelled`` or ``StreamError/timedOut``, the
    ///   packet is queued whole, with all that belongs to it; a task cancelled before it comes here
    ///   queues nothing when it has to hop.
    public nonisolated(nonsending) func send(
        _ packet: Sent, ancillary: Ancillary
    ) async throws(PacketError) {
        guard loop.isCurrent else {
            let result: Result<Void, PacketError> = await loop.hop {
                do throws(PacketError) {
                    return .success(try await self.send(packet, ancillary: ancillary))
                } catch {
                    return .failure(error)
                }
            }
            return try result.get()
        }
        try write(packet, ancillary: ancillary)
        try await drain()
    }
}

extension StreamEndpoint {
    /// Receives the next packet and the descriptors that came with it; `nil` at the end. As
    /// ``StreamReceiver/receive(ancillaryCapacity:)``.
    public nonisolated(nonsending) func receive(
        ancillaryCapacity: Int
    ) async throws(PacketError) -> ReceivedPacket<Received>? {
        try await receiver.receive(ancillaryCapacity: ancillaryCapacity)
    }

    /// Queues a packet with descriptors or credentials. As ``StreamSender/send(_:ancillary:)``.
    public nonisolated(nonsending) func send(
        _ packet: Sent, ancillary: Ancillary
    ) async throws(PacketError) {
        try await sender.send(packet, ancillary: ancillary)
    }

    /// Queues a packet with descriptors or credentials. On the loop's thread. As
    /// ``StreamSender/write(_:ancillary:)``.
    public func write(_ packet: Sent, ancillary: Ancillary) throws(PacketError) {
        try sender.write(packet, ancillary: ancillary)
    }
}
