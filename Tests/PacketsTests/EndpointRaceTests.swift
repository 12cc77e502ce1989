// Cancellation, deadlines and closes that meet packets on their way. The numbers are those of the
// behaviours an endpoint must show.

import Sluice
import SluiceTestKit
import Testing

@Suite struct EndpointRaceTests {
    /// One codec of each sort of framing.
    enum Sort: CaseIterable, Sendable {
        case lines, prefixed, varint, separated, fixed
    }

    @Test(arguments: PairKind.allCases, Sort.allCases)
    func `21: a deadline in the turn in which a packet comes loses none`(
        _ kind: PairKind, _ sort: Sort
    ) async throws {
        try await withPair(kind) { near, far in
            switch sort {
            case .lines: try await race(near, far, FramedCodec(LineFraming(), BytesSerializer()))
            case .prefixed:
                try await race(
                    near, far, FramedCodec(LengthPrefixFraming(UInt16.self), BytesSerializer()))
            case .varint:
                try await race(near, far, FramedCodec(VarintPrefixFraming(), BytesSerializer()))
            case .separated:
                try await race(
                    near, far, FramedCodec(SeparatorFraming([13, 13]), BytesSerializer()))
            case .fixed:
                try await race(near, far, FramedCodec(FixedSizeFraming(8), BytesSerializer()))
            }
        }
    }

    /// The far end sends 200 numbered packets; each receive is given up after a moment, at times
    /// by cancellation and at times by a deadline, in the very turns in which they come.
    private func race<C: Codec>(
        _ near: StreamEnd, _ far: StreamEnd, _ codec: C
    ) async throws where C.Sent == [UInt8], C.Received == [UInt8] {
        let (endpoint, peer) = (
            StreamEndpoint(near.reader, near.writer, codec),
            StreamEndpoint(far.reader, far.writer, codec)
        )
        let total = 200
        let sending = EventLoop.current!.spawn {
            for number in 0..<total {
                try await peer.send(packet(number))
                try await sleep(for: .microseconds(number % 7 * 20))
            }
            try await peer.sendEOF()
        }
        var received: [[UInt8]] = []
        var attempt = 0
        while true {
            attempt += 1
            do throws(PacketError) {
                guard let packet = try await receive(endpoint, attempt) else { break }
                received.append(packet)
            } catch {
                #expect(error == .stream(.timedOut) || error == .stream(.cancelled))
            }
        }
        try await sending.value
        #expect(received == (0..<total).map(packet))
    }

    private func receive(
        _ endpoint: StreamEndpoint<[UInt8], [UInt8]>, _ attempt: Int
    ) async throws(PacketError) -> [UInt8]? {
        let moment = Duration.microseconds(attempt % 11 * 15)
        if attempt.isMultiple(of: 2) {
            do { return try await withTimeout(moment) { try await endpoint.receive() } } catch {
                throw error as? PacketError ?? .stream(.timedOut)
            }
        }
        let task = EventLoop.current!.spawn { try await endpoint.receive() }
        try? await sleep(for: moment)
        task.cancel()
        switch await task.result {
        case .success(let packet): return packet
        case .failure(let error): throw error as? PacketError ?? .stream(.timedOut)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `22: a cancelled send is whole or nothing, and the next one is framed`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind, options: smallMarks) { near, far in
            let endpoint = StreamEndpoint(near.reader, near.writer, LineCodec.lines())
            let texts = (0..<60).map { number in
                String(repeating: "\(number % 10)", count: 3_000 + number)
            }
            // Each queues its packet and waits for room; every second one is cancelled there.
            var waiting: [Task<Void, any Error>] = []
            for text in texts {
                waiting.append(EventLoop.current!.spawn { try await endpoint.send(text) })
            }
            await settle()
            for (number, task) in waiting.enumerated() where number.isMultiple(of: 2) {
                task.cancel()
            }
            await settle()
            for text in texts {
                #expect(try await far.reader.readLine() == bytes(text + "\n"))
            }
            for (number, task) in waiting.enumerated() {
                switch await task.result {
                case .success: break
                case .failure(let error):
                    #expect(number.isMultiple(of: 2))
                    #expect(error as? PacketError == .stream(.cancelled))
                }
            }
            try await endpoint.send("behind them")
            #expect(try await far.reader.readLine() == bytes("behind them\n"))
        }
    }

