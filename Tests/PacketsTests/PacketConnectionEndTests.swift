// How a connection ends: everybody who waits is told why, once, and nothing hangs.

import Sluice
import SluiceTestKit
import Testing

/// What ends a connection.
enum Ending: String, CaseIterable, Sendable, CustomTestStringConvertible {
    case peerEnd, reset, cutPacket, nonsense, close, abort, timeout

    var testDescription: String { rawValue }

    /// What a request that waits is told.
    func isRight(_ error: PacketError, _ kind: PairKind) -> Bool {
        switch (self, error) {
        case (.peerEnd, .peerClosed), (.reset, .stream(.reset)), (.cutPacket, .truncated),
            (.nonsense, .malformed), (.close, .stream(.closed)), (.abort, .stream(.aborted)),
            (.timeout, .stream(.timedOut)):
            true
        default: false
        }
    }

    /// Whether a watch is told by `nil`.
    var isOrderly: Bool { self == .peerEnd || self == .close }

    func come(_ connection: PacketConnection, _ far: StreamEnd) async throws {
        switch self {
        case .peerEnd: try await far.finish()
        case .reset: await far.writer.abort()
        case .cutPacket:
            try await far.say([0, 200, 3, 1])
            try await far.finish()
        case .nonsense: try await far.say([0, 2, 3, 0])
        case .close: connection.startClosing(within: .milliseconds(1))
        case .abort: await connection.abort()
        case .timeout: break
        }
    }
}

@Suite struct PacketConnectionEndTests {
    @Test(arguments: PairKind.allCases, Ending.allCases)
    func `a hundred watches and a hundred requests all end, each with the reason`(
        _ kind: PairKind, _ ending: Ending
    ) async throws {
        try await withConnection(kind) { connection, far in
            let timeout: Duration? = ending == .timeout ? .milliseconds(20) : nil
            let (watches, requests) = (Shared<[PacketError?]>([]), Shared<[PacketError?]>([]))
            let turns = Shared<Set<UInt64>>([])
            for index in 0..<100 as Range<UInt32> {
                connection.loop.spawn {
                    do throws(PacketError) {
                        _ = try await connection.nextPacket(of: Answer.self, within: timeout)
                        watches.append(nil)
                    } catch {
                        watches.append(error)
                    }
                    let turn = await connection.loop.statistics().turns
                    turns.withLock { _ = $0.insert(turn) }
                }
                connection.loop.spawn {
                    do throws(PacketError) {
                        _ = try await connection.request(
                            Ask(key: index), expecting: Answer.self,
                            where: { $0.key == index }, within: timeout)
                        requests.append(nil)
                    } catch {
                        requests.append(error)
                    }
                }
            }
            let loop = await started { try await noteTexts(connection) }
            try await ending.come(connection, far)
            try await eventually("everybody has ended") {
                watches.value.count == 100 && requests.value.count == 100
            }
            #expect(requests.value.allSatisfy { $0.map { ending.isRight($0, kind) } ?? false })
            if ending.isOrderly {
                #expect(watches.value.allSatisfy { $0 == nil })
            } else {
                #expect(watches.value.allSatisfy { $0.map { ending.isRight($0, kind) } ?? false })
            }
            #expect(!connection.isWatching(for: Answer.self))
            guard ending != .timeout else {
                loop.cancel()
                return
            }
            #expect(turns.value.count == 1, "within one turn: \(turns.value)")
            do {
                _ = try await loop.value
                #expect(ending.isOrderly)
            } catch {
                #expect(ending.isRight(error as? PacketError ?? .idle, kind))
            }
        }
    }

