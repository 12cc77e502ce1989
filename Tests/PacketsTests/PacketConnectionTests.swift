// PacketConnection: both ways over real connections and in memory, a server and its clients.

import Sluice
import SluiceTestKit
import Testing

@Suite struct PacketConnectionTests {
    @Test(arguments: PairKind.allCases)
    func `packets go both ways and end with nil`(_ kind: PairKind) async throws {
        try await withConnections(kind) { near, far in
            try near.write(Ask(key: 1, text: "one"))
            try await near.send(Note.self) { $0.text = "two" }
            var packets = far.packets.makeAsyncIterator()
            #expect(try await packets.next()?.isEqual(to: Ask(key: 1, text: "one")) == true)
            #expect(try await packets.next()?.isEqual(to: Note(text: "two")) == true)
            try await far.send(Answer(key: 1, text: "back"))
            let answer = try await near.nextPacket(of: Answer.self)
            #expect(answer == Answer(key: 1, text: "back"))
            await near.close(within: .milliseconds(1))
            #expect(try await packets.next() == nil)
            #expect(try await packets.next() == nil)
            #expect(near.statistics.sent == 2)
            #expect(far.statistics.received == 2)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `a request finds its own answer among others`(_ kind: PairKind) async throws {
        try await withConnections(kind) { near, far in
            let serving = near.loop.spawn {
                var held: [Ask] = []
                for try await packet in far.packets {
                    guard let ask = packet as? Ask else { continue }
                    held.append(ask)
                    guard held.count == 3 else { continue }
                    // The last one first.
                    for ask in held.reversed() {
                        try await far.send(Note(text: "noise"))
                        try await far.send(Answer(key: ask.key, text: ask.text + "!"))
                    }
                }
            }
            let texts = try await withThrowingTaskGroup(of: String.self) { group in
                for key in 1...3 as ClosedRange<UInt32> {
                    group.addTask {
                        try await near.request(
                            Ask(key: key, text: "\(key)"), expecting: Answer.self,
                            where: { $0.key == key }, within: .seconds(20)
                        ).text
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(texts.sorted() == ["1!", "2!", "3!"])
            #expect(near.statistics.unhandled == 3)
            await near.close(within: .milliseconds(100))
            try await serving.value
        }
    }

    @Test func `a server hands each client a connection, and closes it behind the handler`()
        async throws
    {
        try await withLoop { _ in
            let server = try await startServer(
                port: 0, packets: talk, context: Agreement(version: 2)
            ) { connection in
                #expect(connection.reader != nil && connection.writer != nil)
                for try await packet in connection.packets {
                    guard let ask = packet as? Ask else { break }
                    try await connection.send(Answer(key: ask.key, text: ask.text))
                }
                try connection.write(Status(code: 1, detail: 2))
            }
            let client = try await openPacketConnection(
                host: "127.0.0.1", port: server.port, packets: talk.reversed,
                context: Agreement(version: 2))
            for key in 1...20 as ClosedRange<UInt32> {
                let answer = try await client.request(
                    Ask(key: key, text: "x"), expecting: Answer.self)
                #expect(answer.key == key)
            }
            let status = client.watch(for: Status.self)
            try await client.send(Note(text: "enough"))
            #expect(try await status.next() == Status(code: 1, detail: 2))
            #expect(try await client.nextPacket(of: Note.self) == nil)
            await client.close()
            try await waitUntil { await server.statistics().closed == 1 }
            await server.close()
        }
    }

    @Test func `two kinds with one id are refused before a server listens`() async throws {
        struct Other: Packet {
            static let id: PacketID = 3
            mutating func fields(_ wire: inout FieldCoder) {}
        }
        let format = PacketFormat(
            LengthPrefixFraming(UInt16.self), .big, receiving: [Note.self, Other.self])
        try await withLoop { _ in
            await #expect(throws: PacketError.duplicateID(3, types: ["Note", "Other"])) {
                try await startServer(port: 0, packets: format) { _ in }
            }
        }
    }

    @Test(arguments: [false, true])
    func `a shutdown cancels a handler that waits for packets, also while reading stands still`(
        _ isHeldUp: Bool
    ) async throws {
        try await withLoop { _ in
            let isWaiting = Shared(false)
            let server = try await startServer(port: 0, packets: talk) { connection in
                let full = connection.packets(of: Ask.self, buffering: 1)
                isWaiting.set(true)
                _ = try await noteTexts(connection)
                withExtendedLifetime(full) {}
            }
            let client = try await openPacketConnection(
                host: "127.0.0.1", port: server.port, packets: talk.reversed)
            // Half a packet, or one too many for the sequence: not idle.
            try await client.writeData(
                isHeldUp ? try frame(Ask(key: 1)) + frame(Ask(key: 2)) : [0, 9])
            try await waitUntil {
                let bytes = await server.connections().first?.bytesIn ?? 0
                return isWaiting.value && bytes >= 2
            }
            let counts = await server.shutdown(grace: .milliseconds(10))
            #expect(counts.cancelled == 1)
            await client.abort()
        }
    }
}
