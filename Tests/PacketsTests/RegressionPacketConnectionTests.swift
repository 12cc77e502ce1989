// What once went wrong with packet connections.

import Sluice
import SluiceTestKit
import Testing

@Suite struct RegressionPacketConnectionTests {
    @Test(arguments: PairKind.allCases)
    func `a task that takes a sequence's packet away from another one is not forgotten`(
        _ kind: PairKind
    ) async throws {
        try await withConnection(kind) { connection, far in
            let asks = connection.packets(of: Ask.self)
            let first = await started {
                var iterator = asks.makeAsyncIterator()
                return try await iterator.next()?.key
            }
            let second = await started {
                var iterator = asks.makeAsyncIterator()
                // Its turn comes between the packet and the one who waited for it.
                while connection.statistics.received == 0 { await EventLoop.yield() }
                return [try await iterator.next()?.key, try await iterator.next()?.key]
            }
            try await far.say(try frame(Ask(key: 1)))
            try await far.say(try frame(Ask(key: 2)))
            try await far.finish()
            let keys = Shared<[UInt32?]>([])
            let outcomes = connection.loop.spawn {
                if let key = try? await first.value { keys.append(key) }
                if let both = try? await second.value {
                    keys.withLock { $0 += both.filter { $0 != nil } }
                }
                return true
            }
            let isOver = Shared(false)
            connection.loop.spawn { isOver.set(try await outcomes.value) }
            try await eventually("both have ended") { isOver.value }
            #expect(keys.value.compactMap { $0 }.sorted() == [1, 2])
        }
    }

