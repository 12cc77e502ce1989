// Frames of one size. Floor 3; pure.

/// Frames of exactly so many bytes: records of a binary file or protocol.
public struct FixedSizeFraming: Framing {
    /// Bytes of a frame, 1 or more.
    public let size: Int

    /// Frames of `size` bytes.
    public init(_ size: Int) {
        precondition(size > 0, "a frame has 1 byte or more")
        self.size = size
    }

    /// Waits for `size` bytes.
    public mutating func nextFrame(in bytes: RawSpan) -> FramingStep {
        let missing = size - bytes.byteCount
        return missing > 0 ? .more(missing: missing, used: 0) : .frame(0..<size, used: size)
    }

    /// Refuses every other size.
    public func seal(_ output: inout PacketOutput, payload: Int) throws(PacketError) {
        let length = output.count - payload
        if length != size {
            throw .unencodable("a frame of \(length) bytes where all have \(size)")
        }
    }
}
