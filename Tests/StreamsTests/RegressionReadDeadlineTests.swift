// What a review broke in the deadlines of reads: peers that were cut too early, and peers that got
// away. On a virtual clock.

import Sluice
import SluiceTestKit
import Testing

@Suite struct RegressionReadDeadlineTests {
    /// A handler that looks now and then whether the peer has said something, and works meanwhile.
    @Test func `time in which nobody reads does not count as idle`() async throws {
        try await withTimes(idle: 300) { reader, writer in
            for _ in 0..<5 {
                await #expect(throws: StreamError.timedOut) {
                    try await withTimeout(.seconds(1)) { _ = try await reader.readLine() }
                }
                // A look that does not even wait changes nothing of it.
                try? await withTimeout(.zero) { _ = try await reader.readLine() }
                try await sleep(for: .seconds(100))
            }
            try await writer.send("done\n")
        } client: { server, seconds in
            let client = try await server.connect()
            #expect(try await client.reader.readToEnd() == bytes("done\n"))
            #expect(seconds() == 505)
            await client.writer.close()
        }
    }

    @Test func `shorter waits of the reader's own do not give a begun message more time`()
        async throws
    {
        try await withTimes(message: 30) { reader, writer in
            while true {
                do {
                    try await withTimeout(.seconds(7)) { _ = try await reader.readLine() }
                } catch StreamError.timedOut {
                } catch StreamError.peerTimedOut(let deadline) {
                    return try await writer.send("\(deadline)\n")
                }
            }
        } client: { server, seconds in
            let client = try await server.connect()
            let dripping = await started {
                while true {
                    try await client.writer.send("x")
                    try await sleep(for: .seconds(5))
                }
            }
            #expect(try await client.reader.readToEnd() == bytes("message\n"))
            #expect(seconds() == 30)
            dripping.cancel()
            await client.writer.close()
        }
    }

    @Test func `a message taken otherwise leaves its time to nobody`() async throws {
        try await withTimes(message: 30) { reader, writer in
            try? await withTimeout(.seconds(20)) { _ = try await reader.readLine() }
            #expect(try await reader.read() == bytes("first"))
            try await writer.send(try await reader.readLine() ?? [])
        } client: { server, seconds in
            let client = try await server.connect()
            try await client.writer.send("first")
            try await sleep(for: .seconds(21))
            try await client.writer.send("se")
            try await sleep(for: .seconds(29))
            try await client.writer.send("cond\n")
            #expect(try await client.reader.readToEnd() == bytes("second\n"))
            await client.writer.close()
        }
    }

    @Test func `the earliest of several deadlines counts`() async throws {
        try await withTimes(firstByte: 60, idle: 10) { server, seconds in
            let client = try await server.connect()
            #expect(try await client.reader.readToEnd() == bytes("idle\n"))
            #expect(seconds() == 10)
            await client.writer.close()
        }
    }

    /// Bytes lie there in every turn, so no read is seen waiting when the timer fires.
    @Test func `a flood without an end is over when the message time is`() async throws {
        let faults = FaultTable()
        try await withTimes(faults: faults, message: 30) { reader, _ in
            try await reader.skip(through: [10])
        } client: { server, _ in
            let client = try await server.connect()
            // Wakes this task after the server's, so that the next bytes come once that waits.
            let (beat, after) = try await makeMemoryPair()
            let chunk = [UInt8](repeating: 0x78, count: 1_000)
            var sent = 0
            while sent < 2_000, await server.statistics().closed == 0 {
                try? client.writer.write(chunk)
                try? await client.writer.flush()
                faults.advance(nanoseconds: 1_000_000_000)
                sent += 1
                try await beat.writer.send("x")
                _ = try await after.reader.read()
            }
            #expect(sent < 50)
            #expect(await server.closings(1) == [.message: 1])
            for writer in [client.writer, beat.writer, after.writer] { await writer.abort() }
        }
    }

    /// Its last byte was taken long after the reader began to wait.
    @Test(arguments: [10, 20])
    func `a peer that takes slowly is idle only from its last byte on`(_ steps: Int) async throws {
        let faults = FaultTable()
        faults.setClock(nanoseconds: 1_000_000_000)
        try await withLoop(faults: faults) { loop in
            var options = StreamOptions()
            options.idleTimeout = .seconds(300)
            let (near, far) = try await makeMemoryPair(
                capacity: 400_000, chunk: 10_000, options: options)
            let serving = loop.spawn {
                try near.writer.write([UInt8](repeating: 1, count: steps * 10_000))
                return try await near.reader.readLine()
            }
            for _ in 0..<steps {
                try await sleep(for: .seconds(29))
                #expect(try await far.reader.read()?.count == 10_000)
            }
            try await sleep(for: .seconds(290))
            try await far.writer.send("more\n")
            #expect(try await serving.value == bytes("more\n"))
            // And then it is idle indeed.
            await #expect(throws: StreamError.peerTimedOut(.idle)) {
                _ = try await near.reader.readLine()
            }
            await near.writer.close()
            await far.writer.close()
        }
    }

    @Test func `a peer that only takes is not idle, over two pipes neither`() async throws {
        let faults = FaultTable()
        faults.setClock(nanoseconds: 1_000_000_000)
        try await withLoop(faults: faults) { loop in
            var options = StreamOptions()
            options.idleTimeout = .seconds(300)
            let (near, far) = try await AdoptedKind.pipes.makePair(options: options)
            let start = loop.now()
            let waiting = loop.spawn { try await near.reader.readLine() }
            let taking = loop.spawn { while let _ = try? await far.reader.read() {} }
            for _ in 0..<10 {
                try await near.writer.send("tick\n")
                try await sleep(for: .seconds(200))
            }
            await #expect(throws: StreamError.peerTimedOut(.idle)) { _ = try await waiting.value }
            #expect((2_100...2_400).contains((loop.now() - start) / 1_000_000_000))
            await near.writer.close()
            await far.writer.abort()
            try await taking.value
        }
    }

    /// A close with unread input would make the kernel send a reset, which destroys what the peer
    /// has not got yet.
    @Test func `what is written to a peer that was cut arrives, though it goes on sending`()
        async throws
    {
        var options = ServerOptions()
        options.stream.messageTimeout = .seconds(30)
        options.socket.sendBuffer = 400_000
        try await withServer(isVirtual: true, options: options) { reader, writer in
            await #expect(throws: StreamError.peerTimedOut(.message)) {
                _ = try await reader.readLine()
            }
            try writer.write(TestBytes.make(count: 200_000))
        } client: { server in
            var socket = SocketOptions()
            socket.receiveBuffer = 4_096
            let client = StreamEnd(
                try await openConnection(host: "127.0.0.1", port: server.port, socket: socket))
            try await client.writer.send("x")
            try await sleep(for: .seconds(31))
            try await client.say("y")
            #expect(try await client.reader.readToEnd() == TestBytes.make(count: 200_000))
            await client.writer.close()
            #expect(await server.closings(1) == [.message: 1])
        }
    }

    @Test func `the hang-up of a peer that was cut is noticed`() async throws {
        let calls = Shared(0)
        try await withTimes(idle: 10) { reader, writer in
            writer.onPeerClosed { calls.withLock { $0 += 1 } }
            await #expect(throws: StreamError.peerTimedOut(.idle)) { _ = try await reader.read() }
            try await writer.send("cut\n")
            try await writer.waitPeerClosed()
        } client: { server, _ in
            let client = try await server.connect()
            #expect(try await client.reader.readLine() == bytes("cut\n"))
            await client.writer.close(within: .seconds(1))
            #expect(await server.closings(1) == [.idle: 1])
        }
        #expect(calls.value == 1)
    }
}
