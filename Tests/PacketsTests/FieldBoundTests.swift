// What fields refuse before it costs anything: counts that are not there, elements of no bytes,
// depth; and misuse by the program, which is an error and no trap.

import Sluice
import SluiceTestKit
import Testing

@Suite struct FieldBoundTests {
    // P-f and the bounds of DESIGN 5: nothing is allocated for what was only announced.
    @Test func `a count is compared with the bytes that are left before anything is made`() {
        for count in [UInt64.max, 1 << 63, 1 << 62, 1 << 40, 5] {
            let bytes = withUnsafeBytes(of: count.littleEndian) { Array($0) } + [1, 2, 3, 4]
            let reason = "\(count) elements are announced, 4 bytes are left"
            #expect(throws: malformed("Counted<Bytes>.list.bytes: \(reason)")) {
                try decoded(Counted<Bytes>.self, bytes)
            }
            #expect(throws: malformed("Counted<Longs>.list.values: \(reason)")) {
                try decoded(Counted<Longs>.self, bytes)
            }
            guard count > 5 else { continue }
            #expect(throws: malformed("Counted<Records>.list.values.values: \(reason)")) {
                try decoded(Counted<Records>.self, bytes)
            }
        }
    }

    @Test func `elements of no bytes are refused after a bounded number, both ways`() throws {
        var list = Counted<Nothings>()
        list.list.values = Array(repeating: Nothing(), count: PacketBounds.emptyElements)
        try check(list)
        list.list.values.append(Nothing())
        let reason = "more than 1024 elements of no bytes"
        #expect(throws: unencodable("Counted<Nothings>.list.values.values: \(reason)")) {
            try encoded(list)
        }
        // The bound counts what a packet has, not what an array has.
        let tooMany = withUnsafeBytes(of: UInt64(1_025).littleEndian) { Array($0) }
        #expect(throws: PacketError.self) { try decoded(Counted<Nothings>.self, tooMany) }
        let many = tooMany + Array(repeating: 0, count: 100)
        #expect(throws: malformed("Counted<Nothings>.list.values.values: \(reason)")) {
            try decoded(Counted<Nothings>.self, many)
        }
        #expect(throws: malformed("NothingsToEnd.values.values: \(reason)")) {
            try decoded(NothingsToEnd.self, [1])
        }
    }

    @Test func `records inside records end at a bounded depth, both ways`() throws {
        var tree = Tree()
        for _ in 1..<PacketBounds.nestingLimit { tree = Tree(children: [tree]) }
        try check(tree)
        tree = Tree(children: [Tree(children: [tree])])
        #expect(throws: PacketError.self) { try encoded(tree) }
        let deep = [UInt8](repeating: 1, count: 100_000)
        #expect(throws: PacketError.self) { try decoded(Tree.self, deep) }
        var chain = Chain()
        for _ in 0..<20 { chain = Chain(next: [chain].randomElement().map { Box($0) }) }
        try check(chain)
        #expect(throws: PacketError.self) { try decoded(Chain.self, deep) }
    }

    /// Sizes that a record computes from the wire may be anything.
    @Test(arguments: [Int64.min, -1, .max])
    func `a size that makes no sense is an error and no trap`(_ size: Int64) throws {
        for field in 0..<6 {
            var record = Computed()
            record.size = size
            record.field = UInt8(field)
            record.isWriting = true
            let bytes = try encoded(record)
            #expect(throws: PacketError.self) { try decoded(Computed.self, bytes) }
            record.isWriting = false
            #expect(throws: PacketError.self) { try encoded(record) }
        }
    }

    @Test func `mistakes in a record are errors in both directions`() throws {
        struct TooManyBits: Record {
            mutating func fields(_ wire: inout FieldCoder) {
                wire.bits("bits", in: UInt8.self) {
                    $0.skip(4); $0.skip(5)
                }
            }
        }
        #expect(throws: unencodable("TooManyBits.bits: skipped: 5 bits where 4 are left")) {
            try encoded(TooManyBits())
        }
        #expect(throws: PacketError.self) { try decoded(TooManyBits.self, [0]) }
        struct Reserved: Record {
            var isOn = false
            mutating func fields(_ wire: inout FieldCoder) {
                wire.bits("bits", in: UInt8.self, from: .highest) { $0.flag("isOn", &isOn) }
            }
        }
        try check(Reserved(isOn: true), [0x80])
        #expect(throws: malformed("Reserved.bits: a bit is set that has no meaning")) {
            try decoded(Reserved.self, [0x81])
        }
        struct Checked: Record {
            var score: UInt8 = 0
            mutating func fields(_ wire: inout FieldCoder) {
                wire.value("score", &score)
                wire.check(score <= 100, "a score is at most 100")
            }
        }
        #expect(throws: malformed("Checked.rule: a score is at most 100")) {
            try decoded(Checked.self, [101])
        }
        #expect(throws: unencodable("Checked.rule: a score is at most 100")) {
            try encoded(Checked(score: 101))
        }
        #expect(Checked(score: 101).description == "Checked(score: 101)")
    }

    @Test func `large fields pass whole, by copy and by reference`() throws {
        struct Large: Record {
            var numbers: [UInt32] = []
            var text = ""
            var bytes: [UInt8] = []
            mutating func fields(_ wire: inout FieldCoder) {
                wire.array("numbers", &numbers, .prefixed(.uint32))
                wire.text("text", &text, .prefixed(.uint32))
                wire.padding(1_000)
                wire.bytes("bytes", &bytes, .toEnd)
            }
        }
        for count in [0, 60, 63, 64, 65, 255, 256, 257, 4_095, 4_096, 70_000] {
            let bytes = TestBytes.make(count: count)
            let large = Large(
                numbers: (0..<UInt32(count)).map { $0 &* 0x9E37_79B9 },
                text: String(repeating: "t", count: count), bytes: bytes)
            let wire = try encoded(large)
            #expect(wire.count == 1_008 + 6 * count)
            #expect(wire.suffix(count) == bytes[...])
            #expect(try decoded(Large.self, wire) == large)
        }
    }

    @Test func `an optional may be there if bytes are left, and a setting ends with its record`()
        throws
    {
        struct Little: Record {
            var value: UInt16 = 1
            mutating func fields(_ wire: inout FieldCoder) {
                wire.endianness = .little
                wire.value("value", &value)
            }
        }
        struct Mixed: Record {
            var first = Little()
            var second: UInt16 = 1
            var all = [Little()]
            var third: UInt16 = 1
            var last: UInt16?
            mutating func fields(_ wire: inout FieldCoder) {
                wire.record("first", &first)
                wire.value("second", &second)
                wire.array("all", &all, .count(1))
                wire.value("third", &third)
                wire.optional("last", &last, .ifMore)
            }
        }
        var mixed = Mixed()
        #expect(try encoded(mixed, .big) == [1, 0, 0, 1, 1, 0, 0, 1])
        #expect(try decoded(Mixed.self, [1, 0, 0, 1, 1, 0, 0, 1], .big) == mixed)
        mixed.last = 2
        #expect(try decoded(Mixed.self, [1, 0, 0, 1, 1, 0, 0, 1, 0, 2], .big) == mixed)
        #expect(try encoded(mixed, .big).count == 10)
    }
}

