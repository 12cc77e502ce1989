// System calls per datagram, exactly: what is received in a batch is answered in a batch.

import Sluice
import SluiceTestKit
import Testing

@Suite struct DatagramCostTests {
    // RELIABILITY 74: at most 64 datagrams a turn; a socket that always has some lets others run.
    @Test func `sixty-four datagrams that wait are one receive, and their echoes one send`()
        async throws
    {
        let faults = FaultTable()
        try await withLoop(faults: faults) { _ in
            let server = try await bindDatagramSocket(port: 0)
            // Each from a socket of its own, so that nothing can be joined; on another loop, so
            // that its calls are not counted.
            try await withLoop { _ in
                var clients: [DatagramSocket] = []
                for number in 0..<64 as Range<UInt8> {
                    let client = try await connectDatagramSocket(to: server.localAddress.place)
                    try await client.send([number])
                    try await client.flush()
                    clients.append(client)
                }
                let counts = try await server.loop.spawn {
                    faults.resetCounts()
                    for number in 0..<64 as Range<UInt8> {
                        let datagram = try await server.receive()
                        #expect(datagram.bytes == [number])
                        try await server.send(datagram.bytes, to: datagram.source)
                    }
                    try await server.flush()
                    return [faults.calls(CF_RECVMMSG), faults.calls(CF_SENDMMSG)]
                }.value
                #expect(counts == [1, 1])
                for (number, client) in clients.enumerated() {
                    #expect(try await client.receive().bytes == [UInt8(number)])
                    await client.close()
                }
            }
            await server.close()
        }
    }

    @Test func `an echo of one datagram is one wait, one receive and one send`() async throws {
        let faults = FaultTable()
        let rounds = 200
        try await withLoop(faults: faults) { _ in
            let server = try await bindDatagramSocket(port: 0)
            let echoing = await started {
                for round in 0...rounds {
                    let datagram = try await server.receive()
                    if round == 1 { faults.resetCounts() }
                    try await server.send(datagram.bytes, to: datagram.source)
                }
            }
            try await withLoop { _ in
                let client = try await connectDatagramSocket(to: server.localAddress.place)
                for round in 0...rounds {
                    try await client.send([UInt8(truncatingIfNeeded: round)])
                    _ = try await client.receive()
                }
                await client.close()
            }
            try await echoing.value
            // The first one counted was received before, and the last one's send is not lost.
            #expect(faults.calls(CF_RECVMMSG) <= rounds)
            #expect(faults.calls(CF_SENDMMSG) <= rounds)
            #expect(faults.calls(CF_EPOLL_CTL) == 0)
            await server.close()
        }
    }

    @Test func `a flood leaves other tasks of the loop running`() async throws {
        try await withDatagrams { server, client in
            for _ in 0..<500 { try client.write([1]) }
            try await client.flush()
            let turns = Shared(0)
            let other = server.loop.spawn {
                while !Task.isCancelled {
                    turns.withLock { $0 += 1 }
                    await EventLoop.yield()
                }
            }
            await settle()
            let before = turns.value
            for _ in 0..<400 { _ = try await server.receive() }
            #expect(turns.value - before >= 5)
            other.cancel()
        }
    }
}
