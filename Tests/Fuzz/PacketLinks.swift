// Two packet connections that are linked, between two far ends: each packet goes on as the
// inspection says, in order, and the first end is the end of both.

import Sluice
@testable import SluicePackets
@testable import SluiceReactor
@testable import SluiceStreams

func runLink(_ choices: Choices, _ format: FuzzedFormat, _ pump: WeakPump) async {
    let script = LinkScript(choices, format)
    pump.pump = script.sides[0].connection?.pump
    await script.run()
    await script.end()
}

// @unchecked Sendable: its tasks run on the thread that made it.
private final class LinkScript: @unchecked Sendable {
    var sides: [LinkSide] = []
    private let format: FuzzedFormat
    private var choices: Choices
    private let final: Int
    private let gate = FuzzGate()
    private var link: Task<Void, any Error>?
    private var (waiting, isLinked) = (0, true)
    private var (hasThrown, isCancelled, isClosedHere, isHostile) = (false, false, false, false)
    /// Which far end has ended first.
    private var firstEnded: Int?
    /// The other one ended too, and perhaps arrived before.
    private var isTie = false

    init(_ choices: Choices, _ format: FuzzedFormat) {
        self.choices = choices
        self.format = format
        final = self.choices.next()
        for _ in 0..<2 {
            let pair = memoryPairAtOnce(
                64 + self.choices.next() * 16, chunk: 256 - self.choices.next())
            do {
                let connection = try PacketConnection(
                    pair.0.reader, pair.0.writer, format.format, context: Agreed(version: 2))
                sides.append(LinkSide(connection: connection, far: pair.1))
            } catch {
                fail("links: no connection: \(error)")
            }
        }
        startLink()
    }

    private func startLink() {
        guard let first = sides[0].connection, let second = sides[1].connection else { return }
        link = loop.spawn { [self] in
            do {
                try await linkPackets(first, second) { [self] packet, direction in
                    try await inspect(packet, direction)
                }
                if Task.isCancelled { isCancelled = true }
            } catch {
                check(error)
            }
            isLinked = false
            guard first.pump.areStreamsClosed, second.pump.areStreamsClosed else {
                fail("links: over, but not closed")
            }
        }
    }

    private func inspect(
        _ packet: any Packet, _ direction: LinkDirection
    ) async throws -> LinkVerdict {
        let (from, to) = direction == .forth ? (0, 1) : (1, 0)
        let place = sides[from].inspected
        trace("packet \(place) of side \(from)")
        sides[from].inspected += 1
        if isHostile { return .forward }
        let sent = sentPacket(place)
        guard place < sides[from].sent, sent.packet(where: Agreed(version: 2)).isEqual(to: packet)
        else { fail("links: \(packet) is not packet \(place)") }
        switch place % 11 {
        case 3: return .drop
        case 5:
            let other = SentPacket(kind: 1, number: UInt16(place) + 1_000, agreed: nil)
            pass(other, to)
            return .replace(other.packet(where: nil))
        case 7: await gate.wait()
        case 8: await EventLoop.yield()
        case 10 where place > 20:
            hasThrown = true
            throw FuzzedFailure()
        default: break
        }
        pass(sent, to)
        return .forward
    }

    private func sentPacket(_ place: Int) -> SentPacket {
        SentPacket(
            kind: place % 4, number: UInt16(truncatingIfNeeded: place),
            agreed: Agreed(version: UInt8(1 + place % 2)))
    }

    private func pass(_ sent: SentPacket, _ to: Int) {
        sides[to].passed.append(format.frame(sent.wire.id, sent.wire.fields))
    }

    private func check(_ error: any Error) {
        trace("links: over by \(error)")
        let isPossible: Bool
        switch error as? PacketError {
        case .stream(.reset)?: isPossible = sides[0].isBroken || sides[1].isBroken
        case .truncated?, .malformed?, .limitExceeded?, .unencodable?:
            isPossible = isHostile || sides.contains { $0.isBroken || !$0.outbox.isEmpty }
        case .stream(.cancelled)?: isPossible = isCancelled
        case .stream(.aborted)?: isPossible = isCancelled || isClosedHere
        case .some: isPossible = false
        case nil: isPossible = error is FuzzedFailure && hasThrown || error is CancellationError
        }
        if !isPossible { fail("links: over by \(error)") }
    }

    // MARK: Operations

    func run() async {
        // A watch alone would have packets read before the link's loops have begun.
        for _ in 0..<4 { await EventLoop.yield() }
        while choices.hasMore {
            let kind = choices.next()
            let number = choices.next()
            let side = kind & 1
            trace("step \(kind >> 1 & 15) of side \(side) with \(number)")
            switch kind >> 1 & 15 {
            case 0, 1, 2, 3: send(side, 1 + number & 7, moving: number & 8 == 0)
            case 4: move(side, number)
            case 5, 6: inject(side, number)
            case 7: watch(side, number)
            case 8: gate.open(1)
            case 9: if number > 128 { finish(side) }
            case 10: if number > 200 { abort(side) }
            case 11: if number > 224 { cancel() }
            case 12: if number > 200 { closeHere(side, number) }
            case 13: if number > 128 { sendHostile(side, number) }
            default: read(side, 1 + number * 4)
            }
            for _ in 0..<(number & 0x40 == 0 ? 1 : number % 5) { await EventLoop.yield() }
        }
    }

