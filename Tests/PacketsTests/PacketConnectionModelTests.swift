// Random packets in random pieces: a loop, a sequence, a listener and a task that watches again and
// again each see exactly what was sent of theirs, in order.

import Sluice
import SluiceTestKit
import Testing

@Suite struct PacketConnectionModelTests {
    private struct Sent {
        var bytes: [UInt8] = []
        var all: [String] = []
        var (asks, answers, notes): ([UInt32], [UInt32], [String]) = ([], [], [])

        init(_ random: inout SeededGenerator) throws {
            for number in 0..<UInt32.random(in: 1...120, using: &random) {
                let text = String(
                    repeating: "x", count: [0, 3, 700].randomElement(using: &random) ?? 0)
                let packet: any Packet
                switch Int.random(in: 0...3, using: &random) {
                case 0:
                    packet = Ask(key: number, text: text)
                    asks.append(number)
                case 1:
                    packet = Answer(key: number, text: text)
                    answers.append(number)
                case 2:
                    packet = Note(text: "\(number)")
                    notes.append("\(number)")
                default: packet = UnknownPacket(90, [UInt8(number)])
                }
                all.append("\(packet)")
                bytes += try frame(packet)
            }
        }
    }

    @Test(arguments: PairKind.allCases)
    func `whoever wants packets sees all of theirs, however the bytes come`(
        _ kind: PairKind
    ) async throws {
        let seed = UInt64.random(in: 0 ... .max)
        for round in 0..<10 as Range<UInt64> {
            try await withConnection(kind) { connection, far in
                var random = SeededGenerator(seed: seed &+ round)
                let sent = try Sent(&random)
                let answers = Shared<[UInt32]>([])
                connection.on(Answer.self) { answer in
                    if answer.key % 3 == 0 { await EventLoop.yield() }
                    answers.append(answer.key)
                }
                let bound = Int.random(in: 1...4, using: &random)
                let sequence = connection.packets(of: Ask.self, buffering: bound)
                let notes = await started {
                    var texts: [String] = []
                    while let note = try await connection.nextPacket(of: Note.self) {
                        texts.append(note.text)
                    }
                    return texts
                }
                let asks = await started {
                    var keys: [UInt32] = []
                    for try await ask in sequence {
                        keys.append(ask.key)
                        if ask.key % 2 == 0 { await settle() }
                    }
                    return keys
                }
                let all = await started {
                    var texts: [String] = []
                    for try await packet in connection.packets {
                        texts.append("\(packet)")
                        if texts.count % 5 == 0 { await EventLoop.yield() }
                    }
                    return texts
                }
                var rest = sent.bytes[...]
                while !rest.isEmpty {
                    let piece = rest.prefix(Int.random(in: 1...900, using: &random))
                    rest = rest.dropFirst(piece.count)
                    try await far.writer.send(Array(piece))
                    if Bool.random(using: &random) { await settle() }
                }
                try await far.finish()
                #expect(try await all.value == sent.all, "seed \(seed), round \(round)")
                #expect(try await asks.value == sent.asks, "seed \(seed), round \(round)")
                #expect(try await notes.value == sent.notes, "seed \(seed), round \(round)")
                try await eventually("the listeners are done") {
                    answers.value.count == sent.answers.count
                }
                #expect(answers.value == sent.answers, "seed \(seed), round \(round)")
                #expect(connection.statistics.received == UInt64(sent.all.count))
            }
        }
    }
}
