// The sequence of all packets: its one consumer, its end, what it holds back, and bytes between
// packets.

import Glibc
import Sluice
import SluiceTestKit
import Testing

@Suite struct PacketConnectionLoopTests {
    // PACKETS 61
    @Test(arguments: PairKind.allCases)
    func `a close in the loop's body ends it behind that packet, one from elsewhere without error`(
        _ kind: PairKind
    ) async throws {
        try await withConnection(kind) { connection, far in
            try await far.say(try ["1", "2", "3"].flatMap { try frame(Note(text: $0)) })
            var texts: [String] = []
            for try await case let note as Note in connection.packets {
                texts.append(note.text)
                if texts.count == 2 { connection.startClosing(within: .milliseconds(1)) }
            }
            #expect(texts == ["1", "2"])
        }
        try await withConnection(kind) { connection, far in
            let loop = await started { try await noteTexts(connection) }
            try await far.say(try frame(Note(text: "only")))
            await connection.close(within: .milliseconds(1))
            let texts = try await loop.value
            #expect(texts == ["only"])
        }
    }

    // PACKETS 62
    @Test(arguments: PairKind.allCases)
    func `a second loop is refused at once, also while the first one's body runs`(
        _ kind: PairKind
    ) async throws {
        try await withConnection(kind) { connection, far in
            let (seen, goOn) = (Shared<[String]>([]), Shared(false))
            let first = await started {
                for try await case let note as Note in connection.packets {
                    seen.append(note.text)
                    try await eventually("the body may end") { goOn.value }
                }
            }
            await #expect(throws: PacketError.busy) { try await noteTexts(connection) }
            try await far.say(try frame(Note(text: "1")))
            #expect(seen.value == ["1"])
            await #expect(throws: PacketError.busy) { try await noteTexts(connection) }
            goOn.set(true)
            try await far.say(try frame(Note(text: "2")))
            try await far.finish()
            try await first.value
            #expect(seen.value == ["1", "2"])
        }
    }

