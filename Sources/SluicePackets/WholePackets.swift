// One packet that lies in memory as a whole, without a stream: files, tests, stored values.
// Floor 3; pure.

extension PacketDecoder {
    /// Decodes bytes that are exactly one packet, with a copy of this decoder.
    ///
    /// A terminator may be missing where it may at the end of a stream.
    ///
    /// - Throws: ``PacketError/truncated(received:)`` if there are too few;
    ///   ``PacketError/malformed(_:)``, also for bytes left over; or what the decoder finds.
    public func decodeWhole(_ bytes: RawSpan) throws(PacketError) -> Received {
        var decoder = self
        var start = 0
        var step = decoder.decode(bytes)
        // Bytes may be passed over before the packet begins.
        while case .more(_, let used) = step, used > 0, start + used < bytes.byteCount {
            start += used
            step = decoder.decode(bytes.extracting(start..<bytes.byteCount))
        }
        if case .more = step {
            // A payload in storage of its own has all the bytes already.
            if decoder.isGathering { start = bytes.byteCount }
            guard start < bytes.byteCount || decoder.isGathering else {
                throw .truncated(received: bytes.byteCount)
            }
            step = decoder.decodeEnd(bytes.extracting(start..<bytes.byteCount))
        }
        switch step {
        case .packet(let packet, let used):
            let left = bytes.byteCount - start - used
            if left > 0 { throw .malformed("\(left) bytes behind the packet") }
            return packet
        case .more: throw .truncated(received: bytes.byteCount)
        case .malformed(let error, _), .poisoned(let error): throw error
        }
    }

    /// The same for an array.
    public func decodeWhole(_ bytes: [UInt8]) throws(PacketError) -> Received {
        try decodeWhole(bytes.span.bytes)
    }
}

extension PacketEncoder {
    /// One packet's bytes, with a copy of this encoder.
    ///
    /// - Throws: ``PacketError/unencodable(_:)``.
    public func encodeWhole(_ packet: Sent) throws(PacketError) -> [UInt8] {
        var encoder = self
        return try PacketOutput.bytes { output throws(PacketError) in
            try encoder.encode(packet, into: &output)
        }
    }
}

extension Serializer {
    /// The value of exactly these bytes.
    ///
    /// - Throws: as ``deserialize(_:)``.
    public func decodeWhole(_ bytes: [UInt8]) throws(PacketError) -> Packet {
        try deserialize(bytes.span.bytes)
    }

    /// A value's bytes, without a frame.
    ///
    /// - Throws: ``PacketError/unencodable(_:)``.
    public func encodeWhole(_ packet: Packet) throws(PacketError) -> [UInt8] {
        try PacketOutput.bytes { output throws(PacketError) in
            try serialize(packet, into: &output)
        }
    }
}
