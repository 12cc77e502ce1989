// Integers in groups of seven bits as fields. Floor 3; pure.

internal import SluiceStreams

extension FieldCoder {
    /// An integer of 0 or more in as few bytes as it needs: unsigned LEB128 by default.
    ///
    /// Longer forms than need be are read too. A negative value is refused.
    ///
    /// - Parameter maxBytes: the most that are read or written, 1 to 10.
    public mutating func varint<T: FixedWidthInteger>(
        _ label: StaticString, _ value: inout T, _ form: Varint = .leb128,
        maxBytes: Int = Varint.longest
    ) {
        varies = true
        switch mode {
        case .decoding:
            guard let number = readVarint(label, form, maxBytes) else { return }
            guard let exact = T(exactly: number) else {
                return failRange(label, number, T.self)
            }
            value = exact
        case .encoding:
            guard let number = UInt64(exactly: value) else {
                return failRange(label, value, UInt64.self)
            }
            writeVarint(label, number, form, maxBytes)
        case .sizing: return
        case .describing: note(label, value)
        }
    }

    /// An integer of either sign as LEB128 has it: the highest bit of the last group is the sign.
    ///
    /// - Parameter maxBytes: the most that are read or written, 1 to 10.
    public mutating func signedVarint<T: FixedWidthInteger>(
        _ label: StaticString, _ value: inout T, maxBytes: Int = Varint.longest
    ) {
        varies = true
        switch mode {
        case .decoding:
            guard let number = readSigned(label, maxBytes) else { return }
            guard let exact = T(exactly: number) else {
                return failRange(label, number, T.self)
            }
            value = exact
        case .encoding:
            guard let number = Int64(exactly: value) else {
                return failRange(label, value, Int64.self)
            }
            writeSigned(label, number, maxBytes)
        case .sizing: return
        case .describing: note(label, value)
        }
    }

    mutating func readVarint(
        _ label: StaticString, _ form: Varint, _ maxBytes: Int
    ) -> UInt64? {
        let rest = UnsafeRawBufferPointer(start: cursor, count: remaining)
        do throws(PacketError) {
            // At most one byte beyond the bound is looked at.
            if let read = try form.read(rest.bytes), read.count <= maxBytes {
                cursor += read.count
                return read.value
            }
        } catch {
            fail(label, "an integer of more than 64 bits")
            return nil
        }
        if rest.count >= maxBytes {
            fail(label, "an integer of more than \(maxBytes) bytes")
        } else {
            failShort(label, rest.count + 1)
        }
        return nil
    }

    mutating func writeVarint(
        _ label: StaticString, _ value: UInt64, _ form: Varint, _ maxBytes: Int
    ) {
        let groups = Varint.count(of: value)
        guard groups <= maxBytes else {
            return fail(label, "\(value) takes more than \(maxBytes) bytes")
        }
        for index in 0..<groups {
            let shift = UInt64(7 * (form == .leb128 ? index : groups - 1 - index))
            let more: UInt8 = index < groups - 1 ? 0x80 : 0
            store(UInt8(truncatingIfNeeded: value >> shift) & 0x7F | more, .big)
        }
    }

    private mutating func readSigned(_ label: StaticString, _ maxBytes: Int) -> Int64? {
        var value: UInt64 = 0
        let limit = min(max(1, maxBytes), Varint.longest)
        for index in 0..<limit {
            guard let byte = load(label, UInt8.self, .big) else { return nil }
            // The tenth group has one bit to give; the others repeat it.
            if index == 9, byte != 0, byte != 0x7F {
                fail(label, "an integer of more than 64 bits")
                return nil
            }
            let shift = 7 * (index + 1)
            value |= UInt64(byte & 0x7F) << UInt64(7 * index)
            if byte & 0x80 == 0 {
                let isNegative = byte & 0x40 != 0 && shift < 64
                return Int64(bitPattern: isNegative ? value | .max << UInt64(shift) : value)
            }
        }
        fail(label, "an integer of more than \(limit) bytes")
        return nil
    }

    private mutating func writeSigned(_ label: StaticString, _ value: Int64, _ maxBytes: Int) {
        // One bit is the sign's.
        let bits = 65 - (value < 0 ? ~value : value).leadingZeroBitCount
        let groups = (bits + 6) / 7
        guard groups <= maxBytes else {
            return fail(label, "\(value) takes more than \(maxBytes) bytes")
        }
        for index in 0..<groups {
            let more: UInt8 = index < groups - 1 ? 0x80 : 0
            store(UInt8(truncatingIfNeeded: value >> Int64(7 * index)) & 0x7F | more, .big)
        }
    }
}
