// The bounds of a datagram socket: what gives way, what is counted, what waits, and what the end of
// a wait or of the socket leaves.

import Glibc
import Sluice
import SluiceTestKit
import Testing

@Suite struct QueueTests {
    /// Fills a socket from the far end without letting it receive: `count` datagrams of a kilobyte.
    private func flood(_ client: DatagramSocket, _ count: Int) async throws {
        for number in 0..<count {
            var content = [UInt8](repeating: 0, count: 1_000)
            withUnsafeBytes(of: Int64(number).littleEndian) {
                content.replaceSubrange(0..<8, with: $0)
            }
            try await client.send(content)
        }
        try await client.flush()
        await settle()
    }

    private func number(_ datagram: Datagram) -> Int {
        datagram.bytes.withUnsafeBytes { Int($0.loadUnaligned(as: Int64.self)) }
    }

    // ENDPOINTS 66, 5 row 13; RELIABILITY 74.
    @Test(arguments: DatagramKind.internet)
    func `66: a hundred thousand datagrams to one that does not receive stay within the bound`(
        _ kind: DatagramKind
    ) async throws {
        // Joined ones would be counted as one by the kernel.
        var options = DatagramOptions()
        options.joinsDatagrams = false
        try await withDatagrams(kind, server: options, client: options) { server, client in
            try await self.flood(client, 100_000)
            #expect(await client.statistics().sent == 100_000)
            // Nothing was taken out of the kernel, whose buffer is the queue.
            #expect(await server.statistics().waiting == 0)
            #expect(try await self.number(server.receive()) == 0)
            let now = await server.statistics()
            #expect(now.waiting <= 64)
            #expect(now.waitingBytes <= 64 * 1_128)
            // Those in its buffer come, in order; the next one says how many were dropped.
            var last = 0
            for _ in 0..<now.waiting {
                let next = try await self.number(server.receive())
                #expect(next == last + 1)
                last = next
            }
            while true {
                do {
                    let next = try await withTimeout(.milliseconds(1)) {
                        try await self.number(server.receive())
                    }
                    #expect(next == last + 1)
                    last = next
                } catch StreamError.timedOut { break }
            }
            try await client.send([UInt8](repeating: 9, count: 1_000))
            _ = try await server.receive()
            let dropped = await server.statistics().droppedByKernel
            #expect(dropped == 100_000 - 1 - last)
            #expect(dropped > 0)
        }
    }

    @Test(arguments: DatagramKind.internet)
    func `66: with dropOldest the newest of a flood are kept, within the bound`(
        _ kind: DatagramKind
    ) async throws {
        var options = DatagramOptions()
        options.overflow = .dropOldest
        options.queueCount = 100
        try await withDatagrams(kind, server: options) { server, client in
            try await self.flood(client, 100_000)
            try await waitUntil("all has come or was dropped") {
                let counts = await server.statistics()
                #expect(counts.waiting <= 100)
                #expect(counts.waitingBytes <= 100 * 1_128)
                return counts.received + counts.droppedByKernel == 100_000
                    || counts.received == counts.dropped + counts.waiting
            }
            let counts = await server.statistics()
            #expect(counts.waiting == 100)
            #expect(counts.received == counts.dropped + 100)
            var last = try await self.number(server.receive())
            for _ in 1..<100 {
                let next = try await self.number(server.receive())
                #expect(next > last)
                last = next
            }
            #expect(last == 99_999)
        }
    }

    @Test func `a queue's bytes are bounded as well as its count`() async throws {
        var options = DatagramOptions()
        options.overflow = .dropOldest
        options.maxReceiveSize = 2_000
        options.queueBytes = 5_000
        try await withDatagrams(server: options) { server, client in
            try await self.flood(client, 20)
            try await waitUntil { await server.statistics().received == 20 }
            // 1,000 bytes and 128 each.
            #expect(await server.statistics().waiting == 4)
            #expect(try await self.number(server.receive()) == 16)
        }
    }

