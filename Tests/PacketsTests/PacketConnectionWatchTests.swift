// Watches of a packet connection: who gets a packet, and how each of them ends.

import Sluice
import SluiceTestKit
import Testing

@Suite struct PacketConnectionWatchTests {
    // PACKETS 54
    @Test(arguments: PairKind.allCases)
    func `three watches and the consumer all get one packet, once`(_ kind: PairKind) async throws {
        try await withConnection(kind) { connection, far in
            let first = connection.watch(for: Ask.self)
            let second = connection.watch(for: Ask.self)
            let keyed = connection.watch(for: (any Keyed).self)
            let loop = await started { try await connection.packets.first { _ in true } }
            let ask = Ask(key: 7, text: "all of you")
            try await far.say(try frame(ask))
            #expect(try await first.next() == ask)
            #expect(try await second.next() == ask)
            #expect(try await keyed.next()?.isEqual(to: ask) == true)
            #expect(try await loop.value?.isEqual(to: ask) == true)
            // Once: each is over.
            #expect(try await first.next() == nil)
            #expect(try await keyed.next() == nil)
            #expect(connection.statistics.received == 1)
            #expect(connection.statistics.unhandled == 0)
        }
    }

    // PACKETS 55
    @Test(arguments: PairKind.allCases)
    func `a watch for a type waits on for it, one for a protocol takes any conforming packet`(
        _ kind: PairKind
    ) async throws {
        try await withConnection(kind) { connection, far in
            let derived = connection.watch(for: Ask.self)
            let base = connection.watch(for: (any Keyed).self)
            let any = connection.watch(for: (any Packet).self)
            try await far.say(try frame(Note(text: "neither")) + frame(Answer(key: 1)))
            let (note, answer) = (try await any.next(), try await base.next())
            #expect(note is Note)
            #expect(answer is Answer)
            #expect(connection.isWatching(for: Ask.self))
            try await far.say(try frame(Ask(key: 2)))
            #expect(try await derived.next()?.key == 2)
        }
    }

    // PACKETS 56
    @Test(arguments: PairKind.allCases)
    func `close and the peer's end are nil for a watch, a cut packet is an error`(
        _ kind: PairKind
    ) async throws {
        try await withConnection(kind) { connection, _ in
            let watch = connection.watch(for: Note.self)
            let waiting = await started { try await watch.next() }
            connection.startClosing(within: .milliseconds(1))
            let (early, late) = (
                try await waiting.value, try await connection.watch(for: Note.self).next()
            )
            #expect(early == nil && late == nil)
        }
        try await withConnection(kind) { connection, far in
            let watch = connection.watch(for: Note.self)
            try await far.finish()
            #expect(try await watch.next() == nil)
        }
        try await withConnection(kind) { connection, far in
            let watch = connection.watch(for: Note.self)
            try await far.say([0, 9, 3])
            try await far.finish()
            await #expect(throws: PacketError.truncated(received: 3)) { try await watch.next() }
        }
    }

