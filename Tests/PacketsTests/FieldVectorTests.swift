// Each kind of field has the bytes that pak 1.1.2 gives it (PACKETS 72). What pak does wrong is an
// error here, and stands beside its vector.

import Sluice
import SluiceTestKit
import Testing

@Suite struct FieldVectorTests {
    // PACKETS 72
    @Test func `numbers have pak's bytes in both orders`() throws {
        try check(Number<UInt16>(value: 258), [0x02, 0x01])
        try check(Number<UInt16>(value: 258), [0x01, 0x02], .big)
        try check(Number<Int32>(value: -2), [0xFE, 0xFF, 0xFF, 0xFF])
        try check(Number<Float>(value: 1.5), [0x00, 0x00, 0xC0, 0x3F])
        try check(Number<Double>(value: 1), [0x3F, 0xF0, 0, 0, 0, 0, 0, 0], .big)
        try check(Number<Int8>(value: -1), [0xFF])
        try check(Number<UInt64>(value: 1), [1, 0, 0, 0, 0, 0, 0, 0])
        try check(Number<Int128>(value: -2), [0xFE] + Array(repeating: 0xFF, count: 15))
        try check(Number<Int128>(value: .min), [0x80] + Array(repeating: 0, count: 15), .big)
        try check(Flag(value: true), [0x01])
        #expect(try decoded(Flag.self, [0x02]).value)
    }

    // PACKETS 72
    @Test(
        arguments: [
            (127, [0x7F]), (128, [0x80, 0x01]), (300, [0xAC, 0x02]),
            (1 << 32, [0x80, 0x80, 0x80, 0x80, 0x10]),
        ] as [(Int, [UInt8])])
    func `ULEB128 has pak's bytes`(_ value: Int, _ bytes: [UInt8]) throws {
        try check(Unsigned(value: value), bytes)
    }

    // PACKETS 72
    @Test(
        arguments: [
            (63, [0x3F]), (64, [0xC0, 0x00]), (-1, [0x7F]), (-64, [0x40]), (-65, [0xBF, 0x7F]),
            (-129, [0xFF, 0x7E]), (0, [0x00]),
            (.max, Array(repeating: 0xFF, count: 9) + [0x00]),
            (.min, Array(repeating: 0x80, count: 9) + [0x7F]),
        ] as [(Int64, [UInt8])])
    func `LEB128 has pak's bytes`(_ value: Int64, _ bytes: [UInt8]) throws {
        try check(Signed(value: value), bytes)
    }

