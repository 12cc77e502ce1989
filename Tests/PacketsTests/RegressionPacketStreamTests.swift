// What once went wrong between packet connections and their streams.

import Sluice
import SluiceTestKit
import Testing

@Suite struct RegressionPacketStreamTests {
    @Test(arguments: PairKind.allCases)
    func `connections of the two halves of one stream both learn of its end`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            // One that goes late takes nobody's place with it.
            var former: PacketConnection? = try PacketConnection(nil, near.writer, talk)
            let receiver = try PacketConnection(near.reader, nil, talk)
            let sender = try PacketConnection(nil, near.writer, talk)
            #expect(former?.isClosing == false)
            former = nil
            let closed = Shared(0)
            for connection in [receiver, sender] {
                connection.loop.spawn {
                    try await connection.waitClosed()
                    closed.withLock { $0 += 1 }
                }
            }
            await settle()
            await sender.abort()
            try await eventually("both know") { closed.value == 2 }
            withExtendedLifetime(far) {}
        }
    }

    @Test func `a shutdown cancels a handler that has a connection for each half`() async throws {
        try await withLoop { _ in
            let isWaiting = Shared(false)
            let server = try await startServer(port: 0) { reader, writer in
                let receiver = try PacketConnection(reader, nil, talk)
                let sender = try PacketConnection(nil, writer, talk)
                // Nothing is read while it is full.
                let full = receiver.packets(of: Ask.self, buffering: 1)
                isWaiting.set(true)
                _ = try await noteTexts(receiver)
                withExtendedLifetime((sender, full)) {}
            }
            let client = try await openPacketConnection(
                host: "127.0.0.1", port: server.port, packets: talk.reversed)
            try await client.writeData(try frame(Ask(key: 1)) + frame(Ask(key: 2)))
            try await waitUntil {
                let bytes = await server.connections().first?.bytesIn ?? 0
                return isWaiting.value && bytes >= 2
            }
            let counts = await server.shutdown(grace: .milliseconds(10))
            #expect(counts.cancelled == 1)
            await client.abort()
        }
    }

    @Test(arguments: PairKind.allCases)
    func `a link that its inspection ends closes both sides at once`(
        _ kind: PairKind
    ) async throws {
        try await withConnection(kind) { first, lingering in
            let (near, far) = try await kind.makePair()
            try await releasing(near, far) {
                let second = try PacketConnection(near.reader, near.writer, talk)
                let link = await started {
                    try await linkPackets(first, second) { _, _ in throw Refusal() }
                }
                try await lingering.say(try frame(Note(text: "in")))
                #expect(try await far.reader.read() == nil)
                // The first peer has not ended, for which the close of its side waits.
                #expect(first.isClosing)
                #expect(first.writer?.closeReason == nil)
                try await far.finish()
                try await lingering.finish()
                await #expect(throws: Refusal.self) { try await link.value }
            }
        }
    }

    @Test(arguments: PairKind.allCases)
    func `an abort is a reset also behind the peer's end, and nothing queued leaves`(
        _ kind: PairKind
    ) async throws {
        try await withConnection(kind) { connection, far in
            try await far.finish()
            try connection.write(Note(text: "never sent"))
            await connection.abort()
            await #expect(throws: StreamError.self) { try await far.reader.readToEnd() }
            let packets = connection.packets
            await #expect(throws: PacketError.stream(.aborted)) {
                for try await _ in packets {}
            }
        }
    }

    @Test(arguments: PairKind.allCases)
    func `a request's deadline holds for its sending too`(_ kind: PairKind) async throws {
        try await withCloggedPair(kind) { near, _, _ in
            let connection = try PacketConnection(near.reader, near.writer, talk)
            let (told, isOver) = (Shared<PacketError?>(nil), Shared(false))
            connection.loop.spawn {
                do throws(PacketError) {
                    _ = try await connection.request(
                        Ask(key: 1), expecting: Answer.self, within: .milliseconds(20))
                } catch {
                    told.set(error)
                }
                isOver.set(true)
            }
            try await eventually("the request is over", within: .seconds(8)) { isOver.value }
            #expect(told.value == .stream(.timedOut))
            #expect(!connection.isClosing && !connection.isWatching(for: Answer.self))
        }
    }

    @Test(arguments: PairKind.allCases)
    func `inside of a packet that nobody waits for any more neither streams nor bytes are had`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { oldNear, oldFar in
            let (near, far) = try await kind.makePair()
            try await releasing(near, far) {
                let connection = try PacketConnection(oldNear.reader, oldNear.writer, talk)
                let watch = connection.watch(for: Note.self)
                let note = try frame(Note(text: "begun and finished later"))
                try await oldFar.say(Array(note.prefix(3)))
                watch.cancel()
                await settle()
                #expect(throws: PacketError.busy) {
                    try connection.replaceStreams(reader: near.reader, writer: near.writer)
                }
                await #expect(throws: PacketError.busy) { try await connection.readData(1) }
                try await oldFar.say(Array(note.dropFirst(3)))
                let whole = try await connection.nextPacket(of: Note.self)
                #expect(whole?.text == "begun and finished later")
                try connection.replaceStreams(reader: near.reader, writer: near.writer)
                let short = connection.watch(for: Note.self)
                try await far.say(try frame(Note()))
                #expect(try await short.next()?.text == "")
            }
        }
    }

    @Test(arguments: PairKind.allCases)
    func `who waits for packets is told when the reader is taken away`(
        _ kind: PairKind
    ) async throws {
        try await withConnection(kind) { connection, _ in
            let watch = connection.watch(for: Note.self)
            let asks = connection.packets(of: Ask.self)
            let loop = await started { try await noteTexts(connection) }
            let first = await started {
                var iterator = asks.makeAsyncIterator()
                _ = try await iterator.next()
            }
            try connection.replaceStreams(reader: nil, writer: connection.writer)
            await #expect(throws: PacketError.notReadable) { try await watch.next() }
            await #expect(throws: PacketError.notReadable) { try await loop.value }
            await #expect(throws: PacketError.notReadable) { try await first.value }
            #expect(!connection.isClosing && connection.failure == nil)
        }
    }

    @Test func `a handler that waits while its streams are replaced is cancelled all the same`()
        async throws
    {
        try await withLoop { _ in
            let isReplaced = Shared(false)
            let (near, far) = try await PairKind.memory.makePair()
            let server = try await startServer(port: 0, packets: talk) { connection in
                connection.loop.spawn {
                    await settle()
                    try connection.replaceStreams(reader: near.reader, writer: near.writer)
                    isReplaced.set(true)
                }
                var packets = connection.packets.makeAsyncIterator()
                while try await packets.next() != nil {}
            }
            let client = try await openPacketConnection(
                host: "127.0.0.1", port: server.port, packets: talk.reversed)
            try await eventually("the streams are replaced") { isReplaced.value }
            // The handler's own connection is not idle.
            try await client.writeData([0])
            let isDown = Shared(false)
            client.loop.spawn {
                _ = await server.shutdown(grace: .milliseconds(10))
                isDown.set(true)
            }
            try await eventually("the server is down") { isDown.value }
            await client.abort()
            await near.writer.abort()
            await far.writer.abort()
        }
    }

    @Test(arguments: PairKind.allCases)
    func `a link that ends in order throws nothing, though a packet was on its way`(
        _ kind: PairKind
    ) async throws {
        try await withConnections(kind) { client, inward in
            let (near, far) = try await kind.makePair()
            try await releasing(near, far) {
                let outward = try PacketConnection(near.reader, near.writer, talk)
                let server = try PacketConnection(far.reader, far.writer, talk)
                let (isInspected, goOn) = (Shared(false), Shared(false))
                let link = await started {
                    try await linkPackets(inward, outward, closingWithin: .milliseconds(50)) {
                        _, _ in
                        isInspected.set(true)
                        try await eventually("it may go on") { goOn.value }
                        return .forward
                    }
                }
                try await server.send(Note(text: "late"))
                try await eventually("it is inspected") { isInspected.value }
                client.startClosing(within: .milliseconds(50))
                try await inward.waitClosed(within: .seconds(20))
                goOn.set(true)
                try await link.value
            }
        }
    }
}

private struct Refusal: Error {}
