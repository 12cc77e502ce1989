// Integers on the wire, as length prefixes and fields have them: no array for four bytes. Floor 2.

internal import SluiceReactor

/// The order of an integer's bytes.
public enum Endianness: Sendable {
    /// Most significant byte first: network order.
    case big
    /// Least significant byte first.
    case little
}

extension StreamReader {
    /// Reads an integer of its type's width, 1 to 8 bytes.
    ///
    /// A length from a peer is to be compared with a limit before it is used.
    ///
    /// - Parameters:
    ///   - type: a fixed-width integer of at most 64 bits.
    ///   - endianness: the order of the bytes; big by default.
    /// - Throws: as ``readExactly(_:)``, `truncated` among it.
    @inlinable
    public nonisolated(nonsending) func readInteger<T: FixedWidthInteger & Sendable>(
        as type: T.Type = T.self, endianness: Endianness = .big
    ) async throws(StreamError) -> T {
        precondition(T.bitWidth <= 64, "readInteger reads integers of at most 64 bits")
        let width = T.bitWidth / 8
        if let bits = bufferedInteger(width: width, endianness) {
            return T(truncatingIfNeeded: bits)
        }
        return T(truncatingIfNeeded: try await readIntegerSlowly(width: width, endianness))
    }

    @usableFromInline
    func bufferedInteger(width: Int, _ endianness: Endianness) -> UInt64? {
        guard mayTakeBuffered(), transport.state.pointee.input.count >= width else { return nil }
        return takeInteger(width: width, endianness)
    }

    @usableFromInline
    nonisolated(nonsending) func readIntegerSlowly(
        width: Int, _ endianness: Endianness
    ) async throws(StreamError) -> UInt64 {
        guard transport.isHome(#isolation) else {
            return try await hop { reader throws(StreamError) in
                try await reader.readIntegerSlowly(width: width, endianness)
            }
        }
        return try await reading { state, ended throws(StreamError) in
            if state.pointee.input.count >= width {
                return self.takeInteger(width: width, endianness)
            }
            if ended { throw .truncated(received: self.take(.max), expected: width) }
            return nil
        }
    }

    /// Removes `width` buffered bytes and returns them as an integer.
    private func takeInteger(width: Int, _ endianness: Endianness) -> UInt64 {
        let state = transport.state
        let bytes = state.pointee.input.bytes
        var bits: UInt64 = 0
        switch endianness {
        case .big: for index in 0..<width { bits = bits << 8 | UInt64(bytes[index]) }
        case .little: for index in 0..<width { bits |= UInt64(bytes[index]) << UInt64(8 * index) }
        }
        state.pointee.input.consume(width)
        return bits
    }
}

extension StreamWriter {
    /// Queues an integer's bytes; otherwise as `write(_:)` of bytes.
    ///
    /// - Parameters:
    ///   - integer: of a fixed-width type of at most 64 bits.
    ///   - endianness: the order of the bytes; big by default.
    @inlinable
    public func write<T: FixedWidthInteger>(
        integer: T, endianness: Endianness = .big
    ) throws(StreamError) {
        precondition(T.bitWidth <= 64, "write(integer:) writes integers of at most 64 bits")
        try write(bits: UInt64(truncatingIfNeeded: integer), width: T.bitWidth / 8, endianness)
    }

    @usableFromInline
    func write(bits: UInt64, width: Int, _ endianness: Endianness) throws(StreamError) {
        preconditionOnLoop("write(integer:)", twin: "send")
        let transport = self.transport
        let ordered =
            endianness == .big ? (bits << UInt64(64 - 8 * width)).bigEndian : bits.littleEndian
        try withUnsafeBytes(of: ordered) { bytes throws(StreamError) in
            try transport.enqueue(UnsafeRawBufferPointer(rebasing: bytes.prefix(width)))
        }
    }
}
