// Decoding what was encoded gives it back: 300 random packets for each codec that needs a library;
// 100,000 in a release build with SLUICE_LONG=1.

import Sluice
import SluiceJSON
import SluiceTestKit
import SluiceZlib
import Testing

@Suite struct RandomPacketTests {
    private let count = isLongRelease ? 100_000 : 300

    private func thing(_ random: inout SeededGenerator, depth: Int = 0) -> Thing {
        let parts = depth < 3 ? Int.random(in: 0...2, using: &random) : 0
        return Thing(
            id: Int(bitPattern: UInt(random.next() >> UInt64.random(in: 0...63, using: &random))),
            name: random.text(upTo: 8),
            values: (0..<Int.random(in: 0...3, using: &random)).map { _ in
                let number = Double(bitPattern: random.next())
                return number.isFinite ? number : 0
            },
            part: parts == 0 ? nil : (0..<parts).map { _ in thing(&random, depth: depth + 1) })
    }

    @Test func `random JSON comes back, by lines and concatenated`() throws {
        try checkRandomPackets(JSONLineCodec<Thing>.jsonLines(), count: count) { thing(&$0) }
        try checkRandomPackets(FramedCodec.concatenatedJSON(Thing.self), count: count) {
            thing(&$0)
        }
        try checkRandomPackets(FramedCodec.concatenatedJSON(Double.self), count: count) { random in
            Double(sign: .plus, exponent: .random(in: -900...900, using: &random), significand: 1.3)
        }
    }

    @Test func `random compressed packets come back`() throws {
        try checkRandomPackets(ZlibCodec(BytesSerializer(), limit: 400), count: count) {
            $0.bytes(upTo: 400)
        }
        let framed = FramedCodec(
            LineFraming(), Base64Serializer(ZlibSerializer(TextSerializer(), limit: 400)))
        try checkRandomPackets(framed, count: count) { $0.text(upTo: 60) }
    }
}