    // PACKETS 57
    @Test(arguments: PairKind.allCases)
    func `a packet that makes no sense ends all watches and the loop, and closes`(
        _ kind: PairKind
    ) async throws {
        try await withConnection(kind) { connection, far in
            let watches = (0..<5).map { _ in connection.watch(for: Note.self) }
            let loop = await started { try await noteTexts(connection) }
            #expect(!connection.isClosing)
            try await far.say([0, 3, 3, 0, 9])
            for watch in watches {
                await #expect(throws: PacketError.self) { try await watch.next() }
            }
            await #expect(throws: PacketError.self) { try await loop.value }
            #expect(connection.isClosing)
            #expect(connection.failure is PacketError)
            // Who comes later is told the same.
            let late = await #expect(throws: PacketError.self) {
                try await connection.nextPacket(of: Note.self)
            }
            #expect(late == connection.failure as? PacketError)
            await #expect(throws: PacketError.stream(.closed)) {
                try await connection.send(Note(text: "late"))
            }
        }
    }

    // PACKETS 58
    @Test(arguments: PairKind.allCases)
    func `of two packets in one segment a buffered sequence and watches in a row get both`(
        _ kind: PairKind
    ) async throws {
        try await withConnection(kind) { connection, far in
            let notes = connection.packets(of: Note.self)
            try await far.say(try frame(Note(text: "1")) + frame(Note(text: "2")))
            var texts: [String] = []
            for try await note in notes {
                texts.append(note.text)
                if texts.count == 2 { break }
            }
            #expect(texts == ["1", "2"])
        }
        try await withConnection(kind) { connection, far in
            let asking = await started {
                var texts: [String] = []
                // The task that a packet has woken registers its next watch before it waits.
                while let note = try await connection.nextPacket(of: Note.self) {
                    texts.append(note.text)
                }
                return texts
            }
            let sent = (0..<200).map { "\($0)" }
            try await far.say(try sent.flatMap { try frame(Note(text: $0)) })
            try await far.finish()
            #expect(try await asking.value == sent)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `one watch is for one packet: what comes before the next watch goes by`(
        _ kind: PairKind
    ) async throws {
        try await withConnection(kind) { connection, far in
            let first = connection.watch(for: Note.self)
            let other = connection.watch(for: Ask.self)
            try await far.say(
                try frame(Note(text: "1")) + frame(Note(text: "2")) + frame(Ask(key: 1)))
            #expect(try await other.next()?.key == 1)
            #expect(try await first.next()?.text == "1")
            #expect(connection.statistics.unhandled == 1)
        }
    }

    // PACKETS 59
    @Test(arguments: PairKind.allCases)
    func `a watch registered before the send gets an answer of the same turn`(
        _ kind: PairKind
    ) async throws {
        try await withConnections(kind) { near, far in
            far.on(Ask.self) { [weak far] ask in
                try far?.write(Answer(key: ask.key, text: "at once"))
            }
            for key in 0..<100 as Range<UInt32> {
                let answer = near.watch(for: Answer.self)
                try await near.send(Ask(key: key))
                // Whatever time passes here, the answer is kept.
                if key % 7 == 0 { await settle() }
                #expect(try await answer.next()?.key == key)
            }
        }
    }

    // PACKETS 60
    @Test(arguments: PairKind.allCases)
    func `a cancelled or dropped watch is gone, others of its kind are not disturbed`(
        _ kind: PairKind
    ) async throws {
        try await withConnection(kind) { connection, far in
            let waiting = await started { try await connection.nextPacket(of: Ask.self) }
            #expect(connection.isWatching(for: Ask.self))
            #expect(!connection.isWatching(for: Note.self))
            #expect(!connection.isWatching(for: (any Keyed).self))
            waiting.cancel()
            await #expect(throws: PacketError.stream(.cancelled)) { try await waiting.value }
            #expect(!connection.isWatching(for: Ask.self))

            let kept = connection.watch(for: Ask.self)
            do {
                let dropped = connection.watch(for: (any Keyed).self)
                #expect(connection.isWatching(for: Answer.self))
                #expect(connection.isWatching(for: (any Keyed).self))
                withExtendedLifetime(dropped) {}
            }
            #expect(!connection.isWatching(for: Answer.self))
            let ended = connection.watch(for: Note.self)
            ended.cancel()
            #expect(try await ended.next() == nil)
            #expect(!connection.isWatching(for: Note.self))
            try await far.say(try frame(Ask(key: 4)))
            #expect(try await kept.next()?.key == 4)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `a watch has a deadline of its own, and the connection goes on`(
        _ kind: PairKind
    ) async throws {
        try await withConnection(kind) { connection, far in
            let late = connection.watch(for: Ask.self, within: .milliseconds(5))
            let patient = connection.watch(for: Ask.self)
            await #expect(throws: PacketError.stream(.timedOut)) { try await late.next() }
            #expect(connection.isWatching(for: Ask.self))
            await #expect(throws: PacketError.stream(.timedOut)) {
                try await connection.request(
                    Note(text: "?"), expecting: Answer.self, within: .milliseconds(5))
            }
            try await far.say(try frame(Ask(key: 1)))
            #expect(try await patient.next()?.key == 1)
            await #expect(throws: (any Error).self) {
                try await withTimeout(.milliseconds(5)) {
                    _ = try await connection.nextPacket(of: Ask.self)
                }
            }
            #expect(!connection.isWatching(for: Ask.self))
        }
    }

    @Test(arguments: PairKind.allCases)
    func `a predicate passes over packets of the kind that are not meant`(
        _ kind: PairKind
    ) async throws {
        try await withConnection(kind) { connection, far in
            let third = connection.watch(for: Ask.self) { $0.key == 3 }
            let unhandled = Shared<[String]>([])
            connection.onUnhandled = { unhandled.append("\($0)") }
            try await far.say(try [1, 2, 3].flatMap { try frame(Ask(key: $0)) })
            #expect(try await third.next()?.key == 3)
            #expect(unhandled.value.count == 2)
            #expect(connection.statistics.unhandled == 2)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `a second task on one watch is refused`(_ kind: PairKind) async throws {
        try await withConnection(kind) { connection, far in
            let watch = connection.watch(for: Ask.self)
            let first = await started { try await watch.next() }
            await #expect(throws: PacketError.busy) { try await watch.next() }
            try await far.say(try frame(Ask(key: 1)))
            #expect(try await first.value?.key == 1)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `watches and requests work from tasks that are elsewhere`(_ kind: PairKind) async throws {
        try await withConnections(kind) { near, far in
            far.on(Ask.self) { [weak far] ask in
                try await far?.send(Answer(key: ask.key, text: ask.text))
            }
            let answers = Task.detached {
                var texts: [String] = []
                for key in 0..<50 as Range<UInt32> {
                    let answer = try await near.request(
                        Ask(key: key, text: "\(key)"), expecting: Answer.self)
                    texts.append(answer.text)
                }
                return texts
            }
            let texts = try await answers.value
            #expect(texts == (0..<50).map { "\($0)" })
        }
    }
}
