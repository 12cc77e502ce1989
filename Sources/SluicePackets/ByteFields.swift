// Bytes, texts, and bytes that mean nothing, as fields. Floor 3; pure.

internal import Glibc

extension FieldCoder {
    /// Raw bytes.
    public mutating func bytes(_ label: StaticString, _ value: inout [UInt8], _ extent: Extent) {
        switch mode {
        case .decoding:
            guard let count = readCount(label, extent, size: 1), let bytes = read(label, count)
            else { return }
            value = Array(bytes)
        case .encoding, .sizing:
            if writeCount(label, extent, value.count) { write(value) }
        case .describing: note(label, bytes: value)
        }
    }

    /// A text, as UTF-8; bytes that are not are refused.
    public mutating func text(_ label: StaticString, _ value: inout String, _ extent: TextExtent) {
        if mode == .describing { return note(label, text: value) }
        if mode == .decoding {
            guard let bytes = readText(label, extent) else { return }
            // Not `String(validating:)`, which is generic and looks its own types up in each call.
            guard
                let valid = try? UTF8Span(
                    validating: bytes.assumingMemoryBound(to: UInt8.self).span)
            else { return fail(label, "not UTF-8") }
            value = String(copying: valid)
        } else {
            var text = value
            text.withUTF8 { writeText(label, UnsafeRawBufferPointer($0), extent) }
        }
    }

    private mutating func readText(
        _ label: StaticString, _ extent: TextExtent
    ) -> UnsafeRawBufferPointer? {
        switch extent.kind {
        case .plain(let extent):
            return readCount(label, extent, size: 1).flatMap { read(label, $0) }
        case .terminated:
            guard let length = lengthBeforeNUL(of: rest) else {
                failShort(label, remaining + 1)
                return nil
            }
            defer { cursor += 1 }
            return read(label, length)
        case .terminatedWithin(let size), .padded(let size):
            guard let bytes = readFixed(label, size) else { return nil }
            guard let length = lengthBeforeNUL(of: bytes) else {
                if case .padded = extent.kind { return bytes }
                fail(label, "no NUL in \(size) bytes")
                return nil
            }
            return UnsafeRawBufferPointer(rebasing: bytes[..<length])
        }
    }

    private mutating func writeText(
        _ label: StaticString, _ bytes: UnsafeRawBufferPointer, _ extent: TextExtent
    ) {
        if case .plain(let extent) = extent.kind {
            if writeCount(label, extent, bytes.count) { write(bytes) }
            return
        }
        if lengthBeforeNUL(of: bytes) != nil {
            return fail(label, "a text that ends with NUL cannot hold one")
        }
        let size: Int
        switch extent.kind {
        case .terminatedWithin(let bytes): size = bytes
        case .padded(let bytes): size = bytes
        default:
            varies = true
            size = bytes.count + 1
        }
        // A NUL takes a byte, unless the text is all there is. The size may be anything.
        let room = if case .padded = extent.kind { size } else { size > 0 ? size - 1 : -1 }
        guard bytes.count <= room else {
            return fail(label, "\(bytes.count) bytes where there is room for \(max(0, room))")
        }
        write(bytes)
        writeZeros(label, size - bytes.count)
    }

    /// Bytes without meaning: zeros are written, anything is read.
    ///
    /// - Parameter count: 0 or more.
    public mutating func padding(_ count: Int) {
        switch mode {
        case .decoding: _ = readFixed("padding", count)
        case .encoding, .sizing:
            writeZeros("padding", count)
        case .describing: return
        }
    }

    /// Padding up to the next position that is a multiple of `alignment`, counted from the
    /// beginning of the packet's fields: what a C compiler puts before a field of that size.
    ///
    /// - Parameter alignment: 1 or more.
    public mutating func align(to alignment: Int) {
        guard alignment > 0 else { return fail("alignment", "\(alignment)") }
        let over = position % alignment
        if over != 0 { padding(alignment - over) }
    }

    private var rest: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: cursor, count: remaining)
    }

    /// A number that the record says, so it may be anything.
    private mutating func readFixed(_ label: StaticString, _ size: Int) -> UnsafeRawBufferPointer? {
        guard size >= 0 else {
            fail(label, "\(size) bytes")
            return nil
        }
        return read(label, size)
    }

    private mutating func writeZeros(_ label: StaticString, _ count: Int) {
        // Nothing else that is written is longer than what the program holds.
        guard count >= 0, count <= PacketBounds.frameLimit else {
            return fail(label, "\(count) bytes to fill up")
        }
        if mode == .sizing { return skip(count) }
        var left = count
        while left > 0 {
            if cursor == end { flush() }
            let step = min(left, end - cursor)
            memset(cursor, 0, step)
            cursor += step
            left -= step
        }
    }
}

private func lengthBeforeNUL(of bytes: UnsafeRawBufferPointer) -> Int? {
    guard let base = bytes.baseAddress, !bytes.isEmpty,
        let found = memchr(base, 0, bytes.count)
    else { return nil }
    return UnsafeRawPointer(found) - base
}