    // ENDPOINTS 20, 21.
    @Test(arguments: DatagramKind.here)
    func `21: a receive that is cancelled or times out loses nothing`(
        _ kind: DatagramKind
    ) async throws {
        try await withDatagrams(kind) { server, client in
            for round in 0..<50 {
                let receiving = await started { try await server.receive() }
                try await client.send([UInt8(round)])
                // Sent and cancelled in one turn, or the other way round.
                if round % 2 == 0 { try await client.flush() }
                receiving.cancel()
                let got: Datagram
                do { got = try await receiving.value } catch {
                    #expect(error as? StreamError == .cancelled)
                    got = try await server.receive()
                }
                #expect(got.bytes == [UInt8(round)])
            }
            for round in 0..<50 {
                let receiving = await started {
                    try await withTimeout(.microseconds(round * 20)) { try await server.receive() }
                }
                try await client.send([UInt8(round)])
                let got: Datagram
                do { got = try await receiving.value } catch {
                    #expect(error as? StreamError == .timedOut)
                    got = try await server.receive()
                }
                #expect(got.bytes == [UInt8(round)])
            }
        }
    }

    // ENDPOINTS 15.
    @Test func `15: a second receive is refused, and the first one unharmed`() async throws {
        try await withDatagrams { server, client in
            let receiving = await started { try await server.receive() }
            await #expect(throws: StreamError.busy) { try await server.receive() }
            try await client.send([1])
            #expect(try await receiving.value.bytes == [1])
        }
    }

    // ENDPOINTS 16, 17; 1.10 last row.
    @Test(arguments: DatagramKind.here)
    func `16, 17: close wakes whoever waits, and every later call says closed`(
        _ kind: DatagramKind
    ) async throws {
        try await withDatagrams(kind) { server, client in
            let address = server.localAddress
            let receiving = await started { try await server.receive() }
            let waiting = await started { try await server.waitClosed() }
            await server.close()
            await server.close()
            await #expect(throws: StreamError.closed) { try await receiving.value }
            try await waiting.value
            await #expect(throws: StreamError.closed) { try await server.receive() }
            await #expect(throws: StreamError.closed) {
                try await server.send([1], to: client.localAddress)
            }
            await #expect(throws: StreamError.closed) { try await server.flush() }
            #expect(server.isClosed)
            #expect(server.localAddress == address)
        }
    }

    @Test func `the loop's end wakes whoever waits`() async throws {
        let loop = try EventLoop.start()
        let socket = try await bindDatagramSocket(port: 0, on: loop)
        let receiving = Task { try await socket.receive() }
        await loop.stop()
        await #expect(throws: StreamError.reactor(.stopped)) { try await receiving.value }
        await #expect(throws: StreamError.reactor(.stopped)) { try await socket.receive() }
    }

    @Test func `a socket that nobody keeps is closed`() async throws {
        let faults = FaultTable()
        try await withLoop(faults: faults) { _ in
            _ = try await bindDatagramSocket(port: 0)
        }
        #expect(faults.ledger.open <= loopDescriptors)
    }

    @Test func `calls from other threads do the right thing`() async throws {
        let loop = try EventLoop.start()
        let server = try await bindDatagramSocket(port: 0, on: loop)
        let client = try await connectDatagramSocket(
            host: "127.0.0.1", port: server.localAddress.port ?? 0)
        #expect(client.loop === EventLoop.background)
        for round in 0..<100 as Range<UInt8> {
            try await client.send([round])
            let datagram = try await server.receive()
            #expect(datagram.bytes == [round])
            try await server.send([round], to: datagram.source)
            #expect(try await client.receive().bytes == [round])
        }
        await client.close()
        await server.close()
        await loop.stop()
    }

    @Test(arguments: [DatagramKind.unixPath, .abstract])
    func `a Unix peer that does not receive stops the sender, and nobody else`(
        _ kind: DatagramKind
    ) async throws {
        try await withLoop { _ in
            let slow = try await bindDatagramSocket(kind.makeAddress())
            let quick = try await bindDatagramSocket(kind.makeAddress())
            let sender = try await bindDatagramSocket(kind.makeAddress())
            // Far more than the kernel queues: net.unix.max_dgram_qlen.
            // (Together above the high mark: a send to the slow one would wait.)
            let sent = (0..<600).map { [UInt8(truncatingIfNeeded: $0)] }
            for content in sent { try sender.write(content, to: slow.localAddress) }
            await settle()
            try await sender.send([77], to: quick.localAddress)
            #expect(try await quick.receive().bytes == [77])
            #expect(await sender.statistics().queued > 0)
            await #expect(throws: StreamError.timedOut) {
                try await withTimeout(.milliseconds(20)) { try await sender.flush() }
            }
            for content in sent { #expect(try await slow.receive().bytes == content) }
            try await sender.flush()
            #expect(await sender.statistics().queued == 0)
            for socket in [slow, quick, sender] { await socket.close() }
        }
    }

    // RELIABILITY 68.
    @Test func `waiting for a full Unix peer costs nothing to speak of`() async throws {
        let faults = FaultTable()
        try await withDatagrams(.abstract, faults: faults) { server, client in
            let other = try await bindDatagramSocket(.automatic)
            for _ in 0..<600 { try other.write([1], to: server.localAddress) }
            await #expect(throws: StreamError.timedOut) {
                try await withTimeout(.milliseconds(10)) { try await other.flush() }
            }
            faults.resetCounts()
            try await sleep(for: .milliseconds(200))
            // Pauses of 1, 2, 4 … 50 ms; a spin would make thousands.
            #expect(faults.calls(CF_SENDMMSG) < 20)
            await other.close()
            _ = client
        }
    }

    @Test func `send waits above the high mark, and write is refused above the cap`() async throws {
        var options = DatagramOptions()
        options.highWaterMark = 10_000
        options.outputCap = 20_000
        try await withLoop { [options] _ in
            let server = try await bindDatagramSocket(.automatic)
            let client = try await connectDatagramSocket(
                to: server.localAddress.place, options: options)
            // The kernel takes some; then the peer is full.
            let content = [UInt8](repeating: 1, count: 872)
            let sent = Shared(0)
            let sending = await started {
                for _ in 0..<1_000 {
                    try await client.send(content)
                    sent.withLock { $0 += 1 }
                }
            }
            try await waitUntil { await client.statistics().queued > 10 }
            let before = sent.value
            await settle()
            #expect(sent.value == before)
            var written = 0
            #expect(throws: StreamError.outputFull(queued: 20_000 + 1_000)) {
                while true {
                    try client.write(content)
                    written += 1
                }
            }
            // None of either sort is lost.
            #expect(await client.statistics().queued == 21)
            for _ in 0..<1_000 + written {
                #expect(try await server.receive().bytes.count == 872)
            }
            try await sending.value
            #expect(await client.statistics().queued == 0)
            await client.close()
            await server.close()
        }
    }
}

