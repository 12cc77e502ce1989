// Decoding what was encoded gives it back: 1,000 random packets for each codec without a library;
// 100,000 in a release build with SLUICE_LONG=1.

import Sluice
import SluiceTestKit
import Testing

@Suite struct RandomPacketTests {
    private let count = isLongRelease ? 100_000 : 1_000

    private func check<F: Framing>(
        _ framing: F, _ make: (inout SeededGenerator) -> [UInt8] = { $0.bytes(upTo: 200) }
    ) throws {
        try checkRandomPackets(
            FramedCodec(framing, BytesSerializer()), count: count, make)
    }

    @Test func `random frames that begin with their length come back`() throws {
        try check(LengthPrefixFraming(UInt8.self, limit: 200))
        try check(LengthPrefixFraming(UInt16.self, .little))
        try check(LengthPrefixFraming(UInt32.self, includesPrefix: true))
        try check(LengthPrefixFraming(UInt64.self))
        try check(VarintPrefixFraming(.leb128))
        try check(VarintPrefixFraming(.base128))
        try check(NetstringFraming())
        try check(HeaderFraming(headerSize: 3, length: UInt16.self, at: 1)) { random in
            let body = random.bytes(upTo: 200)
            return [.random(in: 0...255, using: &random), 0, UInt8(body.count)] + body
        }
    }

    @Test func `random frames that end with a separator come back`() throws {
        for separator in [[0], [13, 10, 13, 10], [1, 1, 2]] as [[UInt8]] {
            try check(SeparatorFraming(separator)) { random in
                // Of some other byte than the separator's first, or last.
                random.bytes(upTo: 200).map { $0 == separator[0] ? $0 &+ 3 : $0 }
            }
        }
        for terminator in [LineFraming.Terminator.lf, .crlf, .lenient] {
            try check(LineFraming(terminator)) { random in
                random.bytes(upTo: 200).map { $0 == 10 || $0 == 13 ? 0 : $0 }
            }
        }
        try check(FixedSizeFraming(7)) { random in
            (0..<7).map { _ in .random(in: 0...255, using: &random) }
        }
    }

    @Test func `random text, numbers, base64 and checksums come back`() throws {
        let text = FramedCodec(LengthPrefixFraming(), TextSerializer())
        try checkRandomPackets(text, count: count) { $0.text(upTo: 40) }
        let latin = FramedCodec(NetstringFraming(), TextSerializer(.latin1))
        try checkRandomPackets(latin, count: count) { random in
            var text = ""
            text.unicodeScalars.append(
                contentsOf: random.bytes(upTo: 60).map { Unicode.Scalar($0) })
            return text
        }
        try checkRandomPackets(ConverterTests.numbers, count: count) {
            Int.random(in: 0 ... .max, using: &$0)
        }
        let sum = Checksum(size: 1) { $0.withUnsafeBytes { [$0.reduce(7, ^)] } }
        let lines = FramedCodec(
            LineFraming(), Base64Serializer(ChecksumSerializer(BytesSerializer(), sum)))
        try checkRandomPackets(lines, count: count) { $0.bytes(upTo: 100) }
    }
}
