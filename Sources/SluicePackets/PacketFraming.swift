// Frames whose header says how long they are. Floor 3; pure.

public import SluiceStreams

/// Frames that begin with a header that says the size of what follows.
///
/// A frame is the header and the fields, as ``PacketSerializer`` with the same header has them. A
/// header that makes no sense or is longer than 256 bytes, and a size over the limit, poison the
/// stream.
public struct PacketFraming<Header: SizedPacketHeader>: Framing {
    /// The order of the header's bytes.
    public let endianness: Endianness
    /// What the header's fields may depend on.
    public let context: (any Hashable & Sendable)?
    /// Bytes of a packet's fields, 0 or more.
    public let limit: Int

    /// Frames with this header.
    ///
    /// - Parameters:
    ///   - header: the type.
    ///   - endianness: as the serializer's.
    ///   - context: as the serializer's.
    ///   - limit: bytes of the fields, 1 MiB by default.
    public init(
        _ header: Header.Type = Header.self, _ endianness: Endianness,
        in context: (any Hashable & Sendable)? = nil, limit: Int = PacketBounds.frameLimit
    ) {
        precondition(limit >= 0, "a frame's limit is 0 bytes or more")
        self.endianness = endianness
        self.context = context
        self.limit = limit
    }

    /// Reads the header once it is whole, and waits for as much as it says.
    public mutating func nextFrame(in bytes: RawSpan) -> FramingStep {
        let count = bytes.byteCount
        switch readHeader(bytes) {
        case .success(let header?):
            guard header.size <= limit else { return .poisoned(.limitExceeded(limit: limit)) }
            let (end, isOver) = header.bytes.addingReportingOverflow(header.size)
            if isOver { return .poisoned(.limitExceeded(limit: limit)) }
            if count < end { return .lacking(end - count, prefix: 0, count: end) }
            return .frame(0..<end, used: end)
        case .success(nil):
            return .more(missing: 1, used: 0)
        case .failure(let error): return .poisoned(error)
        }
    }

    /// Nothing is missing, unless the packet is too long.
    public func seal(_ output: inout PacketOutput, payload: Int) throws(PacketError) {
        guard output.count - payload > limit else { return }
        // Perhaps only together with its header.
        let bytes = output.bytes(from: payload)
        if case .success(let header?) = readHeader(bytes.span.bytes), header.size <= limit {
            return
        }
        throw .unencodable("a packet of more than \(limit) bytes")
    }

    /// The size that it says and its own bytes; `nil` if it is not whole. No more of it is looked
    /// at than a header may have and one byte, so that the rest, however much of it has come, makes
    /// no difference.
    private func readHeader(_ bytes: RawSpan) -> Result<(size: Int, bytes: Int)?, PacketError> {
        let longest = FieldCoder.scratchSize
        let tooLong = PacketError.malformed("a header of more than \(longest) bytes")
        return bytes.extracting(0..<min(bytes.byteCount, longest + 1)).withUnsafeBytes { bytes in
            var wire = FieldCoder(decoding: bytes, endianness, in: context)
            var header = Header()
            header.fields(&wire)
            if wire.isShort { return bytes.count > longest ? .failure(tooLong) : .success(nil) }
            let (size, used) = (header.size, wire.position)
            if size < 0 { wire.fail("size", "\(size)") }
            do throws(PacketError) {
                try wire.endDecoding(Header.self, .ignored)
                return used > longest ? .failure(tooLong) : .success((size, used))
            } catch {
                return .failure(error)
            }
        }
    }
}