    // PACKETS 72, P-f: pak never returns.
    @Test func `a negative ULEB128 is refused, and so is one over its bytes`() throws {
        #expect(throws: unencodable("Unsigned.value: -1 does not fit in UInt64")) {
            try encoded(Unsigned(value: -1))
        }
        try check(Limited(value: 16_383), [0xFF, 0x7F])
        #expect(throws: unencodable("Limited.value: 16384 takes more than 2 bytes")) {
            try encoded(Limited(value: 16_384))
        }
        #expect(throws: malformed("Limited.value: an integer of more than 2 bytes")) {
            try decoded(Limited.self, [0xFF, 0xFF, 0xFF])
        }
        #expect(throws: malformed("Limited.value: an integer of more than 2 bytes")) {
            try decoded(Limited.self, [0xFF, 0xFF])
        }
        #expect(throws: malformed("Limited.value: 2 bytes are needed, 1 are left")) {
            try decoded(Limited.self, [0xFF])
        }
        let tooLarge = [UInt8](repeating: 0xFF, count: 9) + [0x02]
        #expect(throws: malformed("Unsigned.value: an integer of more than 64 bits")) {
            try decoded(Unsigned.self, tooLarge)
        }
        #expect(throws: malformed("Signed.value: an integer of more than 64 bits")) {
            try decoded(Signed.self, tooLarge)
        }
        // Fits 64 bits, not the property.
        #expect(throws: malformed("Unsigned.value: 9223372036854775808 does not fit in Int")) {
            try decoded(Unsigned.self, Array(repeating: 0x80, count: 9) + [0x01])
        }
    }

    // PACKETS 72
    @Test func `texts have pak's bytes, and what is no text is refused`() throws {
        try check(Prefixed(text: "hé"), [0x03, 0x68, 0xC3, 0xA9])
        #expect(throws: malformed("Prefixed.text: 5 elements are announced, 2 bytes are left")) {
            try decoded(Prefixed.self, [0x05, 0x61, 0x62])
        }
        // pak makes U+FFFD of it.
        #expect(throws: malformed("Prefixed.text: not UTF-8")) {
            try decoded(Prefixed.self, [0x02, 0xC3, 0x28])
        }
        try check(Prefixed(text: String(repeating: "x", count: 255)))
        #expect(throws: unencodable("Prefixed.text: 256 does not fit in UInt8")) {
            try encoded(Prefixed(text: String(repeating: "x", count: 256)))
        }
        try check(Terminated(text: "ab"), [0x61, 0x62, 0x00])
        try check(Terminated(text: ""), [0x00])
        try check(Static(text: "ab"), [0x61, 0x62, 0x00, 0x00])
        #expect(throws: unencodable("Static.text: 4 bytes where there is room for 3")) {
            try encoded(Static(text: "abcd"))
        }
        #expect(throws: malformed("Static.text: no NUL in 4 bytes")) {
            try decoded(Static.self, [0x61, 0x62, 0x63, 0x64])
        }
        #expect(try decoded(Static.self, [0x61, 0x00, 0x63, 0x64]).text == "a")
        try check(Padded(text: "abcd"), [0x61, 0x62, 0x63, 0x64])
        try check(Padded(text: "a"), [0x61, 0, 0, 0])
        #expect(throws: unencodable("Padded.text: 5 bytes where there is room for 4")) {
            try encoded(Padded(text: "abcde"))
        }
    }

    // P-f: pak writes 61 00 62 00, which reads as another text.
    @Test func `a NUL inside a text that ends with one is refused`() {
        #expect(throws: unencodable("Terminated.text: a text that ends with NUL cannot hold one")) {
            try encoded(Terminated(text: "a\0b"))
        }
        #expect(throws: PacketError.self) { try encoded(Static(text: "\0")) }
        #expect(throws: PacketError.self) { try encoded(Padded(text: "a\0")) }
        #expect(throws: malformed("Terminated.text: 3 bytes are needed, 2 are left")) {
            try decoded(Terminated.self, [0x61, 0x62])
        }
    }

    // PACKETS 72
    @Test func `arrays have pak's bytes`() throws {
        try check(Shorts(values: [1, 2]), [0x02, 0x01, 0x00, 0x02, 0x00])
        try check(RawBytes(bytes: Array("xyz".utf8)), [0x03, 0x78, 0x79, 0x7A])
        try check(ShortsToEnd(values: [1, 2]), [0x01, 0x00, 0x02, 0x00])
        try check(ShortsToEnd(values: []), [])
        // pak drops the fifth byte.
        #expect(throws: malformed("ShortsToEnd.values: 5 bytes are no multiple of 2")) {
            try decoded(ShortsToEnd.self, [0x01, 0x00, 0x02, 0x00, 0x03])
        }
    }

    // P-f: pak cuts four values and fills two up.
    @Test func `a fixed array of another size is refused`() throws {
        try check(Three(values: [1, 2, 3]), [1, 2, 3])
        for values in [[1, 2], [1, 2, 3, 4]] as [[UInt8]] {
            #expect(
                throws: unencodable("Three.values: \(values.count) elements where there are 3")
            ) {
                try encoded(Three(values: values))
            }
        }
    }

    // PACKETS 72
    @Test func `optionals and enums have pak's bytes`() throws {
        try check(MaybeByte(value: nil), [0x00])
        try check(MaybeByte(value: 7), [0x01, 0x07])
        try check(Chosen(kind: .second), [0x02])
        #expect(throws: malformed("Chosen.kind: 9 is no Kind")) { try decoded(Chosen.self, [9]) }
        try check(OpenlyChosen(kind: Open(rawValue: 9)), [0x09])
        #expect(try decoded(OpenlyChosen.self, [0x02]).kind.known == .second)
        #expect(try decoded(OpenlyChosen.self, [0x09]).kind.known == nil)
    }

    // P-f: pak ignores them.
    @Test func `bytes behind the last field are refused, or dropped by an option`() throws {
        #expect(throws: malformed("Flag.end: 1 bytes are left behind the last field")) {
            try decoded(Flag.self, [1, 2])
        }
        let lenient = RecordSerializer(Flag.self, .big, trailing: .ignored)
        #expect(try lenient.deserialize(([1, 2] as [UInt8]).span.bytes).value)
    }
}

