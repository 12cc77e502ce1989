// The fuzz target of records and packets: one input is the bytes of a record of every kind of
// field, then of a packet of a set. What can be read can be written, and is the same again; nothing
// traps, and nothing takes long. Chosen by SLUICE_FUZZ=fields.

import Sluice

/// One input. The first byte chooses the order of bytes, the header and the context.
func runFieldsInput(_ input: [UInt8]) {
    let choices = input.first ?? 0
    let bytes = Array(input.dropFirst())
    let endianness: Endianness = choices & 1 == 0 ? .little : .big
    let context: Version? = choices & 2 == 0 ? nil : Version(number: Int(choices >> 4))
    checkRepeats(
        RecordSerializer(Mixture.self, endianness, context: context), bytes, isSame: { $0 == $1 })
    do {
        let set: PacketSet = [Mixture.self, Nested.self]
        if choices & 4 == 0 {
            checkRepeats(
                try set.serializer(endianness, in: context), bytes, isSame: { $0.isEqual(to: $1) })
        } else {
            let serializer = try set.serializer(VarintHead.self, endianness, in: context)
            checkRepeats(serializer, bytes, isSame: { $0.isEqual(to: $1) })
            checkFraming(PacketFraming(VarintHead.self, endianness), serializer, bytes)
        }
    } catch {
        fail("the set is refused: \(error)")
    }
}

/// Reads, writes what was read, and reads that.
private func checkRepeats<S: Serializer>(
    _ serializer: S, _ bytes: [UInt8], isSame: (S.Packet, S.Packet) -> Bool
) {
    guard let packet = try? serializer.deserialize(bytes.span.bytes) else { return }
    // Printing takes longer than all the rest.
    let words = bytes.count % 8 == 0 ? "\(packet)" : ""
    do {
        let first = try written(packet, serializer)
        let again = try serializer.deserialize(first.span.bytes)
        guard try written(again, serializer) == first else {
            fail("written twice, \(packet) differs")
        }
        let isCanary = hasCanary && words.contains("kind: 3")
        guard isSame(packet, again), !isCanary else { fail("fields: \(packet) is not \(again)") }
    } catch {
        fail("what was read cannot be written and read again: \(packet): \(error)")
    }
}

private func written<S: Serializer>(
    _ packet: S.Packet, _ serializer: S
) throws(PacketError) -> [UInt8] {
    try PacketOutput.bytes { output throws(PacketError) in
        try serializer.serialize(packet, into: &output)
    }
}

/// A stream of frames: whole and byte by byte they are the same.
private func checkFraming<F: Framing, S: Serializer>(
    _ framing: F, _ serializer: S, _ bytes: [UInt8]
) {
    let whole = frames(framing, bytes, piece: bytes.count)
    let single = frames(framing, bytes, piece: 1)
    if whole != single { fail("frames differ by how they arrive: \(whole), \(single)") }
}

private func frames<F: Framing>(_ framing: F, _ bytes: [UInt8], piece: Int) -> [FramingStep] {
    var framing = framing
    var (steps, pending, arrived) = ([FramingStep](), [UInt8](), 0)
    while arrived < bytes.count {
        let next = min(bytes.count, arrived + max(1, piece))
        pending += bytes[arrived..<next]
        arrived = next
        loop: while !pending.isEmpty {
            let step = framing.nextFrame(in: pending.span.bytes)
            switch step {
            case .more, .begun: break loop
            case .frame(let payload, let used):
                guard used > 0, used <= pending.count, payload.upperBound <= used else {
                    fail("a frame outside its bytes: \(step)")
                }
                steps.append(step)
                pending.removeFirst(used)
            case .malformed, .poisoned:
                steps.append(step)
                return steps
            }
        }
    }
    return steps
}

private struct Version: Hashable, Sendable {
    var number = 0
}

private struct VarintHead: SizedPacketHeader {
    var size = 0
    var id: UInt64 = 0

    mutating func fields(_ wire: inout FieldCoder) {
        wire.varint("size", &size, .base128)
        wire.value("id", &id, as: UInt8.self)
    }
}

private struct Nested: Packet {
    static let id = PacketID { (version: Version) in UInt64(version.number) }
    var children: [Nested] = []
    var nothings: [Nothing] = []
    var list: [UInt64] = []

    mutating func fields(_ wire: inout FieldCoder) {
        wire.array("children", &children, .prefixed(.uint8))
        wire.array("nothings", &nothings, .prefixed(.uint64))
        wire.array("list", &list, .prefixed(.varint()))
    }
}

private struct Nothing: Record {
    mutating func fields(_ wire: inout FieldCoder) {}
}

/// Every kind of field but floats: one that is no number is not equal to itself.
private struct Mixture: Packet {
    static let id: PacketID = 0x2A
    var kind: UInt8 = 0
    var size: Int64 = 0
    var medium = 0
    var signed = 0
    var isOn = false
    var level: Int8 = 0
    var choice = Open<Sort>(rawValue: 0)
    var number: UInt64 = 0
    var small: Int8 = 0
    var text = ""
    var words: [String] = []
    var shorts: [Int16] = []
    var wide: Int128?
    var nested = Nested()
    var bytes: [UInt8] = []

    enum Sort: Int { case one = 1, two }

    mutating func fields(_ wire: inout FieldCoder) {
        wire.value("kind", &kind)
        switch kind & 7 {
        case 0: wire.value("size", &size)
        case 1: wire.value("medium", &medium, bytes: 5)
        case 2: wire.signedValue("signed", &signed, bytes: 7)
        case 3:
            wire.bits("flags", in: UInt16.self, from: .highest) { bits in
                bits.flag("isOn", &isOn)
                bits.value("level", &level, width: 8)
                bits.skip(3)
            }
        case 4: wire.choice("choice", &choice, as: Int8.self)
        case 5: wire.varint("number", &number)
        case 6: wire.signedVarint("small", &small, maxBytes: 3)
        default: if wire.context(or: Version()).number > 3 { wire.record("nested", &nested) }
        }
        wire.align(to: 4)
        switch kind >> 3 & 3 {
        case 0: wire.text("text", &text, .terminated)
        case 1: wire.text("text", &text, .padded(to: Int(size & 63)))
        case 2: wire.text("text", &text, .terminated(within: Int(clamping: size)))
        default: wire.text("text", &text, .prefixed(.uint64))
        }
        wire.array("words", &words, .prefixed(.uint16), of: "") { wire, word in
            wire.text("word", &word, .prefixed(.varint(.base128, maxBytes: 2)))
        }
        wire.array("shorts", &shorts, .count(size & 7))
        if kind >= 128 { wire.padding(Int(size & 15)) }
        wire.optional("wide", &wide)
        if kind & 64 != 0 { wire.bytes("bytes", &bytes, .toEnd) }
    }
}
