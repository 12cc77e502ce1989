// What is done with a packet connection in one input: operations and bytes of the fuzzer's choice,
// over streams in memory. In the end nobody waits, nothing is left, and all that was received and
// sent was right. What those who want packets do: PacketWishes.swift.

import Sluice
@testable import SluicePackets
@testable import SluiceReactor
@testable import SluiceStreams

func runConnectionsInput(_ input: [UInt8]) {
    var choices = Choices(input)
    let bytes = choices.takePayload()
    let kind = choices.next()
    let isOver = FinishedFlag()
    let pump = WeakPump()
    let rest = choices
    loop.spawn {
        // In a function of its own: at its end nobody holds anything.
        if kind & 0xC0 == 0xC0 {
            await runLink(rest, FuzzedFormat(isHeaded: kind & 1 != 0), pump)
        } else {
            await runConnection(bytes, kind, rest, pump)
        }
        isOver.isSet = true
    }
    var turns = 0
    while !isOver.isSet {
        guard turns < 60_000 else { fail("connections: the script waits for ever") }
        loop.turn(wait: false)
        turns += 1
    }
    checkEmpty()
    if pump.pump != nil { fail("connections: somebody still holds the connection") }
}

/// Whether a connection's inside is still there.
// @unchecked Sendable: used on one thread.
final class WeakPump: @unchecked Sendable {
    weak var pump: PacketPump?
}

private func runConnection(
    _ bytes: [UInt8], _ kind: Int, _ choices: Choices, _ pump: WeakPump
) async {
    let script = ConnectionScript(bytes, kind, choices)
    pump.pump = script.model.pump
    await script.run()
    await script.end()
}

// @unchecked Sendable: its tasks run on the thread that made it.
final class ConnectionScript: @unchecked Sendable {
    var connection: PacketConnection?
    /// While a task has it, though the script has dropped it.
    private weak var held: PacketConnection?
    let model: ArrivalModel
    var written: WrittenModel
    var choices: Choices
    /// How it ends.
    private let final: Int
    let gate = FuzzGate()
    private var hostile: ArraySlice<UInt8>
    var ends: [FarEnd] = []
    /// Sent by the far end and not yet given to its stream.
    var outbox: [UInt8] = []
    var isReading = false
    /// Bytes of ours may not arrive: an abort, a reset, a close in a hurry.
    var mayLose = false
    /// The far end that is read from: each to its end, one after the other.
    var readIndex = 0
    /// What the connection's callbacks do, in turn, besides what they are for.
    var planned: [Int] = []
    var isInCallback = false
    var hookReads = 0
    private(set) var isEnding = false

    /// Tasks that have to end when the packets do, and when the connection is closed.
    var (waiting, closing) = (0, 0)
    var tasks: [Task<Void, any Error>] = []
    var watches: [AnyWatch] = []
    var sequences: [AnySequence] = []
    var iterators: [ConnectionPackets.Iterator] = []

    var far: StreamPair { ends[ends.count - 1].far }

    init(_ bytes: [UInt8], _ kind: Int, _ choices: Choices) {
        hostile = bytes[...]
        self.choices = choices
        final = self.choices.next()
        let hasHook = kind & 2 != 0
        let format = FuzzedFormat(isHeaded: kind & 1 != 0)
        model = ArrivalModel(format)
        model.hasReadingHook = hasHook
        written = WrittenModel(format)
        let near = addEnd()
        let lacksReader = kind >> 3 & 7 == 1
        let lacksWriter = kind >> 3 & 7 == 2
        model.hasLackedReader = lacksReader
        var hooks = PacketHooks()
        if hasHook {
            hooks.reading = { [weak self] connection in
                try await self?.readByHook(connection)
            }
        }
        if kind & 4 != 0 {
            hooks.writing = { [weak self] packet, connection, output throws(PacketError) in
                try self?.writeByHook(packet, connection, &output)
            }
        }
        do {
            let made = try PacketConnection(
                lacksReader ? nil : near.reader, lacksWriter ? nil : near.writer, format.format,
                hooks: hasHook || kind & 4 != 0 ? hooks : nil)
            (connection, held) = (made, made)
            model.pump = made.pump
            made.onUnhandled = { [model, weak self] packet in
                model.arrivesUnhandled(packet)
                self?.interfere(with: nil)
            }
        } catch {
            fail("connections: no connection: \(error)")
        }
    }

    // MARK: Operations

    func run() async {
        while choices.hasMore {
            let kind = choices.next()
            let number = choices.next()
            trace(
                "step \(kind % 24) of kind \(kind / 24) with \(number), next \(model.upcoming) of "
                    + "\(model.sent.count), ended \(String(describing: model.pump?.ending))")
            switch kind % 24 {
            case 0, 1, 2, 3: send(kind, number)
            case 4: sendHostile(number)
            case 5: move(number * 4 + 1)
            case 6: if number > 128 { finishThere() }
            case 7: if number > 200 { abortThere() }
            case 8, 9: addWatch(kind / 24, number)
            case 10: touchWatch(number)
            case 11, 12: addSequence(kind / 24, number)
            case 13: iterate(kind / 24, number)
            case 14: number < 128 ? addListener(kind / 24, number) : planned.append(number)
            case 15: if !tasks.isEmpty { tasks[number % tasks.count].cancel() }
            case 16: write(kind / 24, number)
            case 17: ask(number)
            case 18: readBytes(number)
            case 19: number < 128 ? gate.open(1 + number % 3) : dropOne(number)
            case 20: setContext(number)
            case 21: replaceStreams(number)
            case 22: endHere(number)
            default: read(1 + number * 8)
            }
            for _ in 0..<(number & 0x40 == 0 ? 1 : number % 5) { await EventLoop.yield() }
        }
    }

