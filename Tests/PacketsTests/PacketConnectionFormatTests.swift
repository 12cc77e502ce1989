// What changes how a connection's packets are read and written: contexts, unknown packets, hooks,
// other streams.

import Sluice
import SluiceTestKit
import Testing

@Suite struct PacketConnectionFormatTests {
    // PACKETS 70
    @Test(arguments: PairKind.allCases)
    func `a context set between two packets of one segment holds for the second one`(
        _ kind: PairKind
    ) async throws {
        let switching = try frame(Note(text: "version 2"))
        let (old, new) = (Status(code: 1), Status(code: 2, detail: 3))
        let segment =
            try frame(old, Agreement()) + switching + frame(new, Agreement(version: 2))
        // By the consumer.
        try await withPair(kind) { near, far in
            let connection = try PacketConnection(
                near.reader, near.writer, talk, context: Agreement())
            try await far.say(segment)
            try await far.finish()
            var statuses: [Status] = []
            for try await packet in connection.packets {
                if packet is Note { try connection.setContext(Agreement(version: 2)) }
                if let status = packet as? Status { statuses.append(status) }
            }
            #expect(statuses == [old, new])
            #expect(connection.context as? Agreement == Agreement(version: 2))
            try await connection.send(new)
            let expected = try frame(new, Agreement(version: 2))
            #expect(try await far.reader.readExactly(expected.count) == expected)
        }
        // By a task that a watch has woken, while others watch on.
        try await withPair(kind) { near, far in
            let connection = try PacketConnection(
                near.reader, near.writer, talk, context: Agreement())
            let statuses = connection.packets(of: Status.self)
            let switched = await started {
                _ = try await connection.nextPacket(of: Note.self)
                try connection.setContext(Agreement(version: 2))
            }
            try await far.say(segment)
            try await far.finish()
            try await switched.value
            var seen: [Status] = []
            for try await status in statuses { seen.append(status) }
            #expect(seen == [old, new])
        }
    }

