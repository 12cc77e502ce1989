// How much a field of many bytes or elements takes, and how that is said on the wire. Floor 3;
// pure.

/// How a count is written in front of what it counts. Wider ones have the coder's endianness.
public enum CountForm: Hashable, Sendable {
    /// One byte.
    case uint8
    /// Two bytes.
    case uint16
    /// Four bytes.
    case uint32
    /// Eight bytes.
    case uint64
    /// As few bytes as it needs, and no more than `maxBytes`, 1 to 10.
    case varint(Varint = .leb128, maxBytes: Int = Varint.longest)

    /// As few bytes as it needs, most significant group first: what stands before cs.binary's
    /// BSData and BSString.
    public static var base128: CountForm { .varint(.base128) }
}

/// How many elements, or bytes, a field has.
public struct Extent: Hashable, Sendable {
    enum Kind: Hashable, Sendable {
        case prefixed(CountForm), count(Int), toEnd
    }

    let kind: Kind

    /// Their number stands before them.
    public static func prefixed(_ form: CountForm) -> Extent { Extent(kind: .prefixed(form)) }

    /// So many: a constant, or what a field before says. A value of another number is not written.
    public static func count(_ count: some BinaryInteger) -> Extent {
        Extent(kind: .count(Int(clamping: count)))
    }

    /// All up to the end of the packet.
    public static var toEnd: Extent { Extent(kind: .toEnd) }
}

/// How many bytes a text has.
public struct TextExtent: Hashable, Sendable {
    enum Kind: Hashable, Sendable {
        case plain(Extent), terminated, terminatedWithin(Int), padded(Int)
    }

    let kind: Kind

    /// The number of its UTF-8 bytes stands before it.
    public static func prefixed(_ form: CountForm) -> TextExtent {
        TextExtent(kind: .plain(.prefixed(form)))
    }

    /// So many UTF-8 bytes: a constant, or what a field before says.
    public static func count(_ count: some BinaryInteger) -> TextExtent {
        TextExtent(kind: .plain(.count(count)))
    }

    /// All up to the end of the packet.
    public static var toEnd: TextExtent { TextExtent(kind: .plain(.toEnd)) }

    /// A NUL stands behind it, and none in it.
    public static var terminated: TextExtent { TextExtent(kind: .terminated) }

    /// So many bytes, of which the text's own, a NUL, and NULs to fill up: a C array of `char`.
    /// What is behind the first NUL is not looked at.
    public static func terminated(within bytes: Int) -> TextExtent {
        TextExtent(kind: .terminatedWithin(bytes))
    }

    /// So many bytes, of which the text's own, and NULs if it is shorter.
    public static func padded(to bytes: Int) -> TextExtent { TextExtent(kind: .padded(bytes)) }
}

extension FieldCoder {
    /// Reads or finds out how many elements there are; `nil` if that has failed.
    ///
    /// Nothing is allocated before: as many as were announced may be there.
    ///
    /// - Parameter size: bytes of an element, 1 or more; of those that may be empty 0.
    @usableFromInline
    mutating func readCount(_ label: StaticString, _ extent: Extent, size: Int) -> Int? {
        let announced: UInt64
        switch extent.kind {
        case .prefixed(let form):
            guard let count = readCount(label, form) else { return nil }
            announced = count
        case .count(let count):
            guard count >= 0 else {
                fail(label, "\(count) elements")
                return nil
            }
            announced = UInt64(count)
        case .toEnd:
            guard remaining % max(1, size) == 0 else {
                fail(label, "\(remaining) bytes are no multiple of \(size)")
                return nil
            }
            announced = UInt64(remaining / max(1, size))
        }
        let most = size > 0 ? remaining / size : remaining + emptyElements
        guard announced <= UInt64(most) else {
            // A header that lacks bytes is to be waited for, whatever field came first.
            if !hasFailed { isShort = true }
            fail(label, "\(announced) elements are announced, \(remaining) bytes are left")
            return nil
        }
        return Int(announced)
    }

    private mutating func readCount(_ label: StaticString, _ form: CountForm) -> UInt64? {
        switch form {
        case .uint8: load(label, UInt8.self, nil).map(UInt64.init)
        case .uint16: load(label, UInt16.self, nil).map(UInt64.init)
        case .uint32: load(label, UInt32.self, nil).map(UInt64.init)
        case .uint64: load(label, UInt64.self, nil)
        case .varint(let form, let maxBytes): readVarint(label, form, maxBytes)
        }
    }

    /// Writes or checks how many elements there are; false if that has failed.
    @usableFromInline
    mutating func writeCount(_ label: StaticString, _ extent: Extent, _ count: Int) -> Bool {
        switch extent.kind {
        case .prefixed(let form):
            varies = true
            writeCount(label, form, UInt64(count))
        case .count(let expected):
            if count != expected { fail(label, "\(count) elements where there are \(expected)") }
        case .toEnd:
            varies = true
        }
        return !hasFailed
    }

    private mutating func writeCount(_ label: StaticString, _ form: CountForm, _ count: UInt64) {
        if mode == .sizing { return }
        switch form {
        case .uint8: writeCount(label, UInt8(exactly: count), count)
        case .uint16: writeCount(label, UInt16(exactly: count), count)
        case .uint32: writeCount(label, UInt32(exactly: count), count)
        case .uint64: store(count, nil)
        case .varint(let form, let maxBytes): writeVarint(label, count, form, maxBytes)
        }
    }

    private mutating func writeCount<T: FixedWidthInteger>(
        _ label: StaticString, _ exact: T?, _ count: UInt64
    ) {
        guard let exact else { return failRange(label, count, T.self) }
        store(exact, nil)
    }
}
