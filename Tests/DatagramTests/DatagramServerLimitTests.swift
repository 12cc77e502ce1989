// The limits of datagram servers: peers, queues, handlers. The numbers are those of the behaviours
// an endpoint must show.

import Sluice
import SluiceTestKit
import Testing

@Suite struct DatagramServerLimitTests {
    // ENDPOINTS 66.
    @Test(arguments: [DatagramOverflow.dropNewest, .dropOldest])
    func `66: a peer's queue is bounded, and drops are counted`(
        _ overflow: DatagramOverflow
    ) async throws {
        let isFree = Shared(false)
        var options = DatagramServerOptions()
        options.queueCount = 10
        options.overflow = overflow
        try await withTextServer(options: options) { peer in
            while let packet = try await peer.receive() {
                try await waitUntil { isFree.value }
                try await peer.send(packet)
            }
        } body: { server in
            let client = try await TextClient(server)
            for number in 0..<100 { try await client.say("\(number)") }
            try await waitUntil { await server.statistics().socket.received == 100 }
            let counts = await server.statistics()
            #expect(counts.waiting == 10)
            #expect(counts.dropped == 89)
            #expect(counts.waitingBytes <= 10 * (128 + 2))
            isFree.set(true)
            let kept = overflow == .dropNewest ? Array(0...10) : [0] + Array(90...99)
            for number in kept { #expect(try await client.endpoint.receive() == "\(number)") }
            try await waitUntil { await server.statistics().waitingBytes == 0 }
            await client.endpoint.close()
        }
    }

    // ENDPOINTS 49: the queue is never empty, so no receive ever waits.
    @Test(arguments: [false, true])
    func `a peer that sends without end holds nobody back from a deadline or an end`(
        isCancelled: Bool
    ) async throws {
        var options = DatagramServerOptions()
        options.queueCount = 1_000
        options.socket.receiveBuffer = 4 << 20
        let isFree = Shared(false)
        let seen = Shared<[PacketError]>([])
        let (received, receivedBefore) = (Shared(0), Shared(0))
        try await withTextServer(options: options) { peer in
            try await waitUntil { isFree.value }
            @Sendable func receiveAll() async {
                do throws(PacketError) {
                    while try await peer.receive() != nil { received.set(received.value + 1) }
                } catch { seen.append(error) }
            }
            if isCancelled {
                let task = await started { await receiveAll() }
                task.cancel()
                try await task.value
            } else {
                try await withTimeout(.zero) { await receiveAll() }
            }
            receivedBefore.set(received.value)
            // Nothing was lost by that.
            while received.value < 500, try await peer.receive() != nil {
                received.set(received.value + 1)
            }
            try await peer.send("done")
        } body: { server in
            let client = try await TextClient(server)
            for number in 0..<500 { try await client.say("\(number)") }
            try await waitUntil { await server.statistics().waiting == 499 }
            isFree.set(true)
            #expect(try await client.endpoint.receive() == "done")
            #expect(seen.value == [.stream(isCancelled ? .cancelled : .timedOut)])
            #expect(receivedBefore.value < 500)
            #expect(received.value == 500)
            await client.endpoint.close()
        }
    }

    @Test func `all queues together are bounded`() async throws {
        var options = DatagramServerOptions()
        options.queueBytes = 10 * 129
        try await withTextServer(options: options) { peer in
            _ = try await peer.receive()
            try await sleep(for: .seconds(1_000))
        } body: { server in
            var clients: [TextClient] = []
            for _ in 0..<5 { clients.append(try await TextClient(server)) }
            for client in clients { for _ in 0..<9 { try await client.say("x") } }
            try await waitUntil { await server.statistics().socket.received == 45 }
            let counts = await server.statistics()
            #expect(counts.waiting == 10)
            #expect(counts.waitingBytes == 1_290)
            #expect(counts.dropped == 30)
            for client in clients { await client.endpoint.close() }
        }
    }

    // ENDPOINTS 5 row 13.
    @Test func `the peer that was silent for longest gives way to a new one`() async throws {
        var options = DatagramServerOptions()
        options.maxPeers = 3
        let ended = Shared<[SocketAddress]>([])
        try await withTextServer(options: options) { peer in
            try await echoPackets(peer)
            ended.append(peer.peer)
        } body: { server in
            var clients: [TextClient] = []
            for _ in 0..<4 { clients.append(try await TextClient(server)) }
            for client in clients.prefix(3) { #expect(try await client.ask("a") == "a") }
            #expect(try await clients[0].ask("b") == "b")
            // The second one is the oldest now.
            #expect(try await clients[3].ask("c") == "c")
            try await waitUntil { ended.value.count == 1 }
            #expect(ended.value == [clients[1].endpoint.socket.localAddress])
            let counts = await server.statistics()
            #expect(counts.evicted == 1)
            #expect(counts.peers == 3)
            // It may come back.
            #expect(try await clients[1].ask("d") == "d")
            #expect(await server.statistics().conversations == 5)
            for client in clients { await client.endpoint.close() }
        }
    }

    @Test func `handlers that do not end when evicted do not pile up`() async throws {
        var options = DatagramServerOptions()
        options.maxPeers = 2
        let isFree = Shared(false)
        try await withTextServer(options: options) { _ in
            while !isFree.value { await EventLoop.yield() }
        } body: { server in
            var clients: [TextClient] = []
            for _ in 0..<10 {
                clients.append(try await TextClient(server))
                try await clients.last?.say("x")
            }
            try await waitUntil { await server.statistics().socket.received == 10 }
            let counts = await server.statistics()
            #expect(counts.conversations == 4)
            #expect(counts.refused == 6)
            #expect(counts.peers == 2)
            isFree.set(true)
            for client in clients { await client.endpoint.close() }
        }
    }

    // RELIABILITY 72: malformed input from a thousand sources costs and answers nothing.
    @Test func `nothing is kept of sources that never made sense`() async throws {
        try await withTextServer(handler: echoPackets) { server in
            for _ in 0..<200 {
                let socket = try await connectDatagramSocket(to: server.address.place)
                try await socket.send([0xFE, 0xFF])
                try await socket.flush()
                await socket.close()
            }
            try await waitUntil { await server.statistics().malformed == 200 }
            let counts = await server.statistics()
            #expect(counts.conversations == 0)
            #expect(counts.peers == 0)
            #expect(counts.socket.sent == 0)
        }
    }

    @Test func `limits out of their range are refused`() async throws {
        let changes: [(String, @Sendable (inout DatagramServerOptions) -> Void)] = [
            ("maxPeers", { $0.maxPeers = 0 }), ("maxPeers", { $0.maxPeers = .max }),
            ("queueCount", { $0.queueCount = 0 }), ("queueBytes", { $0.queueBytes = .max }),
        ]
        for (name, change) in changes {
            var options = DatagramServerOptions()
            change(&options)
            let refused = options
            let found = await refusedOption {
                try await startDatagramServer(
                    port: 0, serializer: TextSerializer(), options: refused, handler: echoPackets)
            }
            #expect(found == name)
        }
    }
}