    @Test(arguments: PairKind.allCases)
    func `behind a loss the loop gets what came before, a watch is told at once`(
        _ kind: PairKind
    ) async throws {
        var options = StreamOptions()
        options.writeStallTimeout = .milliseconds(30)
        try await withConnection(kind, options: options) { connection, far in
            let (seen, goOn) = (Shared<[String]>([]), Shared(false))
            let loop = await started {
                for try await case let note as Note in connection.packets {
                    seen.append(note.text)
                    try await eventually("the body may end") { goOn.value }
                }
            }
            let waiting = await started { try await connection.nextPacket(of: Answer.self) }
            try await far.say(try (1...5).flatMap { try frame(Note(text: "\($0)")) })
            // One for the body, one ahead of it: the others are not read.
            #expect(connection.statistics.received == 2)
            try connection.writer?.write([UInt8](repeating: 0, count: 64 << 20))
            await #expect(throws: PacketError.stream(.stalled)) { try await waiting.value }
            await #expect(throws: PacketError.stream(.stalled)) {
                try await connection.nextPacket(of: Answer.self)
            }
            #expect(seen.value == ["1"])
            goOn.set(true)
            await #expect(throws: PacketError.stream(.stalled)) { try await loop.value }
            #expect(seen.value == ["1", "2", "3", "4", "5"])
        }
    }

    // PACKETS 68
    @Test(arguments: PairKind.allCases)
    func `with 64 MiB unsent to a stalled peer waitClosed and close return at their deadlines`(
        _ kind: PairKind
    ) async throws {
        try await withConnection(kind) { connection, _ in
            let large = [UInt8](repeating: 7, count: 64 << 20)
            let sending = await started { try await connection.writeData(large) }
            connection.startClosing()
            await #expect(throws: PacketError.stream(.timedOut)) {
                try await connection.waitClosed(within: .milliseconds(20))
            }
            let isClosed = connection.writer?.closeReason != nil
            #expect(!isClosed)
            await connection.close(within: .milliseconds(20))
            try await connection.waitClosed(within: .seconds(20))
            await #expect(throws: PacketError.self) { try await sending.value }
        }
    }

    // PACKETS 69
    @Test(arguments: PairKind.allCases)
    func `the scoped form closes also when its body throws, and throws the same`(
        _ kind: PairKind
    ) async throws {
        struct Own: Error, Equatable { var number: Int }
        try await withConnection(kind) { connection, far in
            let isOpen = try await connection.closing(within: .milliseconds(1)) { connection in
                try await connection.send(Note(text: "out"))
                return !connection.isClosing
            }
            #expect(isOpen && connection.isClosing)
            let expected = try frame(Note(text: "out"))
            #expect(try await far.reader.readToEnd() == expected)
        }
        try await withConnection(kind) { connection, far in
            await #expect(throws: Own(number: 5)) {
                try await connection.closing(within: .milliseconds(1)) { _ in
                    throw Own(number: 5)
                }
            }
            #expect(connection.isClosing)
            let rest = try await far.reader.readToEnd()
            #expect(rest.isEmpty)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `a connection that nobody holds closes its stream in order`(
        _ kind: PairKind
    ) async throws {
        try await withLoop { _ in
            let far: StreamEnd
            do {
                let (near, other) = try await kind.makePair()
                far = other
                let connection = try PacketConnection(near.reader, near.writer, talk)
                connection.on(Note.self) { _ in }
                try await connection.send(Note(text: "last"))
                let asking = await started { [weak connection] in
                    _ = try await connection?.nextPacket(of: Ask.self)
                }
                asking.cancel()
                _ = try? await asking.value
            }
            let expected = try frame(Note(text: "last"))
            #expect(try await far.reader.readToEnd() == expected)
            await far.writer.close()
        }
    }

    @Test func `a loop that stops ends who waits`() async throws {
        let loop = try EventLoop.start()
        let outcomes = try await withDeadline {
            let task = loop.spawn {
                let (near, far) = try await makeMemoryPair()
                let connection = try PacketConnection(near.reader, near.writer, talk)
                let watching = await started { try await connection.nextPacket(of: Note.self) }
                let looping = await started { try await noteTexts(connection) }
                Task { await loop.stop() }
                let outcomes = (await watching.result, await looping.result)
                withExtendedLifetime(far) {}
                return (
                    throws: (try? outcomes.0.get()) == nil, loops: (try? outcomes.1.get()) == nil
                )
            }
            return try await task.value
        }
        #expect(outcomes.throws && outcomes.loops)
    }
}
