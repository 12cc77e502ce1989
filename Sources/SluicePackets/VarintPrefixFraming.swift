// Frames that begin with their length in as few bytes as it needs. Floor 3; pure.

/// Frames that begin with their length as a ``Varint``.
///
/// A length over the limit, or one that is no integer, poisons the stream.
public struct VarintPrefixFraming: Framing {
    /// How the length is written.
    public let varint: Varint
    /// Bytes of a payload, 0 or more.
    public let limit: Int
    /// The length that stands before the frame in progress, and its bytes.
    private var announced: UInt64 = 0
    private var prefix = 0

    /// Frames with this prefix and at most `limit` bytes, 1 MiB by default.
    public init(_ varint: Varint = .leb128, limit: Int = PacketBounds.frameLimit) {
        precondition(limit >= 0, "a frame's limit is 0 bytes or more")
        self.varint = varint
        self.limit = limit
    }

    /// Reads the length once it is whole, and waits for as much.
    public mutating func nextFrame(in bytes: RawSpan) -> FramingStep {
        do throws(PacketError) {
            guard let length = try varint.read(bytes) else { return .more(missing: 1, used: 0) }
            guard length.value <= UInt64(limit) else {
                return .poisoned(.limitExceeded(limit: limit))
            }
            // Two numbers that are far from overflowing: the limit is an Int, the prefix ten bytes.
            let (end, isOver) = length.count.addingReportingOverflow(Int(length.value))
            if isOver { return .poisoned(.limitExceeded(limit: limit)) }
            let missing = end - bytes.byteCount
            if missing > 0 {
                return .lacking(missing, prefix: length.count, count: end - length.count)
            }
            return .frame(length.count..<end, used: end)
        } catch {
            return .poisoned(error)
        }
    }

    /// The length if it is known.
    public mutating func open(_ output: inout PacketOutput, size: Int?) {
        announced = UInt64(max(0, size ?? 0))
        prefix = Varint.count(of: announced)
        varint.append(announced, to: &output)
    }

    /// Corrects the length if it was not known or not true, which copies the payload.
    public mutating func seal(_ output: inout PacketOutput, payload: Int) throws(PacketError) {
        let length = output.count - payload
        guard length <= limit else {
            throw .unencodable("a frame of \(length) bytes is over the limit of \(limit)")
        }
        if UInt64(length) == announced { return }
        let bytes = output.bytes(from: payload)
        output.removeAll(from: payload - prefix)
        varint.append(UInt64(length), to: &output)
        output.append(bytes)
    }
}