    private func send(_ side: Int, _ count: Int, moving: Bool) {
        guard !sides[side].isFinished else { return }
        // A byte at a time, more would take longer than a wait may.
        for _ in 0..<count where sides[side].sent < 60 {
            let sent = sentPacket(sides[side].sent)
            sides[side].sent += 1
            sides[side].outbox += format.frame(sent.wire.id, sent.wire.fields)
        }
        if moving { move(side, .max) }
    }

    private func sendHostile(_ side: Int, _ number: Int) {
        guard !sides[side].isFinished else { return }
        isHostile = true
        sides[side].outbox += [UInt8](repeating: UInt8(number & 3), count: number & 31)
        move(side, .max)
    }

    private func move(_ side: Int, _ count: Int) {
        guard !sides[side].isFinished else { return }
        let piece = Array(sides[side].outbox.prefix(count))
        sides[side].outbox.removeFirst(piece.count)
        if !piece.isEmpty { try? sides[side].far.writer.write(piece) }
    }

    private func inject(_ side: Int, _ number: Int) {
        guard let connection = sides[side].connection else { return }
        waiting += 1
        let fields = [UInt8(sides[side].injected.count & 0xFF), 0]
        // Taken back if it is not written.
        sides[side].injected.append(format.frame(91, fields))
        loop.spawn { [self] in
            do throws(PacketError) {
                try await connection.send(UnknownPacket(91, fields))
            } catch {
                isClosedHere = isClosedHere || error == .stream(.closed)
            }
            waiting -= 1
        }
    }

    private func watch(_ side: Int, _ number: Int) {
        guard let connection = sides[side].connection else { return }
        let watch = connection.watch(for: (any Numbered).self) { $0.number % 3 == number % 3 }
        waiting += 1
        loop.spawn { [self] in
            let packet = try? await watch.next()
            if let packet, !isHostile, packet.number >= sides[side].sent {
                fail("links: \(packet) was never sent")
            }
            waiting -= 1
        }
    }

    private func finish(_ side: Int, isAnswer: Bool = false) {
        guard !sides[side].isFinished else { return }
        if firstEnded == nil { firstEnded = side } else if isLinked, !isAnswer { isTie = true }
        sides[side].isFinished = true
        trace("side \(side) ends")
        try? sides[side].far.writer.finishWriting()
    }

    private func abort(_ side: Int) {
        if firstEnded == nil { firstEnded = side }
        (sides[side].isFinished, sides[side].isBroken) = (true, true)
        sides[side].far.writer.startAborting()
    }

    private func cancel() {
        isCancelled = true
        link?.cancel()
    }

    private func closeHere(_ side: Int, _ number: Int) {
        isClosedHere = true
        if number & 1 == 0 {
            sides[side].connection?.startClosing()
        } else {
            sides[side].connection?.writer?.startAborting()
            isCancelled = true
        }
    }

    // MARK: The far ends

    private func read(_ side: Int, _ count: Int) {
        guard !sides[side].isReading, !sides[side].hasEnded else { return }
        sides[side].isReading = true
        let reader = sides[side].far.reader
        loop.spawn { [self] in
            let bytes = try? await reader.read(upTo: count)
            sides[side].isReading = false
            trace("side \(side) gets \(String(describing: bytes))")
            guard let bytes else {
                sides[side].hasEnded = true
                return finish(side, isAnswer: true)
            }
            sides[side].rest += bytes
            if !isHostile { sides[side].take(format) }
        }
    }

    // MARK: The end

    func end() async {
        gate.openForAll()
        for side in 0..<2 { move(side, .max) }
        let first = final & 1
        finish(first)
        await turns("the link goes on") { self.isLinked }
        finish(1 - first)
        for side in 0..<2 { sides[side].connection = nil }
        await turns("somebody waits") { self.waiting > 0 }
        await turns("the far ends have no end") { self.sides.contains { !$0.hasEnded } }
        checkAllPassed()
        for side in sides { side.far.writer.startAborting() }
        (sides, link) = ([], nil)
    }

    /// What was sent before the first end has come to the other side.
    private func checkAllPassed() {
        guard let from = firstEnded, !isTie, !hasThrown, !isCancelled, !isClosedHere, !isHostile,
            !sides.contains(where: { $0.isBroken }), sides[from].outbox.isEmpty
        else { return }
        let to = sides[1 - from]
        guard sides[from].inspected == sides[from].sent, to.got.passed == to.passed.count,
            to.rest.isEmpty
        else {
            fail(
                "links: \(to.got.passed) of \(to.passed.count) came to side \(1 - from), and "
                    + "\(to.rest); \(sides[from].inspected) of \(sides[from].sent) were looked at")
        }
    }

    private func turns(_ what: String, while condition: () -> Bool) async {
        var turns = 0
        while condition() {
            guard turns < 10_000 else {
                for side in sides { trace(side.connection?.pump.fuzzedState ?? "gone") }
                fail("links: \(what), \(waiting)")
            }
            for side in 0..<2 { read(side, 65_536) }
            await EventLoop.yield()
            turns += 1
        }
    }
}
