// Several fields in the bits of one integer. Floor 3; pure.

public import SluiceStreams

extension FieldCoder {
    /// Fields that share the bits of one unsigned integer.
    ///
    ///     wire.bits("flags", in: UInt8.self) { bits in
    ///         bits.flag("urgent", &isUrgent)          // 0x01
    ///         bits.value("kind", &kind, width: 3)     // 0x0E
    ///         bits.skip(4)                            // whatever they hold
    ///     }
    ///
    /// - Parameters:
    ///   - integer: of 8 to 64 bits.
    ///   - start: the end at which the first field lies, the lowest bit by default. Protocols that
    ///     draw their first field leftmost begin at the highest.
    ///   - body: visits the fields. Bits that none of them covers have to be zero.
    @inlinable
    public mutating func bits<W: FieldScalar & FixedWidthInteger & UnsignedInteger>(
        _ label: StaticString, in integer: W.Type, from start: BitFields.Start = .lowest,
        _ order: Endianness? = nil, _ body: (_ bits: inout BitFields) -> Void
    ) {
        guard W.bitWidth <= 64 else { return fail(label, "bits in more than 64") }
        var whole: W = 0
        if mode == .decoding {
            value(label, &whole, order)
            if hasFailed { return }
        }
        var bits = BitFields(
            mode: mode, whole: UInt64(whole), width: W.bitWidth, start: start)
        if mode == .describing { beginNote(label, "(") }
        body(&bits)
        end(&bits, label)
        if mode == .describing { return endNote(")") }
        if mode != .decoding {
            whole = W(truncatingIfNeeded: bits.whole)
            value(label, &whole, order)
        }
    }

    /// Takes over what went wrong, and what was printed.
    @usableFromInline
    mutating func end(_ bits: inout BitFields, _ label: StaticString) {
        for (name, words) in bits.notes { note(name, words: words) }
        if let failure = bits.failure {
            fail(label, failure)
        } else if mode == .decoding, bits.whole & ~bits.covered != 0 {
            fail(label, "a bit is set that has no meaning")
        }
    }
}

/// The fields in the bits of one integer.
public struct BitFields: ~Copyable {
    /// Where the first field lies.
    public enum Start: Hashable, Sendable {
        /// At the lowest bit: value 1.
        case lowest
        /// At the highest bit.
        case highest
    }

    let mode: FieldCoder.Mode
    @usableFromInline var whole: UInt64
    /// Bits of fields visited so far, in place.
    private(set) var covered: UInt64 = 0
    private let width: Int
    private let start: Start
    private var used = 0
    private(set) var failure: String?
    private(set) var notes: [(StaticString, String)] = []

    @usableFromInline
    init(mode: FieldCoder.Mode, whole: UInt64, width: Int, start: Start) {
        (self.mode, self.whole, self.width, self.start) = (mode, whole, width, start)
    }

    /// One bit.
    public mutating func flag(_ label: StaticString, _ value: inout Bool) {
        var bit: UInt64 = value ? 1 : 0
        guard visit(label, &bit, width: 1) else { return }
        if mode == .describing { return notes.append((label, "\(value)")) }
        value = bit != 0
    }

    /// A number of 0 or more in so many bits; one that does not fit is refused.
    public mutating func value<T: FixedWidthInteger>(
        _ label: StaticString, _ value: inout T, width: Int
    ) {
        if mode == .describing { return notes.append((label, "\(value)")) }
        var bits = UInt64(truncatingIfNeeded: value)
        if mode != .decoding, T(exactly: bits) != value {
            return fail("\(label): \(value) is below 0")
        }
        guard visit(label, &bits, width: width), mode == .decoding else { return }
        guard let exact = T(exactly: bits) else {
            return fail("\(label): \(bits) does not fit in \(T.self)")
        }
        value = exact
    }

    /// One of an enum's cases by its raw value; others are refused, unless it is ``Open``.
    public mutating func choice<C: RawRepresentable>(
        _ label: StaticString, _ choice: inout C, width: Int
    ) where C.RawValue: FixedWidthInteger {
        if mode == .describing { return notes.append((label, "\(choice)")) }
        var raw = choice.rawValue
        value(label, &raw, width: width)
        guard mode == .decoding, failure == nil else { return }
        guard let known = C(rawValue: raw) else { return fail("\(label): \(raw) is no \(C.self)") }
        choice = known
    }

    /// Bits without meaning: zeros are written, anything is read.
    public mutating func skip(_ width: Int) {
        var zero: UInt64 = 0
        _ = visit("skipped", &zero, width: width)
    }

    /// Reads or writes the next bits; false if that has failed.
    private mutating func visit(
        _ label: StaticString, _ bits: inout UInt64, width: Int
    ) -> Bool {
        guard failure == nil else { return false }
        guard width > 0, width <= self.width - used else {
            fail("\(label): \(width) bits where \(self.width - used) are left")
            return false
        }
        let shift = UInt64(start == .lowest ? used : self.width - used - width)
        let mask = (UInt64.max >> UInt64(64 - width)) << shift
        used += width
        covered |= mask
        if mode == .decoding {
            bits = (whole & mask) >> shift
        } else {
            guard bits <= mask >> shift else {
                fail("\(label): \(bits) does not fit \(width) bits")
                return false
            }
            whole |= bits << shift
        }
        return true
    }

    private mutating func fail(_ reason: String) {
        if failure == nil { failure = reason }
    }
}
