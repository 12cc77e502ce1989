// Packets by their kind: buffered sequences and listeners; and two connections linked for a proxy.

import Sluice
import SluiceTestKit
import Testing

@Suite struct PacketConnectionKindTests {
    @Test(arguments: PairKind.allCases)
    func `a full sequence stops reading for all, none of its packets is missed`(
        _ kind: PairKind
    ) async throws {
        try await withConnection(kind) { connection, far in
            let asks = connection.packets(of: Ask.self, buffering: 2)
            let note = connection.watch(for: Note.self)
            let sent = try (1...5).flatMap { try frame(Ask(key: $0)) }
            try await far.say(sent + frame(Note(text: "behind")))
            try await far.finish()
            #expect(connection.statistics.received == 2)
            let waiting = await started { try await note.next()?.text }
            var keys: [UInt32] = []
            for try await ask in asks { keys.append(ask.key) }
            #expect(keys == [1, 2, 3, 4, 5])
            #expect(try await waiting.value == "behind")
            #expect(!connection.isWatching(for: Ask.self))
        }
    }

    @Test(arguments: PairKind.allCases)
    func `a sequence gives what it holds before an error, and sees no packet twice`(
        _ kind: PairKind
    ) async throws {
        try await withConnection(kind) { connection, far in
            let odd = connection.packets(of: (any Keyed).self) { $0.key % 2 == 1 }
            try await far.say(
                try frame(Ask(key: 1)) + frame(Answer(key: 2)) + frame(Answer(key: 3))
                    + [0, 2, 3, 0])
            var iterator = odd.makeAsyncIterator()
            let (first, second) = (try await iterator.next(), try await iterator.next())
            #expect(first is Ask && second is Answer)
            await #expect(throws: PacketError.self) { try await iterator.next() }
        }
    }