    @Test func `a context in which two kinds have one id is refused, and the old one holds`()
        async throws
    {
        struct Twin: Packet {
            static let id = PacketID { (agreed: Agreement) in agreed.version < 3 ? nil : 3 }
            mutating func fields(_ wire: inout FieldCoder) {}
        }
        let format = PacketFormat(
            LengthPrefixFraming(UInt16.self), .big, receiving: [Note.self, Twin.self])
        try await withConnection(.memory, format) { connection, far in
            #expect(throws: PacketError.duplicateID(3, types: ["Note", "Twin"])) {
                try connection.setContext(Agreement(version: 3))
            }
            #expect(connection.context == nil)
            try await far.say(try frame(Note(text: "as before")))
            let note = try await connection.nextPacket(of: Note.self)
            #expect(note?.text == "as before")
        }
    }

    // PACKETS 71
    @Test(arguments: PairKind.allCases)
    func `a packet nobody knows arrives with its bytes and is sent on as it came`(
        _ kind: PairKind
    ) async throws {
        try await withConnection(kind) { connection, far in
            let bytes: [UInt8] = [0, 4, 0x77, 1, 2, 3]
            let watch = connection.watch(for: UnknownPacket.self)
            try await far.say(bytes)
            let unknown = try #require(try await watch.next())
            #expect(unknown == UnknownPacket(0x77, [1, 2, 3]))
            try await connection.send(unknown)
            #expect(try await far.reader.readExactly(6) == bytes)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `each direction has its own packets, and a header with a size frames by itself`(
        _ kind: PairKind
    ) async throws {
        let format = PacketFormat(
            Head.self, .little, receiving: [Ask.self], sending: [Answer.self], unknown: .refused)
        try await withConnections(kind, format) { server, client in
            try await client.send(Ask(key: 1, text: "?"))
            let ask = try await server.nextPacket(of: Ask.self)
            #expect(ask?.text == "?")
            #expect(throws: PacketError.unencodable("Ask is not in the set")) {
                try server.write(Ask())
            }
            try await server.send(Answer(key: 1, text: "!"))
            let answer = try await client.nextPacket(of: Answer.self)
            #expect(answer?.text == "!")
            let bytes = try client.encode(Ask(key: 2, text: "a"))
            #expect(bytes == [7, 0, 1, 2, 0, 0, 0, 1, 0, 0x61])
            let decoded = try server.decode(bytes)
            #expect(decoded.isEqual(to: Ask(key: 2, text: "a")))
        }
    }

    @Test(arguments: PairKind.allCases)
    func `hooks read and write enciphered packets for watches and the loop alike`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            let client = try PacketConnection(
                near.reader, near.writer, talk, hooks: enciphering(0x5A))
            let server = try PacketConnection(
                far.reader, far.writer, talk, hooks: enciphering(0x5A))
            server.on(Ask.self) { [weak server] ask in
                try await server?.send(Answer(key: ask.key, text: ask.text))
            }
            for key in 0..<20 as Range<UInt32> {
                let answer = try await client.request(
                    Ask(key: key, text: "secret"), expecting: Answer.self)
                #expect(answer == Answer(key: key, text: "secret"))
            }
            // A consumer that gives up inside a packet disturbs nothing.
            let note = try enciphered(Note(text: "in two parts"), 0x5A)
            let loop = await started { try await noteTexts(client) }
            try await far.say(Array(note.prefix(5)))
            loop.cancel()
            await #expect(throws: PacketError.stream(.cancelled)) { try await loop.value }
            let again = await started { try await noteTexts(client) }
            try await far.say(Array(note.dropFirst(5)))
            try await far.finish()
            #expect(try await again.value == ["in two parts"])
        }
    }

    @Test(arguments: PairKind.allCases)
    func `a hook that throws ends everything, and its own error is kept`(
        _ kind: PairKind
    ) async throws {
        struct BadSeal: Error {}
        try await withPair(kind) { near, far in
            var hooks = PacketHooks()
            hooks.reading = { connection in
                guard try await connection.readData(1) != nil else { return nil }
                throw BadSeal()
            }
            hooks.writing = { packet, _, output throws(PacketError) in
                output.append([1, 2, 3])
                throw .unencodable("not today")
            }
            let connection = try PacketConnection(near.reader, near.writer, talk, hooks: hooks)
            let watch = connection.watch(for: Note.self)
            #expect(throws: PacketError.unencodable("not today")) { try connection.write(Note()) }
            try await far.say([1])
            await #expect(throws: PacketError.callbackThrew("BadSeal()")) {
                try await watch.next()
            }
            #expect(connection.failure is BadSeal)
            #expect(connection.isClosing)
            // Nothing of the refused packet was sent.
            #expect(try await far.reader.read() == nil)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `streams are replaced between two packets, and not inside of one`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { oldNear, oldFar in
            let (near, far) = try await kind.makePair()
            try await releasing(near, far) {
                let connection = try PacketConnection(oldNear.reader, oldNear.writer, talk)
                let watch = connection.watch(for: Note.self)
                let note = try frame(Note(text: "old"))
                try await oldFar.say(Array(note.prefix(3)))
                #expect(throws: PacketError.busy) {
                    try connection.replaceStreams(reader: near.reader, writer: near.writer)
                }
                try await oldFar.say(Array(note.dropFirst(3)))
                #expect(try await watch.next()?.text == "old")

                let later = connection.watch(for: Note.self)
                await settle()
                try connection.replaceStreams(reader: near.reader, writer: near.writer)
                try await connection.send(Note(text: "new way"))
                let expected = try frame(Note(text: "new way"))
                #expect(try await far.reader.readExactly(expected.count) == expected)
                // The old stream is the caller's again, and its end is not the connection's.
                try await oldFar.say("left")
                #expect(try await oldNear.reader.read() == bytes("left"))
                await oldNear.writer.abort()
                try await far.say(try frame(Note(text: "new")))
                #expect(try await later.next()?.text == "new")
                #expect(!connection.isClosing)
            }
        }
    }
}

/// Each byte of a packet changed by a key, behind a length in the clear.
private func enciphering(_ key: UInt8) -> PacketHooks {
    var hooks = PacketHooks()
    hooks.reading = { connection in
        guard let size = try await connection.readData(1) else { return nil }
        guard let body = try await connection.readData(Int(size[0])) else {
            throw PacketError.truncated(received: 1)
        }
        return try connection.decode(body.map { $0 ^ key })
    }
    hooks.writing = { packet, connection, output throws(PacketError) in
        let body = try connection.encode(packet)
        output.append(byte: UInt8(truncatingIfNeeded: body.count))
        output.append(body.map { $0 ^ key })
    }
    return hooks
}

private func enciphered(_ packet: any Packet, _ key: UInt8) throws -> [UInt8] {
    let body = Array(try frame(packet).dropFirst(2))
    return [UInt8(body.count)] + body.map { $0 ^ key }
}
