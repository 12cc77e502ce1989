// What a packet connection under test may say of what was sent to it: which packets, in which
// order, to whom, and how it ends.

import Sluice
@testable import SluicePackets
@testable import SluiceStreams

// @unchecked Sendable: used on one thread.
final class ArrivalModel: @unchecked Sendable {
    let format: FuzzedFormat
    /// All packets up to now, over all streams; their numbers are their places.
    private(set) var sent: [SentPacket] = []
    /// Those that went another way: read as bytes, or left in a stream that was replaced.
    private var gone: Set<Int> = []
    private var skipped = 0
    /// From this place on anything may come.
    private(set) var unknownFrom = Int.max
    /// The present stream's bytes, and where in it each packet begins.
    private var stream: [UInt8] = []
    private var borders: [Int: Int] = [:]

    /// What may have ended the packets.
    var isClosedHere = false
    var isAbortedHere = false
    /// The present stream's end, and whether any has ended so.
    var isFinishedThere = false {
        didSet { if isFinishedThere { hasFinishedThere = true } }
    }
    private var hasFinishedThere = false
    var isAbortedThere = false
    var hasThrown = false
    var hasLackedReader = false
    var hasReadingHook = false
    /// The end was said with so much of the outbox unsent.
    var cut = 0

    private var lastTaken = -1
    private var present = (received: UInt64.max, place: 0)
    /// The context in which the last packet was decoded, before anybody saw it.
    private var agreed: Agreed?
    private var seen: Set<Int> = []
    private var unhandled: Set<Int> = []
    /// Who got what is not known: somebody interfered.
    var isUncertain = false
    var pump: PacketPump?

    init(_ format: FuzzedFormat) { self.format = format }

    // MARK: Sending

    /// The frame of another packet.
    func send(_ kind: Int, _ agreed: Agreed?) -> [UInt8] {
        let packet = SentPacket(
            kind: kind, number: UInt16(truncatingIfNeeded: sent.count), agreed: agreed)
        borders[sent.count] = stream.count
        sent.append(packet)
        let frame = format.frame(packet.wire.id, packet.wire.fields)
        stream += frame
        return frame
    }

    /// Bytes that are nothing, or anything.
    func sendHostile(_ bytes: [UInt8]) {
        unknownFrom = min(unknownFrom, sent.count)
        stream += bytes
    }

    // MARK: What is seen

    /// The place of the next packet that will be received.
    var upcoming: Int { Int(pump?.counts.received ?? 0) + skipped }

    /// The place behind the packet that is just being delivered, whatever its callbacks have done.
    var afterPresent: Int {
        present.received == pump?.counts.received ? present.place + 1 : upcoming
    }

    private func isKnown(_ place: Int) -> Bool { place < unknownFrom && place < sent.count }

    /// The place of a packet that is just being delivered.
    private func arriving() -> Int {
        let received = pump?.counts.received ?? 0
        if present.received != received {
            present = (received, Int(received) - 1 + skipped)
            agreed = pump?.context as? Agreed
        }
        return present.place
    }

    /// A packet is delivered: it is the right one. `nil`: unknown.
    func arrives(_ packet: any Packet) -> Int? {
        let place = arriving()
        guard isKnown(place) else {
            if place < unknownFrom { fail("connections: \(packet) was never sent") }
            return nil
        }
        let right = sent[place].packet(where: agreed)
        if !right.isEqual(to: packet) { fail("connections: \(packet) is not \(right)") }
        if hasCanary, place == 2, sent[place].kind == 1 {
            fail("connections: \(packet) is not right")
        }
        return place
    }

    /// The same, shown to somebody who has to be shown all of a kind.
    func arrives(_ packet: any Packet, for log: ArrivalLog) -> Int? {
        guard let place = arrives(packet) else {
            log.isUncertain = true
            return nil
        }
        show(packet, at: place, to: log)
        return place
    }

    private func show(_ packet: any Packet, at place: Int, to log: ArrivalLog) {
        checkNoneMissed(log, before: place)
        guard log.advance(to: place) else {
            fail("connections: \(packet) is shown again, or to a late comer")
        }
    }

    /// The same for a listener, which is called a little later.
    func arrivesLater(_ packet: any Packet, for log: ArrivalLog) {
        guard let place = place(of: packet) else {
            log.isUncertain = true
            return
        }
        show(packet, at: place, to: log)
        see(place)
    }

    /// The same for what nobody wanted, perhaps after a consumer has gone.
    func arrivesUnhandled(_ packet: any Packet) {
        guard let place = place(of: packet) else { return }
        guard place > lastTaken, unhandled.insert(place).inserted else {
            fail("connections: \(packet) was taken, and nobody wanted it")
        }
        see(place)
    }