    /// A task that waits for packets, or at most for the end of the connection.
    func spawn(
        untilClosed: Bool = false,
        _ body: @escaping @Sendable (PacketConnection) async throws -> Void
    ) {
        guard let connection else { return }
        if untilClosed { closing += 1 } else { waiting += 1 }
        let task = loop.spawn { [self] in
            try? await body(connection)
            if untilClosed { closing -= 1 } else { waiting -= 1 }
        }
        tasks.append(task)
    }

    private func send(_ kind: Int, _ number: Int) {
        guard !model.isFinishedThere else { return }
        // A byte at a time, more would take longer than a wait may.
        for count in 0...number % 4 where model.sent.count < 80 {
            outbox += model.send(
                (kind / 24 + count) % 4, [nil, Agreed(version: 1), Agreed(version: 2)][count % 3])
        }
        if number & 8 == 0 { move(outbox.count) }
    }

    private func sendHostile(_ count: Int) {
        let piece = hostile.prefix(max(1, count))
        guard !piece.isEmpty, !model.isFinishedThere else { return }
        hostile = hostile.dropFirst(piece.count)
        model.sendHostile(Array(piece))
        outbox += piece
        move(outbox.count)
    }

    private func move(_ count: Int) {
        let piece = Array(outbox.prefix(count))
        outbox.removeFirst(piece.count)
        if !piece.isEmpty { try? far.writer.write(piece) }
    }

    func finishThere() {
        guard !model.isFinishedThere else { return }
        model.isFinishedThere = true
        model.cut = outbox.count
        outbox = []
        try? far.writer.finishWriting()
    }

    func abortThere() {
        model.isFinishedThere = true
        model.isAbortedThere = true
        model.cut = max(1, outbox.count)
        mayLose = true
        outbox = []
        far.writer.startAborting()
    }

    func setContext(_ number: Int) {
        guard let connection else { return }
        let new = [nil, Agreed(version: 1), Agreed(version: 2)][number % 3]
        do { try connection.setContext(new) } catch { fail("connections: no context: \(error)") }
        guard connection.context as? Agreed == new else { fail("connections: another context") }
    }

    // MARK: The end

    /// First the peer ends, and everybody who waits for packets is told. Then this side closes.
    func end() async {
        trace("the end, \(final): \(waiting) and \(closing) wait")
        isEnding = true
        // New streams, which have no end, and sequences that nobody empties.
        planned.removeAll { [6, 9].contains($0 % 12) }
        gate.openForAll()
        (watches, sequences, iterators) = ([], [], [])
        addLastWatch()
        move(outbox.count)
        if final & 1 == 0 { finishThere() } else { abortThere() }
        await turns("wait for packets behind the end", while: { self.waiting > 0 })
        iterate(0, 0)
        await turns("loop behind the end", while: { self.waiting > 0 })
        if let pump = connection?.pump, pump.ending == nil, !model.hasLackedReader {
            fail("connections: a loop is over, but not the packets")
        }
        await turns(
            "listeners that are not called", while: { self.model.pump?.isListening == true })
        model.checkNoneLost()
        await closeAll()
    }

    /// For a packet that never comes: has all be read up to the end.
    private func addLastWatch() {
        guard let last = connection?.watch(for: FuzzedNever.self) else { return }
        spawn { [self] _ in
            do throws(PacketError) {
                if try await last.next() != nil { fail("connections: nothing was received") }
                model.checkOrderlyEnd()
            } catch {
                check(error)
            }
        }
    }

    private func closeAll() async {
        if final & 2 == 0 { mayLose = true }
        model.isClosedHere = true
        if final & 2 == 0 { model.isAbortedHere = true }
        connection = nil
        if let held {
            closing += 1
            loop.spawn { [self] in
                final & 2 == 0 ? await held.abort() : await held.close()
                closing -= 1
            }
        }
        await turns("wait for the close", while: { self.closing > 0 })
        for end in ends { end.near.writer.startClosing() }
        let isOver = FinishedFlag()
        loop.spawn { [self] in
            while isReading { await EventLoop.yield() }
            isReading = true
            while await readOnce(65_536) {}
            isOver.isSet = true
        }
        await turns("bytes that do not arrive", while: { !isOver.isSet })
        if !mayLose { written.checkAll() }
        for end in ends {
            end.near.writer.startAborting()
            end.far.writer.startAborting()
        }
        (ends, tasks, model.pump) = ([], [], nil)
    }

    private func turns(_ what: String, while condition: () -> Bool) async {
        var turns = 0
        while condition() {
            guard turns < 10_000 else {
                if let pump = model.pump { trace(pump.fuzzedState) }
                fail("connections: \(waiting), \(closing): \(what)")
            }
            read(65_536)
            await EventLoop.yield()
            turns += 1
        }
    }
}
