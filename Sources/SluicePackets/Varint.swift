// Integers in groups of seven bits. Floor 3; pure.

/// How an integer is written in groups of seven bits, each byte's high bit saying that one follows.
public enum Varint: Sendable {
    /// Least significant group first: unsigned LEB128, as protocol buffers and DWARF have it.
    case leb128
    /// Most significant group first: base 128, as MIDI and cs.binary's BSUInt have it.
    case base128

    /// Bytes of the longest 64-bit integer.
    public static let longest = 10

    /// Reads an integer at `offset`.
    ///
    /// Forms longer than need be are read too, up to ``longest`` bytes.
    ///
    /// - Returns: the integer and how many bytes it takes; `nil` if more have to come.
    /// - Throws: ``PacketError/malformed(_:)`` for more than 64 bits, or more than ten bytes.
    public func read(
        _ bytes: RawSpan, at offset: Int = 0
    ) throws(PacketError) -> (value: UInt64, count: Int)? {
        precondition(offset >= 0, "an offset is 0 or more")
        var value: UInt64 = 0
        for index in 0..<Self.longest {
            guard bytes.byteCount - offset > index else { return nil }
            let byte = bytes.unsafeLoad(fromByteOffset: offset + index, as: UInt8.self)
            let group = UInt64(byte & 0x7F)
            switch self {
            case .leb128:
                if index == 9, group > 1 { throw .malformed("an integer of more than 64 bits") }
                value |= group << UInt64(7 * index)
            case .base128:
                if value >> 57 != 0 { throw .malformed("an integer of more than 64 bits") }
                value = value << 7 | group
            }
            if byte & 0x80 == 0 { return (value, index + 1) }
        }
        throw .malformed("an integer of more than \(Self.longest) bytes")
    }

    /// Appends an integer in its shortest form.
    public func append(_ value: UInt64, to output: inout PacketOutput) {
        let groups = max(1, (64 - value.leadingZeroBitCount + 6) / 7)
        for index in 0..<groups {
            let shift = UInt64(7 * (self == .leb128 ? index : groups - 1 - index))
            let more: UInt8 = index < groups - 1 ? 0x80 : 0
            output.append(byte: UInt8(truncatingIfNeeded: value >> shift) & 0x7F | more)
        }
    }

    /// Bytes of an integer's shortest form.
    public static func count(of value: UInt64) -> Int {
        max(1, (64 - value.leadingZeroBitCount + 6) / 7)
    }
}