    @Test(arguments: PairKind.allCases)
    func `listeners run in order, and the next packet waits for them`(
        _ kind: PairKind
    ) async throws {
        try await withConnection(kind) { connection, far in
            let (calls, goOn) = (Shared<[String]>([]), Shared(false))
            connection.on(Ask.self) { ask in
                calls.append("first \(ask.key)")
                try await eventually("it may go on") { goOn.value }
                calls.append("first done \(ask.key)")
            }
            connection.on((any Keyed).self) { packet in calls.append("second \(packet.key)") }
            #expect(connection.isWatching(for: Answer.self))
            try await far.say(try frame(Ask(key: 1)) + frame(Answer(key: 2)))
            #expect(calls.value == ["first 1"])
            #expect(connection.statistics.received == 1)
            goOn.set(true)
            try await eventually("all are called") { calls.value.count == 4 }
            #expect(calls.value == ["first 1", "first done 1", "second 1", "second 2"])
            #expect(connection.statistics.unhandled == 0)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `what a listener throws closes the connection and ends everybody with it`(
        _ kind: PairKind
    ) async throws {
        struct Refused: Error {}
        try await withConnection(kind) { connection, far in
            connection.on(Ask.self) { _ in throw Refused() }
            let watch = connection.watch(for: Note.self)
            let loop = await started { try await noteTexts(connection) }
            try await far.say(try frame(Ask(key: 1)))
            let expected = PacketError.callbackThrew("Refused()")
            await #expect(throws: expected) { try await watch.next() }
            await #expect(throws: expected) { try await loop.value }
            #expect(connection.failure is Refused)
            #expect(connection.isClosing)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `of a flood that nobody wants others have their turn, and the wanted one is found`(
        _ kind: PairKind
    ) async throws {
        try await withConnection(kind) { connection, far in
            let watch = connection.watch(for: Ask.self)
            let flood = try (0..<2_000).flatMap { try frame(Note(text: "\($0)")) }
            let flooding = await started {
                try await far.writer.send(flood)
                try await far.writer.send(try frame(Ask(key: 9)))
            }
            #expect(try await watch.next()?.key == 9)
            try await flooding.value
            #expect(connection.statistics.unhandled == 2_000)
        }
    }
}

@Suite struct PacketLinkTests {
    /// A proxy's two connections, and who speaks to them.
    private func withLink(
        _ kind: PairKind,
        _ inspect: @escaping @Sendable (any Packet, LinkDirection) async throws -> LinkVerdict = {
            _, _ in .forward
        },
        within timeout: Duration = .milliseconds(50),
        _ body:
            @escaping @Sendable (
                _ client: PacketConnection, _ server: PacketConnection,
                _ proxy: (PacketConnection, PacketConnection), _ link: Task<Void, any Error>
            ) async throws -> Void
    ) async throws {
        try await withConnections(kind) { client, inward in
            let (near, far) = try await kind.makePair()
            try await releasing(near, far) {
                let outward = try PacketConnection(near.reader, near.writer, talk)
                let server = try PacketConnection(far.reader, far.writer, talk)
                let link = await started {
                    try await linkPackets(
                        inward, outward, closingWithin: timeout, inspect)
                }
                try await body(client, server, (inward, outward), link)
            }
        }
    }

    @Test(arguments: PairKind.allCases)
    func `packets pass both ways, are replaced, dropped and injected`(
        _ kind: PairKind
    ) async throws {
        let inspect: @Sendable (any Packet, LinkDirection) async throws -> LinkVerdict = {
            packet, direction in
            switch (packet, direction) {
            case (let ask as Ask, .forth): .replace(Ask(key: ask.key, text: ask.text + " twice"))
            case (is Note, .back): .drop
            default: .forward
            }
        }
        try await withLink(kind, inspect) { client, server, proxy, link in
            let unknown = server.watch(for: UnknownPacket.self)
            let ask = server.watch(for: Ask.self)
            try await client.send(UnknownPacket(99, [1, 2]))
            try await client.send(Ask(key: 1, text: "x"))
            #expect(try await unknown.next() == UnknownPacket(99, [1, 2]))
            #expect(try await ask.next()?.text == "x twice")

            let (note, answer) = (client.watch(for: Note.self), client.watch(for: Answer.self))
            try await server.send(Note(text: "dropped"))
            try await proxy.0.send(Note(text: "injected"))
            try await server.send(Answer(key: 1))
            #expect(try await note.next()?.text == "injected")
            #expect(try await answer.next()?.key == 1)
            await client.close(within: .milliseconds(50))
            try await link.value
        }
    }

    @Test(arguments: PairKind.allCases)
    func `both die together, behind what was sent`(_ kind: PairKind) async throws {
        try await withLink(kind) { client, server, proxy, link in
            try await server.send(Note(text: "last words"))
            server.startClosing(within: .milliseconds(50))
            let texts = try await noteTexts(client)
            #expect(texts == ["last words"])
            try await link.value
            #expect(proxy.0.isClosing && proxy.1.isClosing)
            let late = try await client.nextPacket(of: Note.self)
            #expect(late == nil)
        }
    }

    @Test(arguments: PairKind.allCases, [LinkDirection.forth, .back])
    func `what has come from one side when the other one ends is still sent on`(
        _ kind: PairKind, _ held: LinkDirection
    ) async throws {
        let (isInspected, goOn) = (Shared(false), Shared(false))
        let inspect: @Sendable (any Packet, LinkDirection) async throws -> LinkVerdict = { _, _ in
            isInspected.set(true)
            try await eventually("it may go on") { goOn.value }
            return .forward
        }
        try await withLink(kind, inspect, within: .seconds(8)) { client, server, proxy, link in
            let (sender, ender) = held == .forth ? (client, server) : (server, client)
            for number in 1...3 { try await sender.send(Note(text: "\(number)")) }
            try await eventually("the first is inspected") { isInspected.value }
            try ender.writer?.finishWriting()
            try await ender.writer?.flush()
            await settle()
            goOn.set(true)
            let texts = try await noteTexts(ender)
            #expect(texts == ["1", "2", "3"])
            sender.startClosing(within: .milliseconds(50))
            ender.startClosing(within: .milliseconds(50))
            try await link.value
            #expect(proxy.0.isClosing && proxy.1.isClosing)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `a side that has ended and takes nothing holds its link up for the given time alone`(
        _ kind: PairKind
    ) async throws {
        try await withLink(kind) { client, server, proxy, link in
            let flood = Note(text: String(repeating: "x", count: 60_000))
            let flooding = await started { while true { try await server.send(flood) } }
            try client.writer?.finishWriting()
            try await link.value
            #expect(proxy.0.isClosing && proxy.1.isClosing)
            server.startClosing(within: .milliseconds(1))
            await #expect(throws: (any Error).self) { try await flooding.value }
        }
    }

    @Test(arguments: PairKind.allCases)
    func `an error of one side, or of the inspection, ends both and is thrown`(
        _ kind: PairKind
    ) async throws {
        struct Forbidden: Error {}
        try await withLink(kind, { _, _ in throw Forbidden() }) { client, server, _, link in
            try await client.send(Note(text: "x"))
            await #expect(throws: Forbidden.self) { try await link.value }
            let left = try await server.nextPacket(of: Note.self)
            #expect(left == nil)
        }
        try await withLink(kind) { client, server, proxy, link in
            try await server.writeData([0, 2, 3, 0])
            await #expect(throws: PacketError.self) { try await link.value }
            #expect(proxy.0.isClosing)
            let texts = try await noteTexts(client)
            #expect(texts.isEmpty)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `a cancelled link ends both`(_ kind: PairKind) async throws {
        try await withLink(kind) { client, server, proxy, link in
            link.cancel()
            await #expect(throws: PacketError.stream(.cancelled)) { try await link.value }
            try await proxy.0.waitClosed(within: .seconds(20))
            try await proxy.1.waitClosed(within: .seconds(20))
        }
    }
}
