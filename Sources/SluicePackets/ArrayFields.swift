// Fields made of other fields: arrays, optionals, records inside records. Floor 3; pure.

public import SluiceStreams

/// How an optional says whether it is there.
public enum Presence: Hashable, Sendable {
    /// A byte before it: 0 for nil.
    case flagged
    /// It is there if the packet has bytes left. Nothing may come behind it.
    case ifMore
}

extension FieldCoder {
    // MARK: Arrays

    /// An array of integers, Bools or floats.
    @inlinable
    public mutating func array<T: FieldScalar>(
        _ label: StaticString, _ values: inout [T], _ extent: Extent, _ order: Endianness? = nil
    ) {
        let size = MemoryLayout<T.WireBits>.size
        switch mode {
        case .decoding:
            guard let count = readCount(label, extent, size: size) else { return }
            let (bytes, isBig) = (cursor, (order ?? endianness) == .big)
            values = [T](unsafeUninitializedCapacity: count) { buffer, initialized in
                for index in 0..<count {
                    let bits = bytes.loadUnaligned(
                        fromByteOffset: index &* size, as: T.WireBits.self)
                    buffer.initializeElement(
                        at: index,
                        to: T(wireBits: isBig ? bits.bigEndian : bits.littleEndian))
                }
                initialized = count
            }
            cursor += count * size
        case .encoding:
            guard writeCount(label, extent, values.count) else { return }
            for value in values { store(value.wireBits, order) }
        case .sizing:
            if writeCount(label, extent, values.count) { skip(values.count * size) }
        case .describing: note(label, elements: values)
        }
    }

    /// An array of records.
    @inlinable
    public mutating func array<R: Record>(
        _ label: StaticString, _ values: inout [R], _ extent: Extent
    ) {
        array(label, &values, extent, of: R()) { wire, record in
            let outer = wire.endianness
            record.fields(&wire)
            wire.endianness = outer
        }
    }

    /// An array of anything.
    ///
    ///     wire.array("names", &names, .prefixed(.uint8), of: "") { wire, name in
    ///         wire.text("name", &name, .terminated)
    ///     }
    ///
    /// - Parameters:
    ///   - blank: an element before its fields are read.
    ///   - each: visits an element's fields. Elements that take no byte are refused after
    ///     ``PacketBounds/emptyElements`` of them in a packet.
    @inlinable
    public mutating func array<T>(
        _ label: StaticString, _ values: inout [T], _ extent: Extent,
        of blank: @autoclosure () -> T,
        each: (_ wire: inout FieldCoder, _ element: inout T) -> Void
    ) {
        guard let level = enter(label) else { return }
        if mode == .describing { beginNote(label, "[") }
        if mode == .decoding {
            let isToEnd = extent == .toEnd
            let count = isToEnd ? Int.max : readCount(label, extent, size: 0)
            var read: [T] = []
            while !hasFailed, isToEnd ? remaining > 0 : read.count < count ?? 0 {
                var element = blank()
                let before = remaining
                each(&self, &element)
                if remaining == before { countEmpty(label) }
                read.append(element)
            }
            if !hasFailed { values = read }
        } else if mode == .describing || writeCount(label, extent, values.count) {
            var left = mode == .describing ? Self.printedElements : .max
            for value in values where !hasFailed {
                if left == 0 {
                    printMore(values.count)
                    break
                }
                left -= 1
                var element = value
                let before = position
                each(&self, &element)
                if mode != .describing, position == before { countEmpty(label) }
            }
        }
        if mode == .describing { endNote("]") }
        leave(level, label)
    }

    @usableFromInline
    mutating func countEmpty(_ label: StaticString) {
        emptyElements -= 1
        if emptyElements < 0 {
            fail(label, "more than \(PacketBounds.emptyElements) elements of no bytes")
        }
    }

    // MARK: Optionals

    /// A number that may be absent.
    @inlinable
    public mutating func optional<T: FieldScalar>(
        _ label: StaticString, _ value: inout T?, _ presence: Presence = .flagged
    ) {
        optional(label, &value, presence, of: T(wireBits: 0)) { $0.value(label, &$1) }
    }

    /// A record that may be absent.
    @inlinable
    public mutating func optional<R: Record>(
        _ label: StaticString, _ value: inout R?, _ presence: Presence = .flagged
    ) {
        optional(label, &value, presence, of: R()) { $0.record(label, &$1) }
    }

    /// Anything that may be absent.
    ///
    /// - Parameters:
    ///   - blank: the value before its fields are read.
    ///   - body: visits the value's fields.
    @inlinable
    public mutating func optional<T>(
        _ label: StaticString, _ value: inout T?, _ presence: Presence = .flagged,
        of blank: @autoclosure () -> T, _ body: (_ wire: inout FieldCoder, _ value: inout T) -> Void
    ) {
        varies = true
        var isThere = value != nil
        switch (mode, presence) {
        case (.describing, _): if !isThere { note(label, words: "nil") }
        case (.decoding, .ifMore): isThere = remaining > 0
        case (_, .ifMore): break
        case (_, .flagged): self.value(label, &isThere)
        }
        guard !hasFailed else { return }
        guard isThere else {
            value = nil
            return
        }
        guard let level = enter(label) else { return }
        var present = value ?? blank()
        body(&self, &present)
        if !hasFailed { value = present }
        leave(level, nil)
    }

    // MARK: Records

    /// A record inside this one.
    @inlinable
    public mutating func record<R: Record>(_ label: StaticString, _ record: inout R) {
        guard let level = enter(label) else { return }
        if mode == .describing { beginNote(label, "(") }
        record.fields(&self)
        if mode == .describing { endNote(")") }
        leave(level, label)
    }

    /// What a nested field leaves as it was.
    @usableFromInline
    struct Level {
        @usableFromInline let depth: Int
        @usableFromInline let endianness: Endianness
    }

    /// Goes a level deeper, unless it has failed or is too deep.
    @usableFromInline
    mutating func enter(_ label: StaticString) -> Level? {
        guard !hasFailed else { return nil }
        guard depth < PacketBounds.nestingLimit else {
            fail(label, "more than \(PacketBounds.nestingLimit) levels")
            return nil
        }
        defer { depth += 1 }
        return Level(depth: depth, endianness: endianness)
    }

    /// Comes back.
    ///
    /// - Parameter label: stands before that of the field that has failed, if one has.
    @usableFromInline
    mutating func leave(_ level: Level, _ label: StaticString?) {
        (depth, endianness) = (level.depth, level.endianness)
        if hasFailed, let label { blame("\(label)") }
    }
}
