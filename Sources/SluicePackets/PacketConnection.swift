// PacketConnection: packets both ways over one stream, for callers that wait for a kind of packet.
// Floor 3; lives on its streams' loop.

public import SluiceReactor
public import SluiceStreams

/// Sends packets, and reads those of the peer for everybody who wants some.
///
/// It reads while somebody wants packets: the consumer of ``packets`` in `next`, a watch, a
/// buffered sequence, a listener. None of these needs another one, and all see every packet of
/// theirs. Otherwise nothing is read, which is the backpressure. A packet that the consumer is to
/// see while its loop's body runs waits, and reading stops until it is taken; packets that nobody
/// wants go to ``onUnhandled``.
///
/// Whoever a packet has woken on this loop runs before the next packet is decoded: who registers
/// another watch at once misses nothing, and a context that is set then holds for the next packet.
///
/// The end is told to everybody who waits, once: `nil` after the peer's end between two packets and
/// after this side's close, else a typed error, which closes the connection. A packet that makes no
/// sense is such an error.
///
/// Belongs to one event loop. Async calls made elsewhere hop to it; the others must be made on it,
/// unless they say "any thread". When it is dropped, with all its watches and sequences, its
/// streams are closed in order as if both halves were dropped.
// @unchecked Sendable: an immutable reference to a pump, whose state is touched on its loop alone;
// every entry compares the thread.
public final class PacketConnection: @unchecked Sendable {
    let pump: PacketPump
    /// A hook gets the connection without keeping it alive, and may read while packets are read.
    let isHooks: Bool

    /// Joins a stream, or one half of one, with a format. Any thread.
    ///
    /// - Parameters:
    ///   - reader: nobody else should read from it while packets are read; without one, receiving
    ///     is ``PacketError/notReadable``.
    ///   - writer: on the same loop; without one, sending is ``PacketError/notWritable``.
    ///   - format: how packets look.
    ///   - context: what ids and fields may depend on, at first.
    ///   - hooks: how packets are read and written, if not as the format says.
    /// - Throws: ``PacketError/duplicateID(_:types:)``.
    public convenience init(
        _ reader: StreamReader?, _ writer: StreamWriter?, _ format: PacketFormat,
        context: (any Hashable & Sendable)? = nil, hooks: PacketHooks? = nil
    ) throws(PacketError) {
        let prepared = try format.prepared(in: context)
        self.init(reader, writer, format, prepared, hooks)
    }

    init(
        _ reader: StreamReader?, _ writer: StreamWriter?, _ format: PacketFormat,
        _ prepared: PreparedFormat, _ hooks: PacketHooks?
    ) {
        guard let loop = reader?.loop ?? writer?.loop else {
            stopProgram("a PacketConnection needs a reader or a writer")
        }
        precondition(
            writer == nil || writer?.loop === loop,
            "a connection's reader and writer live on one loop")
        pump = PacketPump(reader, writer, format, prepared, hooks, loop: loop)
        isHooks = false
        if loop.isCurrent {
            pump.attach()
        } else {
            loop.postAlways { [pump] in pump.attach() }
        }
    }

    init(hooksOf pump: PacketPump) {
        self.pump = pump
        isHooks = true
    }

    deinit {
        guard !isHooks else { return }
        if pump.loop.isCurrent { return pump.forsake() }
        pump.loop.postAlways { [pump] in pump.forsake() }
    }

    /// The loop it lives on. Any thread.
    public var loop: EventLoop { pump.loop }

    /// The stream's receiving half. Bytes read here directly are missing from the packets.
    public var reader: StreamReader? {
        preconditionOnLoop("reader", twin: "loop.spawn { }")
        return pump.reader
    }

    /// The stream's sending half. What is written here directly stands between two packets.
    public var writer: StreamWriter? {
        preconditionOnLoop("writer", twin: "loop.spawn { }")
        return pump.writer
    }

    /// What ids and fields depend on.
    public var context: (any Hashable & Sendable)? {
        preconditionOnLoop("context", twin: "loop.spawn { }")
        return pump.context
    }