    @Test(arguments: PairKind.allCases)
    func `23: a close ends at its deadline although the peer reads nothing`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind, options: smallMarks) { near, far in
            let endpoint = StreamEndpoint(near.reader, near.writer, LineCodec.lines())
            _ = try await clog(near.writer, highWaterMark: 4_096)
            await endpoint.close(within: .milliseconds(20))
            #expect(endpoint.isClosing)
            #expect(endpoint.writer.closeReason != nil)
            await #expect(throws: PacketError.self) { try await endpoint.send("late") }
            _ = far
        }
    }

    @Test(arguments: PairKind.allCases)
    func `a cancelled close aborts`(_ kind: PairKind) async throws {
        try await withPair(kind, options: smallMarks) { near, far in
            let endpoint = StreamEndpoint(near.reader, near.writer, LineCodec.lines())
            _ = try await clog(near.writer, highWaterMark: 4_096)
            let closing = await started { await endpoint.close(within: .seconds(50)) }
            closing.cancel()
            _ = await closing.result
            try await waitUntil { endpoint.writer.closeReason != nil }
            _ = far
        }
    }

    @Test(arguments: PairKind.allCases)
    func `19: one time budget for a row of packets gives those that come in it`(
        _ kind: PairKind
    ) async throws {
        try await withEndpoint(kind) { endpoint, far in
            try await far.say("a\nb\nc\nhalf")
            let received = Shared<[String]>([])
            await #expect(throws: PacketError.stream(.timedOut)) {
                try await withTimeout(.milliseconds(30)) {
                    for try await packet in endpoint.packets { received.append(packet) }
                }
            }
            #expect(received.value == ["a", "b", "c"])
            try await far.say(" and half\n")
            #expect(try await endpoint.receive() == "half and half")
        }
    }

    @Test(arguments: PairKind.allCases)
    func `32, 33: more pieces than one call takes leave whole and in order`(
        _ kind: PairKind
    ) async throws {
        var options = StreamOptions()
        options.outputCap = 16 << 20
        try await withPair(kind, options: options) { near, far in
            let codec = FramedCodec(LengthPrefixFraming(UInt16.self), BytesSerializer())
            let endpoint = StreamEndpoint(near.reader, near.writer, codec)
            let peer = StreamEndpoint(far.reader, far.writer, codec)
            // Each is a prefix and an array by reference: 3,000 pieces, of which one call takes
            // 1,024.
            for number in 0..<1_500 { try endpoint.write(long(number)) }
            try await endpoint.sendEOF()
            for number in 0..<1_500 { #expect(try await peer.receive() == long(number)) }
            #expect(try await peer.receive() == nil)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `35: a send that waits for room is told when the connection is lost`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind, options: smallMarks) { near, far in
            let endpoint = StreamEndpoint(near.reader, near.writer, LineCodec.lines())
            _ = try await clog(near.writer, highWaterMark: 4_096)
            let waiting = await started { try await endpoint.send("waits") }
            await far.writer.abort()
            guard case .failure(let error) = await waiting.result else {
                Issue.record("the send was told it had been sent")
                return
            }
            guard case .stream(.reset) = error as? PacketError else {
                Issue.record("\(error)")
                return
            }
        }
    }

    @Test func `a receiver and a sender without the other half close what they have`()
        async throws
    {
        try await withLoop { _ in
            let (readEnd, writeEnd) = try makePipe()
            let receiver = StreamReceiver(
                try await adoptPipe(reading: readEnd), LineCodec.lines())
            let sender = StreamSender(try await adoptPipe(writing: writeEnd), LineCodec.lines())
            try await sender.send("through")
            #expect(try await receiver.receive() == "through")
            #expect(!sender.isClosing && !receiver.isClosing)
            let waiting = await started { try await receiver.receive() }
            await sender.close()
            #expect(try await waiting.value == nil)
            await receiver.close()
            #expect(sender.isClosing && receiver.isClosing)
            await #expect(throws: PacketError.stream(.closed)) { try await receiver.receive() }
            await #expect(throws: PacketError.stream(.closed)) { try await sender.send("late") }
        }
    }

    private var smallMarks: StreamOptions {
        var options = StreamOptions()
        options.highWaterMark = 4_096
        options.lowWaterMark = 1_024
        return options
    }
}

/// Eight bytes that no framing of these tests minds.
private func packet(_ number: Int) -> [UInt8] {
    bytes("p" + String(number + 1_000_000))
}

private func long(_ number: Int) -> [UInt8] {
    TestBytes.make(from: number, count: 4_096 + number % 100)
}