    // PACKETS 63
    @Test(arguments: PairKind.allCases)
    func `after a break a new loop goes on with the next packet`(_ kind: PairKind) async throws {
        try await withConnection(kind) { connection, far in
            try await far.say(try (1...9).flatMap { try frame(Note(text: "\($0)")) })
            try await far.finish()
            var texts: [String] = []
            while texts.count < 9 {
                for try await case let note as Note in connection.packets {
                    texts.append(note.text)
                    if texts.count % 2 == 0 { break }
                }
            }
            #expect(texts == (1...9).map { "\($0)" })
            let rest = try await noteTexts(connection)
            #expect(rest.isEmpty)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `a consumer that is cancelled loses no packet`(_ kind: PairKind) async throws {
        try await withConnection(kind) { connection, far in
            var packets = connection.packets.makeAsyncIterator()
            await #expect(throws: (any Error).self) {
                try await withTimeout(.milliseconds(2)) { _ = try await packets.next() }
            }
            let note = try frame(Note(text: "whole"))
            try await far.say(Array(note.prefix(4)))
            await #expect(throws: (any Error).self) {
                try await withTimeout(.milliseconds(2)) { _ = try await packets.next() }
            }
            try await far.say(Array(note.dropFirst(4)))
            let packet = try await packets.next() as? Note
            #expect(packet?.text == "whole")
        }
    }

    // PACKETS 64
    @Test(arguments: PairKind.allCases)
    func `a slow loop body stalls the peer, and little is buffered, watches or not`(
        _ kind: PairKind
    ) async throws {
        try await withConnection(kind) { connection, far in
            if kind == .tcp {
                try far.writer.setSocketOption(level: SOL_SOCKET, name: SO_SNDBUF, value: 16_384)
            }
            let flood = try frame(Note(text: String(repeating: "x", count: 1_000)))
            let watch = connection.watch(for: Answer.self)
            let loop = await started {
                var packets = connection.packets.makeAsyncIterator()
                _ = try await packets.next()
                _ = try await watch.next()
                return try await packets.next()
            }
            let flooding = await started {
                while true { try await far.writer.send(flood) }
            }
            var sent: UInt64 = 0
            try await eventually("the peer is stalled") {
                defer { sent = far.writer.bytesSent }
                try await sleep(for: .milliseconds(5))
                return far.writer.bytesQueued > 0 && far.writer.bytesSent == sent
            }
            let buffered = connection.reader?.buffered ?? .max
            #expect(buffered <= 65_536)
            // One for the loop, one ahead.
            #expect(connection.statistics.received == 2)
            await connection.close(within: .milliseconds(1))
            let last = try await loop.value
            #expect(last == nil)
            await #expect(throws: (any Error).self) { try await flooding.value }
        }
    }

    // PACKETS 65
    @Test func `a connection of a reader or of a writer alone goes one way`() async throws {
        try await withLoop { _ in
            let (reading, writing) = try makePipe()
            let reader = try await adoptPipe(reading: reading)
            let writer = try await adoptPipe(writing: writing)
            let receiver = try PacketConnection(reader, nil, talk)
            let sender = try PacketConnection(nil, writer, talk)
            try await sender.send(Note(text: "one way"))
            let note = try await receiver.nextPacket(of: Note.self)
            #expect(note?.text == "one way")
            #expect(throws: PacketError.notWritable) { try receiver.write(Note()) }
            await #expect(throws: PacketError.notWritable) { try await receiver.send(Note()) }
            await #expect(throws: PacketError.notWritable) { try await receiver.writeData([1]) }
            await #expect(throws: PacketError.notReadable) { try await noteTexts(sender) }
            await #expect(throws: PacketError.notReadable) { try await sender.readData(1) }
            await #expect(throws: PacketError.notReadable) {
                try await sender.nextPacket(of: Note.self)
            }
            #expect(!receiver.isClosing && !sender.isClosing)
            let loop = await started { try await noteTexts(receiver) }
            await sender.close()
            let texts = try await loop.value
            #expect(texts.isEmpty)
            #expect(sender.isClosing)
            await receiver.close()
            #expect(receiver.isClosing)
            try await receiver.waitClosed()
        }
    }

    // PACKETS 66: the peer's end alone is no closing; this side may still send.
    @Test(arguments: PairKind.allCases)
    func `after the peer's end the connection is not closing, and sending goes on`(
        _ kind: PairKind
    ) async throws {
        try await withConnection(kind) { connection, far in
            try await far.finish()
            #expect(!connection.isClosing)
            let texts = try await noteTexts(connection)
            #expect(texts.isEmpty)
            #expect(!connection.isClosing)
            try await connection.send(Note(text: "still"))
            let expected = try frame(Note(text: "still"))
            #expect(try await far.reader.readExactly(expected.count) == expected)
            connection.startClosing()
            #expect(connection.isClosing)
        }
    }

    // PACKETS 67
    @Test(arguments: PairKind.allCases)
    func `readData is exact, nil if the stream ends first, and empty for no bytes at the end`(
        _ kind: PairKind
    ) async throws {
        try await withConnection(kind) { connection, far in
            try await far.say(try frame(Note(text: "then bytes")) + [1, 2, 3, 4])
            var packets = connection.packets.makeAsyncIterator()
            _ = try await packets.next()
            #expect(try await connection.readData(4) == [1, 2, 3, 4])
            try await connection.writeData([9, 9])
            #expect(try await far.reader.readExactly(2) == [9, 9])
            try await far.say(try frame(Note(text: "again")) + [5, 6])
            let note = try await packets.next() as? Note
            #expect(note?.text == "again")
            let waiting = await started { try await connection.readData(3) }
            await #expect(throws: PacketError.busy) { try await connection.readData(1) }
            await #expect(throws: PacketError.busy) { try await packets.next() }
            try await far.finish()
            #expect(try await waiting.value == nil)
            #expect(try await connection.readData(0) == [])
            #expect(try await connection.readData(1) == nil)
            #expect(try await packets.next() == nil)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `no bytes are read while packets are, and packets go on behind the bytes`(
        _ kind: PairKind
    ) async throws {
        try await withConnection(kind) { connection, far in
            let watch = connection.watch(for: Note.self)
            await settle()
            await #expect(throws: PacketError.busy) { try await connection.readData(1) }
            try await far.say(try frame(Note(text: "x")))
            _ = try await watch.next()
            let bytes = await started { try await connection.readData(2) }
            // Registered while bytes are read: reading for it begins behind them.
            let next = connection.watch(for: Note.self)
            await settle()
            try await far.say([1, 2])
            #expect(try await bytes.value == [1, 2])
            try await far.say(try frame(Note(text: "behind")))
            #expect(try await next.next()?.text == "behind")
        }
    }
}
