// Records: whatever they hold comes back, whatever the peer sends is a record or malformed, and
// nothing announced costs more than what is there.

import Sluice
import SluiceTestKit
import Testing

@Suite struct RecordTests {
    @Test func `random records of every kind of field come back, in both orders`() throws {
        var random = SeededGenerator()
        for _ in 0..<(isLongRelease ? 100_000 : 200) {
            let record = Everything.random(using: &random)
            for endianness in [Endianness.little, .big] {
                let bytes = try encoded(record, endianness)
                let back = try decoded(Everything.self, bytes, endianness)
                #expect(back == record, "SLUICE_SEED=\(random.seed)")
            }
        }
    }

    @Test func `a record cut off at every byte is malformed`() throws {
        var random = SeededGenerator()
        for _ in 0..<3 {
            let bytes = try encoded(Everything.random(using: &random))
            for cut in bytes.indices {
                #expect(throws: PacketError.self, "SLUICE_SEED=\(random.seed), cut at \(cut)") {
                    try decoded(Everything.self, Array(bytes.prefix(cut)))
                }
            }
        }
    }

    @Test func `what can be read of spoilt bytes can be written, and is the same again`() throws {
        var random = SeededGenerator()
        var wasRead = 0
        for _ in 0..<(isLongRelease ? 100_000 : 500) {
            var it = Everything.random(using: &random)
            it.payload = []
            var bytes = try encoded(it)
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                let index = Int.random(in: bytes.indices, using: &random)
                bytes[index] = UInt8.random(in: 0...255, using: &random)
            }
            guard let record = try? decoded(Everything.self, bytes) else { continue }
            wasRead += 1
            // Bytes are compared: a number that is none is not equal to itself.
            let again = try encoded(record)
            let back = try encoded(decoded(Everything.self, again))
            #expect(back == again, "SLUICE_SEED=\(random.seed)")
        }
        #expect(wasRead > 10)
    }

    @Test func `records of fixed size pass the codec suite, and others have none`() throws {
        struct Sample: Record {
            var id: UInt32 = 0
            var isOn = false
            var name = ""
            var point = Everything.Point()

            mutating func fields(_ wire: inout FieldCoder) {
                wire.value("id", &id)
                wire.value("isOn", &isOn)
                wire.align(to: 4)
                wire.text("name", &name, .terminated(within: 8))
                wire.record("point", &point)
            }
        }
        #expect(Sample.fixedSize == 20)
        #expect(Everything.fixedSize == nil)
        var samples = [Sample(), Sample(id: .max, isOn: true, name: "abcdefg")]
        samples[1].point = .init(x: -1, y: 0x0102)
        #expect(
            try encoded(samples[1])
                == [255, 255, 255, 255, 1, 0, 0, 0] + Array("abcdefg\0".utf8) + [255, 255, 2, 1])
        for endianness in [Endianness.little, .big] {
            try checkCodec(
                RecordCodec.records(Sample.self, endianness),
                samples.map { (sent: $0, received: $0) })
        }
    }

    @Test func `records pass the codec suite over two framings`() throws {
        var random = SeededGenerator()
        let records = (0..<5).map { _ in
            var record = Everything.random(using: &random)
            record.payload = Array(record.payload.prefix(20))
            record.name = "n"
            return record
        }
        let packets = records.map { (sent: $0, received: $0) }
        let serializer = RecordSerializer(Everything.self, .big)
        try checkCodec(FramedCodec(LengthPrefixFraming(UInt16.self), serializer), packets)
        try checkCodec(FramedCodec(VarintPrefixFraming(.base128), serializer), packets)
    }

    @Test func `a record prints its fields, and long ones are cut short`() {
        var it = Everything()
        it.names = ["x"]
        it.points = [.init(x: 1, y: 2)]
        it.payload = Array(0..<20)
        it.name = String(repeating: "n", count: 70)
        it.counted = Array(repeating: 7, count: 18)
        let text = it.description
        #expect(text.hasPrefix("Everything(small: 0, wide: 0, "))
        #expect(text.contains("flags: (isUrgent: false, kind: 0)"))
        #expect(text.contains("choice: Open<Kind>(rawValue: 1)"))
        #expect(text.contains("name: \"\(String(repeating: "n", count: 64))\"… 70, word: \"\""))
        #expect(text.contains("7, 7, … 18]"))
        #expect(text.contains("names: [name: \"x\"], points: [x: 1, y: 2], point: (x: 0, y: 0)"))
        #expect(text.contains("level: nil, corner: nil"))
        #expect(text.contains("payload: <000102030405060708090a0b0c0d0e0f… 20>, last: 0)"))
        #expect(!text.contains("extra"))
        it.names = Array(repeating: String(repeating: "ü", count: 300), count: 100)
        #expect(it.description.utf8.count < 8_192)
        #expect(it.description.contains(", … 100]"))
        // One character to the reader, and as long as its sender likes.
        it.names = ["e" + String(repeating: "\u{301}", count: 50_000)]
        #expect(it.description.utf8.count < 8_192)
    }

    @Test func `the place of an error is named down to the field`() throws {
        var it = Everything()
        it.names = ["abc"]
        var bytes = try encoded(it)
        let index = try #require(bytes.firstRange(of: Array("abc".utf8))?.lowerBound)
        bytes[index] = 0xFF
        #expect(throws: malformed("Everything.names.name: not UTF-8")) {
            try decoded(Everything.self, bytes)
        }
        it.names = [String(repeating: "n", count: 256)]
        #expect(throws: unencodable("Everything.names.name: 256 does not fit in UInt8")) {
            try encoded(it)
        }
        it.names = []
        it.kind = 512
        #expect(throws: unencodable("Everything.flags: kind: 512 does not fit 9 bits")) {
            try encoded(it)
        }
        it.kind = -1
        #expect(throws: unencodable("Everything.flags: kind: -1 is below 0")) { try encoded(it) }
        it.kind = 0
        it.medium = 1 << 24
        #expect(throws: unencodable("Everything.medium: 16777216 does not fit 3 bytes")) {
            try encoded(it)
        }
    }
}