    /// The place of a packet that was received some time ago; `nil`: it may be unknown.
    private func place(of packet: any Packet) -> Int? {
        guard upcoming <= unknownFrom else { return nil }
        guard let place = SentPacket.number(of: packet), place < sent.count, place < upcoming else {
            fail("connections: \(packet) was received and never sent")
        }
        let isRight = [nil, Agreed(version: 1), Agreed(version: 2)].contains {
            sent[place].packet(where: $0).isEqual(to: packet)
        }
        guard isRight else { fail("connections: \(packet) is not packet \(place)") }
        return place
    }

    func checkNoneMissed(_ log: ArrivalLog, before end: Int) {
        for place in log.next..<max(log.next, end) where isKnown(place) && !gone.contains(place) {
            if log.kind.includes(sent[place]) == true {
                fail("connections: a \(log.kind) has missed packet \(place)")
            }
        }
    }

    func see(_ place: Int) { seen.insert(place) }

    /// The consumer of all has taken one; `previous` is what this iterator took before.
    func take(_ packet: any Packet, after previous: Int?) -> Int? {
        guard let place = place(of: packet) else { return nil }
        if place <= lastTaken || unhandled.contains(place) {
            fail("connections: \(packet) was taken twice, or is nobody's")
        }
        if let previous {
            for missed in previous + 1..<place where !gone.contains(missed) {
                fail("connections: packet \(missed) was kept from the consumer")
            }
        }
        lastTaken = place
        see(place)
        return place
    }

    /// Every packet that was received went to somebody; one may still be kept for a loop.
    func checkNoneLost() {
        guard unknownFrom == .max, !isClosedHere, !hasThrown, !isUncertain else { return }
        for place in 0..<upcoming where !seen.contains(place) && !gone.contains(place) {
            if let kept = pump?.slot, SentPacket.number(of: kept) == place { continue }
            fail("connections: packet \(place) went to nobody")
        }
    }

    // MARK: Bytes that are no packets

    /// So many bytes were read at a border.
    func read(_ bytes: [UInt8]) {
        guard !bytes.isEmpty, upcoming <= unknownFrom else { return }
        // The hook may have been in the middle of a packet.
        if hasReadingHook, hasEnded { return }
        let begin = borders[upcoming] ?? stream.count
        let end = begin + bytes.count
        guard end <= stream.count, Array(stream[begin..<end]) == bytes else {
            // Hostile bytes may stand there.
            if unknownFrom == .max { fail("connections: read \(bytes) between packets") }
            return
        }
        let first = upcoming
        while upcoming < sent.count, let border = borders[upcoming], border < end {
            gone.insert(upcoming)
            skipped += 1
        }
        if (borders[upcoming] ?? stream.count) != end { unknownFrom = min(unknownFrom, first) }
    }

    /// Bytes of the next packet, or of those after it.
    func size(of count: Int) -> Int {
        guard let begin = borders[upcoming] else { return count }
        return (borders[upcoming + count] ?? stream.count) - begin
    }

    /// The end came before the bytes that somebody wanted.
    func readWasCut() { unknownFrom = min(unknownFrom, upcoming) }

    /// The reader was replaced; what the old one still gives if nothing else has read from it.
    func replaceReader() -> [UInt8]? {
        let isKnown = upcoming <= unknownFrom && unknownFrom == .max
        let rest = Array(stream[(borders[min(upcoming, sent.count)] ?? stream.count)...])
        for place in min(upcoming, sent.count)..<sent.count { gone.insert(place) }
        skipped += sent.count - min(upcoming, sent.count)
        if unknownFrom != .max { unknownFrom = 0 }
        (stream, borders) = ([], [:])
        return isKnown ? rest : nil
    }

    // MARK: The end

    var hasEnded: Bool { pump?.ending != nil }

    /// Somebody was told that there are no more packets.
    func checkOrderlyEnd() {
        guard let pump else { return }
        if let error = pump.ending?.error {
            fail("connections: an end that was \(error) is told as an orderly one")
        }
        guard !isClosedHere else { return }
        guard pump.ending != nil, hasFinishedThere || unknownFrom != .max else {
            fail("connections: an end out of nothing")
        }
        if unknownFrom == .max, !hasReadingHook, cut == 0 {
            guard upcoming == sent.count else {
                fail("connections: ended at packet \(upcoming) of \(sent.count)")
            }
        }
    }

    /// Somebody was told this reason.
    func checkEnd(_ error: PacketError) {
        let isPossible =
            switch error {
            case .malformed, .limitExceeded, .desynchronized: unknownFrom != .max
            case .truncated:
                unknownFrom != .max || (hasFinishedThere && cut > 0) || isAbortedThere
            case .callbackThrew: hasThrown
            case .notReadable: hasLackedReader
            case .stream(.reset): isAbortedThere
            case .stream(.aborted): isAbortedHere
            default: false
            }
        guard isPossible else { fail("connections: ended with \(error)") }
        // The others are told of a lost stream once what came before has been read.
        if error == .notReadable { return }
        if case .stream(.reset) = error { return }
        if let end = pump?.ending?.error, end != error, !isClosedHere {
            fail("connections: ended with \(end), but somebody was told \(error)")
        }
    }
}
