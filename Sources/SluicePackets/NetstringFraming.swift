// Netstrings: frames with their length in decimal digits before and a comma behind. Floor 3; pure.

/// Netstrings: `5:hello,` as D. J. Bernstein's specification has them.
///
/// It is strict: a length has no leading zero and no other character than digits, and a comma must
/// stand behind the payload. What breaks that poisons the stream, and so does a length over the
/// limit: where the next frame begins is as untrue as the length.
public struct NetstringFraming: Framing {
    /// Bytes of a payload, 0 or more.
    public let limit: Int
    /// The length that stands before the frame in progress, and its bytes with the colon.
    private var announced = 0
    private var prefix = 0

    /// Frames of at most `limit` bytes, 1 MiB by default.
    public init(limit: Int = PacketBounds.frameLimit) {
        precondition(limit >= 0, "a frame's limit is 0 bytes or more")
        self.limit = limit
    }

    /// Reads the length once it is whole, and waits for as much and the comma.
    public mutating func nextFrame(in bytes: RawSpan) -> FramingStep {
        do throws(PacketError) {
            guard let (length, start) = try length(in: bytes) else {
                return .more(missing: 1, used: 0)
            }
            // Compared before they are added: with a limit near Int.max they would overflow.
            guard length < .max - start else { throw .limitExceeded(limit: limit) }
            let end = start + length
            let missing = end + 1 - bytes.byteCount
            if missing > 0 { return .more(missing: missing, used: 0) }
            guard bytes.byte(at: end) == UInt8(ascii: ",") else {
                throw .malformed("a netstring without its comma")
            }
            return .frame(start..<end, used: end + 1)
        } catch {
            return .poisoned(error)
        }
    }

    /// The length and where the payload begins; `nil` if the colon has not come yet. What is wrong
    /// is told at the first byte that is, so that it does not depend on how many have come.
    private func length(in bytes: RawSpan) throws(PacketError) -> (Int, Int)? {
        var length = 0
        for index in 0..<bytes.byteCount {
            let byte = bytes.byte(at: index)
            if byte == UInt8(ascii: ":"), index > 0 { return (length, index + 1) }
            guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else {
                throw .malformed("a netstring's length is not a number")
            }
            if index > 0, length == 0 { throw .malformed("a netstring's length begins with 0") }
            let (tens, isOver) = length.multipliedReportingOverflow(by: 10)
            let (sum, isOverToo) = tens.addingReportingOverflow(Int(byte - UInt8(ascii: "0")))
            guard !isOver, !isOverToo, sum <= limit else { throw .limitExceeded(limit: limit) }
            length = sum
        }
        return nil
    }

    /// The length if it is known.
    public mutating func open(_ output: inout PacketOutput, size: Int?) {
        announced = max(0, size ?? 0)
        prefix = appendLength(announced, to: &output)
    }

    /// Corrects the length if it was not known or not true, which copies the payload.
    public mutating func seal(_ output: inout PacketOutput, payload: Int) throws(PacketError) {
        let length = output.count - payload
        guard length <= limit else {
            throw .unencodable("a frame of \(length) bytes is over the limit of \(limit)")
        }
        if length != announced {
            let bytes = output.bytes(from: payload)
            output.removeAll(from: payload - prefix)
            _ = appendLength(length, to: &output)
            output.append(bytes)
        }
        output.append(byte: UInt8(ascii: ","))
    }

    private func appendLength(_ length: Int, to output: inout PacketOutput) -> Int {
        let before = output.count
        output.append("\(length):")
        return output.count - before
    }
}
