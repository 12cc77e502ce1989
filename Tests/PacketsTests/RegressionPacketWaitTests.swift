// What once went wrong with those who wait for packets: ends they were not told of, packets that
// they missed, floods that they could not leave.

import Sluice
import SluiceTestKit
import Testing

@Suite struct RegressionPacketWaitTests {
    @Test(arguments: PairKind.allCases)
    func `a peer's reset is told to who waits while a full sequence, a body or a listener holds up`(
        _ kind: PairKind
    ) async throws {
        for holdUp in HoldUp.allCases {
            try await withConnection(kind) { connection, far in
                let goOn = Shared(false)
                let held = try await holdUp.begin(connection, far) { goOn.value }
                let answer = await started { try await connection.nextPacket(of: Answer.self) }
                let statuses = connection.packets(of: Status.self)
                let status = await started { for try await _ in statuses {} }
                await far.writer.abort()
                await expectReset("a watch, \(holdUp)") { _ = try await answer.value }
                await expectReset("a sequence, \(holdUp)") { try await status.value }
                // Who comes later is told as well.
                await expectReset("a late watch, \(holdUp)") {
                    _ = try await connection.nextPacket(of: Answer.self)
                }
                // What had come before is not lost: with something left to read it goes on.
                #expect((connection.failure == nil) == (holdUp != .body))
                goOn.set(true)
                #expect(try await held() == ["1", "2"], "\(holdUp)")
            }
        }
    }

