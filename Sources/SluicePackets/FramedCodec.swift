// The codec made of a framing and a serializer. Floor 3; pure.

/// A framing and a serializer: the usual way to make a codec.
///
/// A long frame is received straight into the array that becomes its packet, if the framing says
/// beforehand how long it is and the serializer keeps its bytes.
public struct FramedCodec<Frames: Framing, Values: Serializer>: Codec {
    /// Finds the borders.
    public var framing: Frames
    /// Makes the values.
    public let serializer: Values
    /// The payload of the frame in progress, if it is received here.
    @usableFromInline var payload: Payload?

    /// A payload on its way.
    @usableFromInline
    struct Payload: Sendable {
        @usableFromInline var bytes: [UInt8] = []
        @usableFromInline let count: Int
        @usableFromInline let prefix: Int

        @usableFromInline
        init(count: Int, prefix: Int) {
            self.count = count
            self.prefix = prefix
            // A length is only a promise: what is not touched costs no memory, and more than this
            // grows with the bytes that arrive.
            bytes.reserveCapacity(min(count, PacketBounds.frameLimit))
        }

        @usableFromInline var missing: Int { count - bytes.count }
    }

    /// Joins the two.
    public init(_ framing: Frames, _ serializer: Values) {
        self.framing = framing
        self.serializer = serializer
    }

    // MARK: Decoding

    /// The next frame's value. A frame whose bytes make no value is passed over as malformed.
    @inlinable
    public mutating func decode(_ bytes: RawSpan) -> DecodingStep<Values.Packet> {
        if payload != nil { return add(bytes, after: 0) }
        let found = framing.nextFrame(in: bytes)
        // Most are whole frames: not through a function, which would have to be given an error too.
        if case .frame(let payload, let used) = found { return packet(of: payload, used, bytes) }
        return step(found, bytes)
    }

    /// What the framing makes of the rest.
    @inlinable
    public mutating func decodeEnd(_ bytes: RawSpan) -> DecodingStep<Values.Packet> {
        if let payload {
            self.payload = nil
            let received = payload.prefix + payload.bytes.count + bytes.byteCount
            return .malformed(.truncated(received: received), used: bytes.byteCount)
        }
        return step(framing.lastFrame(in: bytes), bytes)
    }

    @inlinable
    mutating func step(_ step: FramingStep, _ bytes: RawSpan) -> DecodingStep<Values.Packet> {
        switch step {
        case .frame(let payload, let used): return packet(of: payload, used, bytes)
        case .more(let missing, let used): return .more(missing: missing, used: used)
        case .begun(let prefix, let count):
            guard Values.keepsBytes else {
                return .more(missing: count - (bytes.byteCount - prefix), used: 0)
            }
            payload = Payload(count: count, prefix: prefix)
            return add(bytes, after: prefix)
        case .malformed(let error, let used): return .malformed(error, used: used)
        case .poisoned(let error): return .poisoned(error)
        }
    }

    @inlinable
    func packet(
        of payload: Range<Int>, _ used: Int, _ bytes: RawSpan
    ) -> DecodingStep<Values.Packet> {
        do throws(PacketError) {
            return .packet(try serializer.deserialize(bytes.extracting(payload)), used: used)
        } catch {
            return .malformed(error, used: used)
        }
    }

    /// Adds what came through the connection's buffer to the payload in progress.
    @inlinable
    mutating func add(_ bytes: RawSpan, after prefix: Int) -> DecodingStep<Values.Packet> {
        let used = min(bytes.byteCount, prefix + (payload?.missing ?? 0))
        bytes.extracting(prefix..<used).withUnsafeBytes {
            payload?.bytes.append(contentsOf: $0)
        }
        guard let payload, payload.missing == 0 else {
            return .more(missing: payload?.missing ?? 1, used: used)
        }
        self.payload = nil
        do throws(PacketError) {
            return .packet(try serializer.deserialize(owning: payload.bytes), used: used)
        } catch {
            return .malformed(error, used: used)
        }
    }

    /// Whether a long frame's payload is on its way.
    @inlinable
    public var isGathering: Bool { payload != nil }

    /// Receives straight into the payload.
    @inlinable
    public mutating func gather(_ receive: (UnsafeMutableRawBufferPointer) -> Int) {
        let room = min(payload?.missing ?? 0, PacketBounds.gatheredAtOnce)
        payload?.bytes.append(addingCapacity: room) { output in
            output.withUnsafeMutableBufferPointer { storage, count in
                let free = UnsafeMutableRawBufferPointer(
                    rebasing: UnsafeMutableRawBufferPointer(storage)[count...])
                count += receive(free)
            }
        }
    }

    // MARK: Encoding

    /// The value in a frame of its own.
    @inlinable
    public mutating func encode(
        _ packet: Values.Packet, into output: inout PacketOutput
    ) throws(PacketError) {
        framing.open(&output, size: serializer.size(of: packet))
        let payload = output.count
        try serializer.serialize(packet, into: &output)
        try framing.seal(&output, payload: payload)
    }
}
