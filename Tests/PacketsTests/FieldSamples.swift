// What the tests of fields and packets share: the way out and in, and a record of every kind of
// field.

import Sluice
import SluiceTestKit
import Testing

/// The record's bytes, little endian as pak's.
func encoded<R: Record>(
    _ record: R, _ endianness: Endianness = .little, in context: (any Hashable & Sendable)? = nil
) throws(PacketError) -> [UInt8] {
    try record.encoded(endianness, in: context)
}

/// The record of the bytes, little endian as pak's.
func decoded<R: Record>(
    _ type: R.Type, _ bytes: [UInt8], _ endianness: Endianness = .little,
    in context: (any Hashable & Sendable)? = nil
) throws(PacketError) -> R {
    try R(decoding: bytes, endianness, in: context)
}

/// The record has these bytes, comes back from them, and from no beginning of them.
func check<R: Record>(
    _ record: R, _ expected: [UInt8]? = nil, _ endianness: Endianness = .little,
    sourceLocation: SourceLocation = #_sourceLocation
) throws {
    let bytes = try encoded(record, endianness)
    if let expected { #expect(bytes == expected, sourceLocation: sourceLocation) }
    #expect(try decoded(R.self, bytes, endianness) == record, sourceLocation: sourceLocation)
    for cut in bytes.indices {
        let beginning = try? decoded(R.self, Array(bytes.prefix(cut)), endianness)
        #expect(beginning != record, "cut at \(cut)", sourceLocation: sourceLocation)
    }
}

func malformed(_ reason: String) -> PacketError { .malformed(reason) }
func unencodable(_ reason: String) -> PacketError { .unencodable(reason) }

/// Every kind of field once, with conditions and counts that depend on fields before.
struct Everything: Record {
    struct Point: Record {
        var x: Int16 = 0
        var y: Int16 = 0

        mutating func fields(_ wire: inout FieldCoder) {
            wire.value("x", &x)
            wire.value("y", &y, .little)
        }
    }

    var small: UInt8 = 0
    var wide: Int64 = 0
    var medium = 0
    var signedMedium: Int32 = 0
    var ratio = 0.0
    var isUrgent = false
    var kind = 0
    var varint: UInt64 = 0
    var signed: Int32 = 0
    var choice = Open(Kind.first)
    var name = ""
    var word = ""
    var label = ""
    var count: UInt8 = 0
    var counted: [UInt16] = []
    var names: [String] = []
    var points: [Point] = []
    var point = Point()
    var level: UInt32?
    var corner: Point?
    var extra: Int32 = 0
    var payload: [UInt8] = []
    var last: UInt16 = 0

    mutating func fields(_ wire: inout FieldCoder) {
        wire.value("small", &small)
        wire.value("wide", &wide)
        wire.value("medium", &medium, bytes: 3)
        wire.signedValue("signedMedium", &signedMedium, bytes: 3, .little)
        wire.value("ratio", &ratio)
        wire.bits("flags", in: UInt16.self) { bits in
            bits.flag("isUrgent", &isUrgent)
            bits.value("kind", &kind, width: 9)
            bits.skip(6)
        }
        wire.varint("varint", &varint)
        wire.signedVarint("signed", &signed)
        wire.choice("choice", &choice, as: UInt16.self)
        wire.text("name", &name, .prefixed(.varint(maxBytes: 3)))
        wire.text("word", &word, .terminated)
        wire.text("label", &label, .padded(to: 6))
        wire.value("count", &count)
        wire.array("counted", &counted, .count(count))
        wire.array("names", &names, .prefixed(.uint16), of: "") { wire, name in
            wire.text("name", &name, .prefixed(.uint8))
        }
        wire.array("points", &points, .prefixed(.uint8))
        wire.align(to: 4)
        wire.record("point", &point)
        wire.optional("level", &level)
        wire.optional("corner", &corner)
        if small >= 128 { wire.value("extra", &extra) }
        wire.bytes("payload", &payload, .prefixed(.uint32))
        wire.value("last", &last)
    }

    static func random(using random: inout SeededGenerator) -> Everything {
        func text(_ count: Int, _ letters: [Character]) -> String {
            String((0..<count).map { _ in letters.randomElement(using: &random) ?? "a" })
        }
        func number<T: FixedWidthInteger>(_ range: ClosedRange<T>) -> T {
            Bool.random(using: &random)
                ? T.random(in: range, using: &random)
                : [range.lowerBound, range.upperBound].randomElement(using: &random) ?? 0
        }
        var it = Everything()
        it.small = number(0...255)
        it.wide = number(.min ... .max)
        it.medium = number(0...0xFF_FFFF)
        it.signedMedium = number(-0x80_0000...0x7F_FFFF)
        it.ratio = Double.random(in: -1e9...1e9, using: &random)
        it.isUrgent = Bool.random(using: &random)
        it.kind = number(0...511)
        it.varint = number(0 ... .max)
        it.signed = number(.min ... .max)
        it.choice = Open(rawValue: number(0...255))
        it.name = text(number(0...300), ["a", "é", "🙂", "\0"])
        it.word = text(number(0...30), ["a", "é"])
        it.label = text(number(0...6), ["a", "b"])
        it.count = number(0...20)
        it.counted = (0..<it.count).map { _ in number(0 ... .max) }
        it.names = (0..<number(0...5)).map { _ in text(number(0...9), ["x", "ü"]) }
        it.points = (0..<number(0...5)).map { _ in
            Point(x: number(.min ... .max), y: number(.min ... .max))
        }
        it.point.x = number(.min ... .max)
        it.level = Bool.random(using: &random) ? nil : number(0 ... .max)
        it.corner = Bool.random(using: &random) ? nil : Point(x: 1, y: number(.min ... .max))
        it.extra = it.small >= 128 ? number(.min ... .max) : 0
        it.payload = (0..<number(0...600)).map { _ in number(0...255) }
        it.last = number(0 ... .max)
        return it
    }
}
