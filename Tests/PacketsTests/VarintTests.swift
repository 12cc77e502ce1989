// Integers in groups of seven bits, against the vectors of the systems that write them.

import Sluice
import SluiceTestKit
import Testing

@Suite struct VarintTests {
    @Test(
        arguments: [
            (0, [0x00]), (1, [0x01]), (127, [0x7F]), (128, [0x81, 0x00]), (255, [0x81, 0x7F]),
            (300, [0x82, 0x2C]), (16_383, [0xFF, 0x7F]), (16_384, [0x81, 0x80, 0x00]),
            (2_097_152, [0x81, 0x80, 0x80, 0x00]), (0xFFFF_FFFF, [0x8F, 0xFF, 0xFF, 0xFF, 0x7F]),
            (1 << 63, [0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00]),
            (.max, [0x81, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F]),
        ] as [(UInt64, [UInt8])])
    func `base 128 has the bytes of BSUInt`(_ value: UInt64, _ expected: [UInt8]) throws {
        try check(.base128, value, expected)
    }

    @Test(
        arguments: [
            (127, [0x7F]), (128, [0x80, 0x01]), (300, [0xAC, 0x02]),
            (1 << 32, [0x80, 0x80, 0x80, 0x80, 0x10]),
            (.max, [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]),
        ] as [(UInt64, [UInt8])])
    func `LEB128 has the bytes of ULEB128`(_ value: UInt64, _ expected: [UInt8]) throws {
        try check(.leb128, value, expected)
    }

    private func check(_ varint: Varint, _ value: UInt64, _ expected: [UInt8]) throws {
        #expect(PacketOutput.bytes { varint.append(value, to: &$0) } == expected)
        #expect(Varint.count(of: value) == expected.count)
        let read = try varint.read(expected.span.bytes)
        #expect(read?.value == value && read?.count == expected.count)
        for cut in 0..<expected.count {
            #expect(try varint.read(Array(expected.prefix(cut)).span.bytes) == nil)
        }
    }

    @Test func `longer forms are read, larger integers are malformed`() throws {
        #expect(try Varint.base128.read([0x80, 0x00].span.bytes)?.value == 0)
        #expect(try Varint.leb128.read([0x80, 0x00].span.bytes)?.value == 0)
        let tooLarge: [UInt8] = [0x82] + Array(repeating: 0x80, count: 8) + [0x00]
        #expect(throws: PacketError.self) { try Varint.base128.read(tooLarge.span.bytes) }
        let tooLargeToo: [UInt8] = Array(repeating: 0xFF, count: 9) + [0x02]
        #expect(throws: PacketError.self) { try Varint.leb128.read(tooLargeToo.span.bytes) }
        let endless = [UInt8](repeating: 0x80, count: 11)
        #expect(throws: PacketError.self) { try Varint.leb128.read(endless.span.bytes) }
        #expect(throws: PacketError.self) { try Varint.base128.read(endless.span.bytes) }
    }
}