    @Test(arguments: PairKind.allCases, [false, true])
    func `an end with nothing before it is told to all, though reading is held up`(
        _ kind: PairKind, _ isReset: Bool
    ) async throws {
        for holdUp in HoldUp.allCases {
            try await withConnection(kind) { connection, far in
                let goOn = Shared(false)
                let held = try await holdUp.begin(
                    connection, far, isOrderly: !isReset, nothingBehind: true
                ) { goOn.value }
                let watch = await started { try await connection.nextPacket(of: Answer.self) }
                let statuses = connection.packets(of: Status.self)
                let status = await started { for try await _ in statuses {} }
                let loop = await started { try await noteTexts(connection) }
                if isReset { await far.writer.abort() } else { try await far.finish() }
                try await eventually("the end is known, \(holdUp)") {
                    !connection.isWatching(for: Answer.self)
                }
                if isReset {
                    await expectReset("a watch, \(holdUp)") { _ = try await watch.value }
                    await expectReset("a sequence, \(holdUp)") { try await status.value }
                } else {
                    #expect(try await watch.value == nil, "\(holdUp)")
                    try await status.value
                    let late = try await connection.nextPacket(of: Answer.self)
                    #expect(late == nil)
                }
                // Refused, where the body that holds up is the consumer's; else told.
                _ = await loop.result
                #expect(connection.isClosing == isReset)
                goOn.set(true)
                #expect(
                    try await held() == (holdUp == .body ? ["1", "2"] : ["1"]), "\(holdUp)")
            }
        }
    }

    @Test(arguments: PairKind.allCases)
    func `what a listener throws behind the peer's end closes the connection`(
        _ kind: PairKind
    ) async throws {
        struct Refused: Error {}
        try await withConnection(kind) { connection, far in
            let goOn = Shared(false)
            connection.on(Ask.self) { _ in
                try await eventually("it may go on") { goOn.value }
                throw Refused()
            }
            let watch = connection.watch(for: Note.self)
            try await far.say(try frame(Ask(key: 1)))
            try await far.finish()
            #expect(try await watch.next() == nil)
            #expect(!connection.isClosing)
            goOn.set(true)
            try await eventually("it closes") { connection.isClosing }
            #expect(connection.failure is Refused)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `a close by the stream's own writer is this side's`(_ kind: PairKind) async throws {
        try await withConnection(kind) { connection, _ in
            let asking = await started {
                try await connection.request(Ask(), expecting: Answer.self)
            }
            connection.writer?.startClosing(within: .milliseconds(1))
            await #expect(throws: PacketError.stream(.closed)) { try await asking.value }
            #expect(connection.failure == nil)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `an orderly close of the peer's is told behind its last packets, not before`(
        _ kind: PairKind
    ) async throws {
        try await withConnection(kind) { connection, far in
            let notes = connection.packets(of: Note.self, buffering: 1)
            let answer = await started { try await connection.nextPacket(of: Answer.self) }
            try await far.say(
                try frame(Note(text: "1")) + frame(Note(text: "2")) + frame(Answer(key: 3)))
            far.writer.startClosing()
            await settle()
            #expect(connection.isWatching(for: Answer.self))
            var texts: [String] = []
            for try await note in notes { texts.append(note.text) }
            #expect(texts == ["1", "2"])
            #expect(try await answer.value?.key == 3)
        }
    }

    @Test func `watchers more than a turn has jobs for all see the packet behind`() async throws {
        try await withConnection(.memory) { connection, far in
            let count = 5_000
            let keys = Shared<[UInt32]>([])
            for _ in 0..<count {
                connection.loop.spawn {
                    for _ in 1...2 {
                        let ask = try await connection.nextPacket(of: Ask.self)
                        keys.append(ask?.key ?? 0)
                    }
                }
            }
            await settle()
            try await far.say(try frame(Ask(key: 1)) + frame(Ask(key: 2)))
            try await far.finish()
            try await eventually("all have ended") { keys.value.count == 2 * count }
            #expect(keys.value.count { $0 == 1 } == count)
            #expect(keys.value.count { $0 == 2 } == count)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `a sequence made in a predicate begins behind that packet`(_ kind: PairKind) async throws {
        try await withConnection(kind) { connection, far in
            let made = Shared<PacketSequence<Ask>?>(nil)
            let watch = connection.watch(for: Ask.self) { [weak connection] _ in
                if made.value == nil { made.set(connection?.packets(of: Ask.self)) }
                return true
            }
            try await far.say(try frame(Ask(key: 1)) + frame(Ask(key: 2)))
            try await far.finish()
            #expect(try await watch.next()?.key == 1)
            var keys: [UInt32] = []
            for try await ask in try #require(made.value) { keys.append(ask.key) }
            #expect(keys == [2])
            made.set(nil)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `a flood holds up neither the cancellation nor the deadline of its consumer`(
        _ kind: PairKind
    ) async throws {
        try await withConnection(kind) { connection, far in
            let flood = try (0..<1_000).flatMap { _ in try frame(Note()) }
            let flooding = await started {
                while true { try await far.writer.send(flood) }
            }
            let consuming = await started { for try await _ in connection.packets {} }
            consuming.cancel()
            await #expect(throws: PacketError.stream(.cancelled)) {
                try await withDeadline(.seconds(10)) { try await consuming.value }
            }
            let limited = await started {
                try await withTimeout(.milliseconds(5)) { for try await _ in connection.packets {} }
            }
            await #expect(throws: PacketError.stream(.timedOut)) {
                try await withDeadline(.seconds(10)) { try await limited.value }
            }
            #expect(connection.failure == nil)
            flooding.cancel()
            await connection.abort()
            await #expect(throws: (any Error).self) { try await flooding.value }
        }
    }

    @Test(arguments: PairKind.allCases)
    func `a connection dropped while its hook reads closes its stream in order`(
        _ kind: PairKind
    ) async throws {
        try await withLoop { _ in
            let far: StreamEnd
            let isReading = Shared(false)
            do {
                let (near, other) = try await kind.makePair()
                far = other
                var hooks = PacketHooks()
                hooks.reading = { connection in
                    isReading.set(true)
                    return try await connection.readData(1).map { UnknownPacket(0, $0) }
                }
                let connection = try PacketConnection(near.reader, near.writer, talk, hooks: hooks)
                connection.on(Note.self) { _ in }
                try await connection.send(Note(text: "last"))
                try await eventually("the hook reads") { isReading.value }
                await settle()
            }
            let expected = try frame(Note(text: "last"))
            #expect(try await far.reader.readToEnd() == expected)
            await far.writer.close()
        }
    }

    @Test(arguments: PairKind.allCases)
    func `a context set inside of a packet makes it no place for bytes or other streams`(
        _ kind: PairKind
    ) async throws {
        try await withConnection(kind) { connection, far in
            let watch = connection.watch(for: Note.self)
            let note = try frame(Note(text: "in two pieces"))
            try await far.say(Array(note.prefix(4)))
            watch.cancel()
            await settle()
            try connection.setContext(Agreement(version: 2))
            await #expect(throws: PacketError.busy) { try await connection.readData(1) }
            #expect(throws: PacketError.busy) {
                try connection.replaceStreams(reader: nil, writer: connection.writer)
            }
            try await far.say(Array(note.dropFirst(4)))
            let whole = try await connection.nextPacket(of: Note.self)
            #expect(whole?.text == "in two pieces")
        }
    }
}

/// What holds reading up until something else happens.
private enum HoldUp: CaseIterable {
    case sequence, body, listener

    /// Sends two notes, of which one is held up or, with nothing behind, is not sent unless the
    /// body's slot has room; returns what gives the texts that were taken at the end.
    func begin(
        _ connection: PacketConnection, _ far: StreamEnd, isOrderly: Bool = false,
        nothingBehind: Bool = false, _ mayGoOn: @escaping @Sendable () -> Bool
    ) async throws -> () async throws -> [String] {
        let texts = Shared<[String]>([])
        let end: () async throws -> Void
        switch self {
        case .sequence:
            let notes = connection.packets(of: Note.self, buffering: 1)
            end = {
                try await expectEnd("the sequence", isOrderly) {
                    for try await note in notes { texts.append(note.text) }
                }
            }
        case .body:
            let loop = await started {
                for try await case let note as Note in connection.packets {
                    texts.append(note.text)
                    try await eventually("the body may end") { mayGoOn() }
                }
            }
            end = { try await expectEnd("the loop", isOrderly) { try await loop.value } }
        case .listener:
            connection.on(Note.self) { note in
                texts.append(note.text)
                try await eventually("the listener may end") { mayGoOn() }
            }
            let count = nothingBehind ? 1 : 2
            end = { try await eventually("all are heard") { texts.value.count == count } }
        }
        try await far.say(try frame(Note(text: "1")))
        if !nothingBehind || self == .body { try await far.say(try frame(Note(text: "2"))) }
        return {
            try await end()
            return texts.value
        }
    }
}

private func expectEnd(
    _ who: String, _ isOrderly: Bool, _ body: () async throws -> Void
) async throws {
    if isOrderly { try await body() } else { await expectReset(who, body) }
}

private func expectReset(
    _ who: String, sourceLocation: SourceLocation = #_sourceLocation,
    _ body: () async throws -> Void
) async {
    do {
        try await body()
        Issue.record("\(who) was not told", sourceLocation: sourceLocation)
    } catch {
        guard case .stream(.reset)? = error as? PacketError else {
            Issue.record("\(who) was told \(error)", sourceLocation: sourceLocation)
            return
        }
    }
}
