// Unix peers that take no more datagrams: what waits for them, and what does not.

import Glibc
import Sluice
import SluiceTestKit
import Testing

@Suite struct FullPeerTests {
    /// More than the kernel queues for one socket: net.unix.max_dgram_qlen, 10 by default.
    private let contents = (0..<600).map { [UInt8](repeating: UInt8($0 % 251), count: 1 + $0 % 3) }

    @Test func `a flush waits for what a full peer lacks, whatever else leaves meanwhile`()
        async throws
    {
        try await withLoop { [contents] _ in
            let slow = try await bindDatagramSocket(.automatic)
            let quick = try await bindDatagramSocket(.automatic)
            let sender = try await bindDatagramSocket(.automatic)
            for content in contents { try sender.write(content, to: slow.localAddress) }
            let isFlushed = Shared(false)
            let flushing = await started {
                try await sender.flush()
                isFlushed.set(true)
            }
            for number in 0..<1_000 {
                try sender.write([UInt8(number % 251)], to: quick.localAddress)
                #expect(try await quick.receive().bytes == [UInt8(number % 251)])
            }
            #expect(!isFlushed.value)
            for content in contents { #expect(try await slow.receive().bytes == content) }
            try await flushing.value
            for socket in [slow, quick, sender] { await socket.close() }
        }
    }

    @Test func `a connected socket that sends to a full other one goes on with its own peer`()
        async throws
    {
        try await withDatagrams(.abstract) { [contents] server, client in
            let full = try await bindDatagramSocket(.automatic)
            for content in contents { try client.write(content, to: full.localAddress) }
            await settle()
            #expect(await client.statistics().queued > 0)
            try await withTimeout(.seconds(20)) {
                try client.write([1])
                #expect(try await server.receive().bytes == [1])
                // Nobody tells the sender that there is room: it asks.
                for content in contents { #expect(try await full.receive().bytes == content) }
                try await client.flush()
            }
            await full.close()
        }
    }

    @Test func `many full peers get theirs in their order`() async throws {
        try await withLoop { _ in
            let sender = try await bindDatagramSocket(.automatic)
            var peers: [DatagramSocket] = []
            // Together they must not use up the sender's buffer: then nobody could be sent to.
            for _ in 0..<16 { peers.append(try await bindDatagramSocket(.automatic)) }
            // In turns, so that the datagrams of each peer lie among those of all others.
            for number in 0..<40 as Range<UInt8> {
                for peer in peers { try sender.write([number], to: peer.localAddress) }
            }
            for peer in peers {
                for number in 0..<40 as Range<UInt8> {
                    #expect(try await peer.receive().bytes == [number])
                }
            }
            try await sender.flush()
            #expect(await sender.statistics().sent == 16 * 40)
            for socket in peers + [sender] { await socket.close() }
        }
    }

    @Test func `a flush that a close completes has flushed`() async throws {
        var options = DatagramOptions()
        options.receiveBuffer = 4 << 20
        try await withDatagrams(.v4, server: options) { server, client in
            // More than leaves in one turn.
            for number in 0..<400 { try client.write([UInt8(number % 251)]) }
            let flushing = await started { try await client.flush() }
            client.closeNow()
            try await flushing.value
            for number in 0..<400 {
                #expect(try await server.receive().bytes == [UInt8(number % 251)])
            }
        }
    }
}