// MARK: Hostile shapes

private struct Counted<List: Record>: Record {
    var list = List()
    mutating func fields(_ wire: inout FieldCoder) { wire.record("list", &list) }
}

private struct Bytes: Record {
    var bytes: [UInt8] = []
    mutating func fields(_ wire: inout FieldCoder) {
        wire.bytes("bytes", &bytes, .prefixed(.uint64))
    }
}

private struct Longs: Record {
    var values: [UInt64] = []
    mutating func fields(_ wire: inout FieldCoder) {
        wire.array("values", &values, .prefixed(.uint64))
    }
}

private struct Records: Record {
    var values: [Longs] = []
    mutating func fields(_ wire: inout FieldCoder) {
        wire.array("values", &values, .prefixed(.uint64))
    }
}

private struct Nothing: Record {
    mutating func fields(_ wire: inout FieldCoder) {}
}

private struct Nothings: Record {
    var values: [Nothing] = []
    mutating func fields(_ wire: inout FieldCoder) {
        wire.array("values", &values, .prefixed(.uint64))
    }
}

private struct NothingsToEnd: Record {
    var values: [Nothing] = []
    mutating func fields(_ wire: inout FieldCoder) { wire.array("values", &values, .toEnd) }
}

private struct Tree: Record {
    var children: [Tree] = []
    mutating func fields(_ wire: inout FieldCoder) {
        wire.array("children", &children, .prefixed(.uint8))
    }
}

private final class Box: Equatable, Sendable {
    let chain: Chain
    init(_ chain: Chain) { self.chain = chain }
    static func == (left: Box, right: Box) -> Bool { left.chain == right.chain }
}

private struct Chain: Record {
    var next: Box?
    mutating func fields(_ wire: inout FieldCoder) {
        wire.optional("next", &next, of: Box(Chain())) { wire, box in
            var chain = box.chain
            chain.fields(&wire)
            box = Box(chain)
        }
    }
}

/// Fields whose size another field says; when it writes, only that one.
private struct Computed: Record {
    var size: Int64 = 0
    var field: UInt8 = 0
    var isWriting = false
    var bytes: [UInt8] = []
    var text = ""
    var values: [UInt32] = []

    mutating func fields(_ wire: inout FieldCoder) {
        wire.value("size", &size)
        wire.value("field", &field)
        if isWriting { return }
        switch field {
        case 0: wire.bytes("bytes", &bytes, .count(size))
        case 1: wire.text("text", &text, .count(size))
        case 2: wire.text("text", &text, .padded(to: Int(size)))
        case 3: wire.text("text", &text, .terminated(within: Int(size)))
        case 4: wire.array("values", &values, .count(size))
        default: wire.padding(Int(size))
        }
    }
}