    @Test(arguments: PairKind.allCases)
    func `behind a loss an empty sequence is told, though a full one holds all reading up`(
        _ kind: PairKind
    ) async throws {
        var options = StreamOptions()
        options.writeStallTimeout = .milliseconds(30)
        try await withConnection(kind, options: options) { connection, far in
            let asks = connection.packets(of: Ask.self, buffering: 1)
            let notes = connection.packets(of: Note.self)
            try await far.say(try frame(Ask(key: 1)) + frame(Ask(key: 2)))
            try connection.writer?.write([UInt8](repeating: 0, count: 64 << 20))
            try await connection.waitClosed(within: .seconds(20))
            await settle()
            let told = await started { for try await _ in notes {} }
            try await eventually("it is told") { !connection.isWatching(for: Note.self) }
            await #expect(throws: PacketError.stream(.stalled)) { try await told.value }
            // The full one still gives what came.
            var keys: [UInt32] = []
            await #expect(throws: PacketError.stream(.stalled)) {
                for try await ask in asks { keys.append(ask.key) }
            }
            #expect(keys == [1, 2])
        }
    }

    @Test(arguments: PairKind.allCases)
    func `a hook waits for those who read bytes`(_ kind: PairKind) async throws {
        try await withPair(kind) { near, far in
            var hooks = PacketHooks()
            hooks.reading = { connection in
                guard let size = try await connection.readData(1) else { return nil }
                return try connection.decode(
                    try await connection.readData(Int(size[0])) ?? [])
            }
            let connection = try PacketConnection(near.reader, near.writer, talk, hooks: hooks)
            let bytes = await started { try await connection.readData(2) }
            let watch = connection.watch(for: Note.self)
            await settle()
            try await far.say([1, 2])
            #expect(try await bytes.value == [1, 2])
            // The same but for the upper half of the length.
            try await far.say(Array(try frame(Note(text: "behind")).dropFirst()))
            #expect(try await watch.next()?.text == "behind")
        }
    }

    @Test(arguments: PairKind.allCases)
    func `after a break a new loop gets the packet read ahead, also beside a watch`(
        _ kind: PairKind
    ) async throws {
        try await withConnection(kind) { connection, far in
            let watch = connection.watch(for: Answer.self)
            let loop = await started {
                var texts: [String] = []
                for _ in 1...2 {
                    for try await case let note as Note in connection.packets {
                        texts.append(note.text)
                        await settle()
                        if texts.count == 2 { break }
                    }
                }
                return texts
            }
            try await far.say(try (1...4).flatMap { try frame(Note(text: "\($0)")) })
            try await far.finish()
            #expect(try await loop.value == ["1", "2", "3", "4"])
            #expect(try await watch.next() == nil)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `a predicate that closes or cancels its own watch gets no packet`(
        _ kind: PairKind
    ) async throws {
        try await withConnection(kind) { connection, far in
            let own = Shared<PacketWatch<Note>?>(nil)
            let cancelling = connection.watch(for: Note.self) { _ in
                own.value?.cancel()
                return true
            }
            own.set(cancelling)
            try await far.say(try frame(Note(text: "1")))
            let cancelled = try await cancelling.next()
            #expect(cancelled == nil)
            own.set(nil)

            let closing = connection.watch(for: Note.self) { [weak connection] _ in
                connection?.startClosing(within: .milliseconds(1))
                return true
            }
            let sequence = connection.packets(of: Note.self)
            try await far.say(try frame(Note(text: "2")))
            let closed = try await closing.next()
            #expect(closed == nil)
            for try await note in sequence { Issue.record("\(note.text) came after the close") }
        }
    }

    @Test(arguments: PairKind.allCases)
    func `a listener that holds its connection lets go of it at the end`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            let hold = WeakConnection()
            do {
                let connection = try PacketConnection(near.reader, near.writer, talk)
                hold.connection = connection
                connection.on(Ask.self) { ask in try connection.write(Answer(key: ask.key)) }
                connection.onUnhandled = { _ in _ = connection.loop }
            }
            try await far.say(try frame(Ask(key: 1)))
            #expect(try await far.reader.readExactly(2) == [0, 7])
            #expect(hold.connection != nil)
            try await far.finish()
            try await eventually("the connection has gone") { hold.connection == nil }
        }
    }

    @Test(arguments: PairKind.allCases)
    func `a writing hook may close and send: packets before it leave whole, its own does not`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            var hooks = PacketHooks()
            hooks.writing = { packet, connection, output throws(PacketError) in
                output.append([7])
                if let ask = packet as? Ask, ask.key == 1 {
                    output.append([8])
                    try connection.write(Ask(key: 2))
                } else if packet is Note {
                    connection.startClosing(within: .seconds(5))
                }
                output.append([9])
            }
            let connection = try PacketConnection(near.reader, near.writer, talk, hooks: hooks)
            try connection.write(Ask(key: 1))
            #expect(throws: PacketError.stream(.closed)) { try connection.write(Note()) }
            #expect(connection.statistics.sent == 2)
            try far.writer.finishWriting()
            #expect(try await far.reader.readToEnd() == [7, 9, 7, 8, 9])
        }
    }

    @Test func `a hook that never waits lets others run`() async throws {
        try await withPair(.memory) { near, _ in
            let isOver = Shared(false)
            var hooks = PacketHooks()
            hooks.reading = { _ in isOver.value ? nil : Note() }
            let connection = try PacketConnection(near.reader, near.writer, talk, hooks: hooks)
            let watch = connection.watch(for: Ask.self)
            await settle()
            isOver.set(true)
            let ask = try await watch.next()
            #expect(ask == nil)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `fifty thousand pipelined packets leave others their turns`(
        _ kind: PairKind
    ) async throws {
        try await withConnection(kind) { connection, far in
            let count = 50_000
            let flood = try (0..<1_000).flatMap { _ in try frame(Note()) }
            let (turns, seen) = (Shared(0), Shared(0))
            let last = connection.watch(for: Ask.self)
            let loop = await started {
                for try await _ in connection.packets { seen.withLock { $0 += 1 } }
            }
            let flooding = await started {
                for _ in 0..<count / 1_000 { try await far.writer.send(flood) }
                try await far.writer.send(try frame(Ask(key: 1)))
                try far.writer.finishWriting()
            }
            let counting = await started {
                while seen.value <= count {
                    turns.withLock { $0 += 1 }
                    await EventLoop.yield()
                }
            }
            #expect(try await last.next()?.key == 1)
            try await loop.value
            try await flooding.value
            try await counting.value
            #expect(seen.value == count + 1)
            #expect(turns.value > count / 128)
        }
    }
}

// @unchecked Sendable: used on one loop.
private final class WeakConnection: @unchecked Sendable {
    weak var connection: PacketConnection?
}