// MARK: Records of one field

private struct Number<T: FieldScalar & ExpressibleByIntegerLiteral>: Record {
    var value: T = 0
    mutating func fields(_ wire: inout FieldCoder) { wire.value("value", &value) }
}

private struct Flag: Record {
    var value = false
    mutating func fields(_ wire: inout FieldCoder) { wire.value("value", &value) }
}

private struct Unsigned: Record {
    var value = 0
    mutating func fields(_ wire: inout FieldCoder) { wire.varint("value", &value) }
}

private struct Limited: Record {
    var value = 0
    mutating func fields(_ wire: inout FieldCoder) { wire.varint("value", &value, maxBytes: 2) }
}

private struct Signed: Record {
    var value: Int64 = 0
    mutating func fields(_ wire: inout FieldCoder) { wire.signedVarint("value", &value) }
}

private struct Prefixed: Record {
    var text = ""
    mutating func fields(_ wire: inout FieldCoder) { wire.text("text", &text, .prefixed(.uint8)) }
}

private struct Terminated: Record {
    var text = ""
    mutating func fields(_ wire: inout FieldCoder) { wire.text("text", &text, .terminated) }
}

private struct Static: Record {
    var text = ""
    mutating func fields(_ wire: inout FieldCoder) {
        wire.text("text", &text, .terminated(within: 4))
    }
}

private struct Padded: Record {
    var text = ""
    mutating func fields(_ wire: inout FieldCoder) { wire.text("text", &text, .padded(to: 4)) }
}

private struct Shorts: Record {
    var values: [UInt16] = []
    mutating func fields(_ wire: inout FieldCoder) {
        wire.array("values", &values, .prefixed(.uint8))
    }
}

private struct RawBytes: Record {
    var bytes: [UInt8] = []
    mutating func fields(_ wire: inout FieldCoder) {
        wire.bytes("bytes", &bytes, .prefixed(.uint8))
    }
}

private struct ShortsToEnd: Record {
    var values: [UInt16] = []
    mutating func fields(_ wire: inout FieldCoder) { wire.array("values", &values, .toEnd) }
}

private struct Three: Record {
    var values: [UInt8] = [0, 0, 0]
    mutating func fields(_ wire: inout FieldCoder) { wire.array("values", &values, .count(3)) }
}

private struct MaybeByte: Record {
    var value: UInt8?
    mutating func fields(_ wire: inout FieldCoder) { wire.optional("value", &value) }
}

enum Kind: UInt8 { case first = 1, second }

private struct Chosen: Record {
    var kind = Kind.first
    mutating func fields(_ wire: inout FieldCoder) { wire.choice("kind", &kind) }
}

private struct OpenlyChosen: Record {
    var kind = Open(Kind.first)
    mutating func fields(_ wire: inout FieldCoder) { wire.choice("kind", &kind) }
}
