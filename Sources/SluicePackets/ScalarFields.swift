// Fields that are one number or one choice. Floor 3; pure.

public import SluiceStreams

extension FieldCoder {
    /// An integer, a `Bool` (one byte; everything but 0 is true), a `Float` or a `Double`.
    ///
    /// - Parameters:
    ///   - label: for errors and for printing; so in every field.
    ///   - value: read into, or written; so in every field.
    ///   - order: ``endianness`` by default; so in every field of several bytes.
    @inlinable
    public mutating func value<T: FieldScalar>(
        _ label: StaticString, _ value: inout T, _ order: Endianness? = nil
    ) {
        switch mode {
        case .decoding:
            if let bits = load(label, T.WireBits.self, order) { value = T(wireBits: bits) }
        case .encoding: store(value.wireBits, order)
        case .sizing: skip(MemoryLayout<T.WireBits>.size)
        case .describing: note(label, value)
        }
    }

    /// An integer that has another type on the wire than in the program. A value that the other
    /// side of it cannot hold is refused.
    ///
    ///     try wire.value("size", &size, as: UInt16.self)      // var size: Int
    @inlinable
    public mutating func value<T: FixedWidthInteger, W: FieldScalar & FixedWidthInteger>(
        _ label: StaticString, _ value: inout T, as wire: W.Type, _ order: Endianness? = nil
    ) {
        var onWire: W = 0
        if mode == .encoding {
            guard let exact = W(exactly: value) else { return failRange(label, value, W.self) }
            onWire = exact
        }
        if mode == .describing { return note(label, value) }
        self.value(label, &onWire, order)
        if mode == .decoding, !hasFailed {
            guard let exact = T(exactly: onWire) else { return failRange(label, onWire, T.self) }
            value = exact
        }
    }

    /// An integer of 0 or more in 1 to 8 bytes: 3 for the 24 bits that many protocols have.
    public mutating func value<T: FixedWidthInteger>(
        _ label: StaticString, _ value: inout T, bytes width: Int, _ order: Endianness? = nil
    ) {
        visit(label, &value, width, order, isSigned: false)
    }

    /// An integer of either sign in 1 to 8 bytes.
    public mutating func signedValue<T: FixedWidthInteger>(
        _ label: StaticString, _ value: inout T, bytes width: Int, _ order: Endianness? = nil
    ) {
        visit(label, &value, width, order, isSigned: true)
    }

    private mutating func visit<T: FixedWidthInteger>(
        _ label: StaticString, _ value: inout T, _ width: Int, _ order: Endianness?, isSigned: Bool
    ) {
        guard width > 0, width <= 8 else { return fail(label, "an integer has 1 to 8 bytes") }
        let isBig = (order ?? endianness) == .big
        /// What the lowest bytes stand for.
        func meaning(_ bits: UInt64) -> T? {
            let top = bits << UInt64(64 - 8 * width)
            return isSigned
                ? T(exactly: Int64(bitPattern: top) >> Int64(64 - 8 * width))
                : T(exactly: top >> UInt64(64 - 8 * width))
        }
        switch mode {
        case .decoding:
            guard let bytes = read(label, width) else { return }
            var bits: UInt64 = 0
            for index in 0..<width {
                bits = bits << 8 | UInt64(bytes[isBig ? index : width - 1 - index])
            }
            guard let exact = meaning(bits) else { return failRange(label, bits, T.self) }
            value = exact
        case .encoding:
            let bits = UInt64(truncatingIfNeeded: value)
            guard meaning(bits) == value else {
                return fail(label, "\(value) does not fit \(width) bytes")
            }
            for index in 0..<width {
                let place = isBig ? width - 1 - index : index
                store(UInt8(truncatingIfNeeded: bits >> UInt64(8 * place)), .big)
            }
        case .sizing: skip(width)
        case .describing: note(label, value)
        }
    }

    /// One of an enum's cases by its raw value, or an option set. Another value is refused, unless
    /// it is an ``Open`` choice.
    @inlinable
    public mutating func choice<C: RawRepresentable>(
        _ label: StaticString, _ choice: inout C, _ order: Endianness? = nil
    ) where C.RawValue: FieldScalar & FixedWidthInteger {
        self.choice(label, &choice, as: C.RawValue.self, order)
    }

    /// The same where the raw value has another type on the wire.
    @inlinable
    public mutating func choice<C: RawRepresentable, W: FieldScalar & FixedWidthInteger>(
        _ label: StaticString, _ choice: inout C, as wire: W.Type, _ order: Endianness? = nil
    ) where C.RawValue: FixedWidthInteger {
        if mode == .describing { return note(label, choice) }
        var raw = choice.rawValue
        value(label, &raw, as: W.self, order)
        if mode == .decoding, !hasFailed {
            guard let known = C(rawValue: raw) else {
                return fail(label, "\(raw) is no \(C.self)")
            }
            choice = known
        }
    }

    // MARK: In memory

    /// Reads an integer of its own size.
    @inlinable
    mutating func load<B: FixedWidthInteger>(
        _ label: StaticString, _ type: B.Type, _ order: Endianness?
    ) -> B? {
        guard end - cursor >= MemoryLayout<B>.size else {
            failShort(label, MemoryLayout<B>.size)
            return nil
        }
        let bits = cursor.loadUnaligned(as: B.self)
        cursor += MemoryLayout<B>.size
        return (order ?? endianness) == .big ? B(bigEndian: bits) : B(littleEndian: bits)
    }

    /// Writes an integer of its own size.
    @inlinable
    mutating func store<B: FixedWidthInteger>(_ bits: B, _ order: Endianness?) {
        if end - cursor < MemoryLayout<B>.size { flush() }
        let ordered = (order ?? endianness) == .big ? bits.bigEndian : bits.littleEndian
        cursor.storeBytes(of: ordered, as: B.self)
        cursor += MemoryLayout<B>.size
    }

    @usableFromInline @inline(never)
    mutating func failRange(_ label: StaticString, _ value: some BinaryInteger, _ type: Any.Type) {
        fail(label, "\(value) does not fit in \(type)")
    }
}
