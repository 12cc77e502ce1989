// System calls and enqueues per packet of a packet connection, exactly: no more than for a handler
// that reads for itself, though no task reads.

import Sluice
import SluiceTestKit
import Testing

@Suite struct PacketConnectionCallTests {
    private static let rounds = isLongRun ? 20_000 : 1_000

    private func spent(
        pipelined depth: Int = 1,
        _ serve: @escaping @Sendable (PacketConnection, Meter) async throws -> Void
    ) async throws -> Spending {
        try await spending { meter in
            { reader, writer in
                try await serve(try PacketConnection(reader, writer, lines), meter)
            }
        } client: { server in
            let batch = Array(repeatElement(message, count: depth).joined())
            let client = try await connect(server)
            for _ in 0..<10 { try await client.exchange(batch) }
            try await client.exchange(startLine)
            for _ in 0..<Self.rounds { try await client.exchange(batch) }
            try await client.exchange(stopLine)
            await client.writer.close()
        }
    }

    @Test func `a loop's unpipelined echo is one wait, one receive and one send`() async throws {
        let spent = try await spent { connection, meter in
            for try await packet in connection.packets {
                try await meter.look(at: packet, connection)
                try await connection.send(packet)
            }
        }
        let messages = Self.rounds + 1
        #expect(
            spent.calls == ["epoll_wait": messages, "recv": messages, "sendmsg": messages])
        #expect(spent.enqueues == messages, "one enqueue per wake-up")
    }

    @Test func `by a watch for each packet it is the same`() async throws {
        let spent = try await spent { connection, meter in
            while let packet = try await connection.nextPacket(of: UnknownPacket.self) {
                try await meter.look(at: packet, connection)
                try await connection.send(packet)
            }
        }
        let messages = Self.rounds + 1
        #expect(
            spent.calls == ["epoll_wait": messages, "recv": messages, "sendmsg": messages])
        #expect(spent.enqueues == messages)
    }

    @Test func `sixteen pipelined packets of a loop leave in one send`() async throws {
        let spent = try await spent(pipelined: 16) { connection, meter in
            for try await packet in connection.packets {
                try await meter.look(at: packet, connection)
                try await connection.send(packet)
            }
        }
        let batches = Self.rounds + 1
        #expect(spent.calls["recv"] == batches)
        #expect(spent.calls["sendmsg"] == batches)
        #expect(spent.calls["epoll_wait"] == batches)
        #expect(spent.enqueues == batches, "1/16 per packet")
    }
}

/// A line is a packet: its first byte the id, which nobody knows, the others its bytes.
private let lines = PacketFormat(SeparatorFraming([10]), .big, receiving: [])

extension Meter {
    /// Starts or stops at the packets that say so.
    fileprivate nonisolated(nonsending) func look(
        at packet: any Packet, _ connection: PacketConnection
    ) async throws {
        guard let packet = packet as? UnknownPacket else { return }
        let line = [UInt8(packet.number)] + packet.bytes + [10]
        if line == startLine { await start(connection.loop) }
        if line == stopLine { await stop(connection.loop) }
    }
}