@Suite struct JoiningTests {
    // Whether the kernel joins is its business: what comes out is the same.
    @Test(arguments: DatagramKind.internet)
    func `what was joined on the way comes apart as it was sent`(_ kind: DatagramKind) async throws
    {
        var options = DatagramOptions()
        options.receiveBuffer = 8 << 20
        try await withDatagrams(kind, server: options) { server, client in
            // Runs longer than one call joins, with shorter and longer ones behind them.
            var sent: [[UInt8]] = []
            for (size, count) in [(1_200, 150), (700, 1), (1_200, 3), (1_300, 2), (0, 2), (9, 70)] {
                for _ in 0..<count {
                    sent.append(
                        [UInt8](repeating: UInt8(truncatingIfNeeded: sent.count), count: size))
                }
            }
            for content in sent { try client.write(content) }
            try await client.flush()
            for content in sent { #expect(try await server.receive().bytes == content) }
            #expect(await server.statistics().received == sent.count)
        }
    }

    @Test func `a run to one peer leaves in fewer messages than datagrams`() async throws {
        let faults = FaultTable()
        try await withDatagrams(faults: faults) { server, client in
            faults.resetCounts()
            for _ in 0..<256 { try client.write([UInt8](repeating: 1, count: 500)) }
            try await client.flush()
            // 64 in a system call without joining; with it the 256 are four messages of one call.
            #expect(faults.calls(CF_SENDMMSG) == 1)
            for _ in 0..<256 { #expect(try await server.receive().bytes.count == 500) }
        }
    }

    @Test(arguments: [EINVAL, EMSGSIZE, EIO])
    func `a route that cannot take them joined gets them one by one`(_ errno: Int32) async throws {
        let faults = FaultTable()
        try await withDatagrams(faults: faults) { server, client in
            faults.fail(CF_SENDMMSG, with: errno)
            for number in 0..<100 as Range<UInt8> { try client.write([number, number]) }
            try await client.flush()
            for number in 0..<100 as Range<UInt8> {
                #expect(try await server.receive().bytes == [number, number])
            }
            #expect(await client.statistics().notSent == 0)
        }
    }
}