    /// Goes over to another context, from the next packet on in both directions: also for one whose
    /// bytes have come and were not decoded.
    ///
    /// - Throws: ``PacketError/duplicateID(_:types:)``: the context stays as it was.
    public func setContext(_ context: (any Hashable & Sendable)?) throws(PacketError) {
        preconditionOnLoop("setContext", twin: "loop.spawn { }")
        try pump.setContext(context)
    }

    /// Goes over to other streams on the same loop, between two packets: for a layer in between,
    /// to which both sides have just agreed. The old ones are the caller's again, with the bytes
    /// that came behind the last packet. Without a reader, who waits for packets gets
    /// ``PacketError/notReadable``.
    ///
    /// - Throws: ``PacketError/busy`` while a part of a packet has come or bytes are read;
    ///   what ended the packets, once they have.
    public func replaceStreams(
        reader: StreamReader?, writer: StreamWriter?
    ) throws(PacketError) {
        preconditionOnLoop("replaceStreams", twin: "loop.spawn { }")
        precondition(
            reader?.loop ?? loop === loop && writer?.loop ?? loop === loop,
            "a connection's streams stay on its loop")
        try pump.replaceStreams(reader, writer)
    }

    /// Counts since the start.
    public var statistics: PacketStatistics {
        preconditionOnLoop("statistics", twin: "loop.spawn { }")
        return pump.counts
    }

    /// A packet with these fields; the others have their defaults. Any thread.
    public func createPacket<P: Packet>(
        _ type: P.Type, _ fill: (inout P) throws -> Void = { _ in }
    ) rethrows -> P {
        var packet = P()
        try fill(&packet)
        return packet
    }

    func preconditionOnLoop(_ name: String, twin: String) {
        if !pump.loop.isCurrent {
            stopProgram(
                "PacketConnection.\(name) was used off its loop; from elsewhere await \(twin)")
        }
    }

    /// The same call made on the loop.
    nonisolated(nonsending) func hop<R: Sendable>(
        _ body: @escaping @Sendable () async throws(PacketError) -> R
    ) async throws(PacketError) -> R {
        let result: Result<R, PacketError> = await loop.hop {
            do throws(PacketError) { return .success(try await body()) } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }
}

/// What a packet connection has counted.
public struct PacketStatistics: Hashable, Sendable {
    /// Packets read.
    public internal(set) var received: UInt64 = 0
    /// Packets written.
    public internal(set) var sent: UInt64 = 0
    /// Packets read that nobody wanted.
    public internal(set) var unhandled: UInt64 = 0
}

extension PacketConnection: CustomStringConvertible {
    /// For example `PacketConnection(StreamWriter(…), 3 received, 2 sent)`; off the loop without
    /// state.
    public var description: String {
        guard loop.isCurrent else { return "PacketConnection" }
        let stream = pump.writer?.description ?? pump.reader?.description ?? "no stream"
        var parts = [stream, "\(pump.counts.received) received", "\(pump.counts.sent) sent"]
        if !pump.watches.isEmpty { parts.append("\(pump.watches.count) watches") }
        if let ending = pump.ending { parts.append(ending.error?.description ?? "ended") }
        return "PacketConnection(\(parts.joined(separator: ", ")))"
    }
}

extension PacketPump {
    func setContext(_ new: (any Hashable & Sendable)?) throws(PacketError) {
        let prepared = try format.prepared(in: new)
        context = new
        receiving.adopt(prepared)
        sending.adopt(prepared)
    }

    func replaceStreams(
        _ reader: StreamReader?, _ writer: StreamWriter?
    ) throws(PacketError) {
        if let ending { throw ending.error ?? .stream(.closed) }
        let isInPacket = isReading && self.reader?.undecoded.isEmpty == false
        if isBusy || isInPacket || receiving.isInPacket() || hookTask != nil { throw .busy }
        stopReading()
        detach()
        self.reader = reader
        self.writer = writer
        attach()
        if reader == nil, hooks?.reading == nil {
            endWatches(.failed(.notReadable))
            for buffer in buffers { end(buffer, .failed(.notReadable)) }
        }
        // It asks again, and waits as the new streams have it.
        endConsumerWait(.ready)
        kick()
    }
}
