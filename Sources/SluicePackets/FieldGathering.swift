// What a coder does with bytes: takes those it reads, gathers those it writes. Floor 3; pure.

internal import Glibc
internal import SluiceStreams

extension FieldCoder {
    /// Whether all that was written still lies where it was gathered.
    @usableFromInline var isAllGathered: Bool { flushed == 0 }

    /// What was written, or the rest of it if it was too much to be gathered.
    @usableFromInline var gathered: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: base, count: cursor - base)
    }

    /// Replaces the first bytes that were written, by as many as it takes.
    @usableFromInline
    mutating func replaceBeginning(_ length: Int, with bytes: UnsafeRawBufferPointer) {
        let growth = bytes.count - length
        if flushed == 0, growth <= end - cursor, let source = bytes.baseAddress {
            if growth != 0 {
                memmove(base + bytes.count, base + length, cursor - base - length)
                cursor += growth
            }
            memcpy(base, source, bytes.count)
            return
        }
        flush()
        guard let output else { return }
        let place = output.pointee.count - flushed
        flushed += growth
        if growth == 0 { return output.pointee.overwrite(place, with: bytes) }
        // A length that takes more bytes than 0 does: by a varint, in a large packet.
        let rest = output.pointee.bytes(from: place + length)
        output.pointee.removeAll(from: place)
        output.pointee.append(bytes.bytes)
        output.pointee.append(rest)
    }

    /// Gives what was gathered to the output.
    @usableFromInline @inline(never)
    mutating func flush() {
        guard mode == .encoding, cursor > base else { return }
        let gathered = UnsafeRawBufferPointer(start: base, count: cursor - base)
        output?.pointee.append(gathered.bytes)
        flushed += gathered.count
        cursor = base
    }

    /// Writes bytes of any number, or counts them.
    mutating func write(_ bytes: UnsafeRawBufferPointer) {
        guard mode == .encoding else { return skip(bytes.count) }
        guard let source = bytes.baseAddress else { return }
        if bytes.count > end - cursor { flush() }
        if bytes.count > end - cursor {
            output?.pointee.append(bytes.bytes)
            flushed += bytes.count
        } else {
            memcpy(cursor, source, bytes.count)
            cursor += bytes.count
        }
    }

    /// Writes an array, a large one by reference.
    mutating func write(_ bytes: [UInt8]) {
        if mode == .encoding, bytes.count > Self.scratchSize, let output {
            flush()
            output.pointee.append(bytes)
            flushed += bytes.count
        } else {
            bytes.withUnsafeBytes { write($0) }
        }
    }

    /// Counts bytes that are not written.
    @usableFromInline
    mutating func skip(_ count: Int) {
        flushed += count
    }

    /// Takes bytes to read; `nil` if there are too few, which has failed then.
    mutating func read(_ label: StaticString, _ count: Int) -> UnsafeRawBufferPointer? {
        guard count <= remaining else {
            failShort(label, count)
            return nil
        }
        defer { cursor += count }
        return UnsafeRawBufferPointer(start: cursor, count: count)
    }
}

extension PacketOutput {
    /// Replaces bytes that this packet has appended.
    fileprivate mutating func overwrite(_ place: Int, with bytes: UnsafeRawBufferPointer) {
        for index in stride(from: 0, to: bytes.count, by: 8) {
            let width = min(8, bytes.count - index)
            var bits: UInt64 = 0
            for offset in 0..<width { bits |= UInt64(bytes[index + offset]) << UInt64(8 * offset) }
            fill(place + index, with: bits, width: width, .little)
        }
    }
}
