// How a connection's packets leave. Floor 3; the loop's thread, but for `send` and `writeData`.

internal import SluiceReactor
internal import SluiceStreams

extension PacketConnection {
    /// Queues a packet, which leaves at the end of the turn. From elsewhere use ``send(_:)``.
    ///
    /// - Throws: ``PacketError/unencodable(_:)``, also for a packet that is not in the set;
    ///   ``PacketError/notWritable``; the writer's errors as ``PacketError/stream(_:)``. Nothing is
    ///   queued then.
    public func write(_ packet: any Packet) throws(PacketError) {
        preconditionOnLoop("write", twin: "send")
        guard let writer = pump.writer else { throw .notWritable }
        if let hook = pump.hooks?.writing {
            try write(packet, by: hook, to: writer)
        } else {
            try pump.sending.write(packet, writer)
        }
        pump.counts.sent &+= 1
    }

    /// The hook may send and close in between: so what it appends is not a part of the output yet.
    private func write(
        _ packet: any Packet,
        by hook: (any Packet, PacketConnection, inout PacketOutput) throws(PacketError) -> Void,
        to writer: StreamWriter
    ) throws(PacketError) {
        do throws(StreamError) { try writer.checkWritable() } catch { throw .stream(error) }
        let bytes = try PacketOutput.bytes { output throws(PacketError) in
            try hook(packet, self, &output)
        }
        do throws(StreamError) { try writer.write(bytes) } catch { throw .stream(error) }
    }

    /// Queues a packet with these fields; as ``write(_:)``.
    public func write<P: Packet>(
        _ type: P.Type, _ fill: (inout P) -> Void
    ) throws(PacketError) {
        try write(createPacket(type, fill))
    }

    /// Queues a packet and waits while more is queued than the high mark allows. From any task.
    ///
    /// - Throws: as ``write(_:)`` and ``StreamWriter/drain()``. If it throws
    ///   ``StreamError/cancelled`` or ``StreamError/timedOut``, the packet is queued whole.
    public nonisolated(nonsending) func send(_ packet: any Packet) async throws(PacketError) {
        guard loop.isCurrent else {
            return try await hop { () throws(PacketError) in try await self.send(packet) }
        }
        try write(packet)
        try await drain()
    }

    /// The same within a time, after which the packet is queued whole.
    nonisolated(nonsending) func send(
        _ packet: any Packet, within timeout: Duration?
    ) async throws(PacketError) {
        guard let timeout else { return try await send(packet) }
        do {
            try await withTimeout(timeout) { try await send(packet) }
        } catch {
            throw error as? PacketError ?? .stream(.timedOut)
        }
    }

    /// Sends a packet with these fields; as ``send(_:)``.
    public nonisolated(nonsending) func send<P: Packet>(
        _ type: P.Type, _ fill: (inout P) -> Void
    ) async throws(PacketError) {
        try await send(createPacket(type, fill))
    }

    /// Sends bytes that are no packet, between two packets. Otherwise as ``send(_:)``.
    public nonisolated(nonsending) func writeData(_ bytes: [UInt8]) async throws(PacketError) {
        guard loop.isCurrent else {
            return try await hop { () throws(PacketError) in try await self.writeData(bytes) }
        }
        guard let writer = pump.writer else { throw .notWritable }
        do throws(StreamError) { try await writer.send(bytes) } catch { throw .stream(error) }
    }

    /// Reads bytes that are no packet, between two packets; from any task.
    ///
    /// - Parameter count: 0 or more.
    /// - Returns: exactly so many bytes; `nil` if the stream ends before them, and what there was
    ///   is gone then. No bytes are there also at the end.
    /// - Throws: ``PacketError/busy`` while packets are read for somebody, one was read and not
    ///   taken, or a part of one has come; ``PacketError/notReadable``; errors of the stream as
    ///   ``PacketError/stream(_:)``.
    public nonisolated(nonsending) func readData(
        _ count: Int
    ) async throws(PacketError) -> [UInt8]? {
        guard loop.isHome(#isolation) else {
            return try await hop { () throws(PacketError) in try await self.readData(count) }
        }
        guard let reader = pump.reader else { throw .notReadable }
        if !isHooks,
            pump.isReading || pump.slot != nil || pump.hookTask != nil
                || pump.receiving.isInPacket()
        {
            throw .busy
        }
        defer { if !isHooks { pump.kick() } }
        do throws(StreamError) { return try await reader.readExactly(count) } catch {
            switch error {
            case .truncated: return nil
            case .busy: throw .busy
            default: throw .stream(error)
            }
        }
    }

    /// The bytes of a packet as the format has them, header and fields, without a frame. On the
    /// loop.
    ///
    /// - Throws: ``PacketError/unencodable(_:)``.
    public func encode(_ packet: any Packet) throws(PacketError) -> [UInt8] {
        preconditionOnLoop("encode", twin: "loop.spawn { }")
        return try PacketOutput.bytes { output throws(PacketError) in
            try pump.sending.encode(packet, &output)
        }
    }

    /// The packet of exactly these bytes, header and fields, without a frame. On the loop.
    ///
    /// - Throws: ``PacketError/malformed(_:)``.
    public func decode(_ bytes: [UInt8]) throws(PacketError) -> any Packet {
        preconditionOnLoop("decode", twin: "loop.spawn { }")
        return try pump.receiving.decode(bytes.span.bytes)
    }

    private nonisolated(nonsending) func drain() async throws(PacketError) {
        guard let writer = pump.writer else { return }
        do throws(StreamError) { try await writer.drain() } catch { throw .stream(error) }
    }
}
