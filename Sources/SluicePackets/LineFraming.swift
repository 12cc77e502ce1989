// Lines: frames that end with LF, or with CRLF. Floor 3; pure.

internal import Glibc

/// Frames that end with a line feed.
///
/// A line longer than the limit gives one `limitExceeded`; its rest is passed over, so that the
/// next packet is the next real line. A payload that holds a line feed is refused, and so is one
/// that ends with a carriage return where that would be taken for a part of the terminator.
public struct LineFraming: Framing {
    /// What ends a line.
    public enum Terminator: Sendable {
        /// LF is sent; LF and CRLF are both taken.
        case lenient
        /// LF alone; a CR before it belongs to the line.
        case lf
        /// CRLF; an LF without CR is malformed.
        case crlf
    }

    /// Bytes of a line without its terminator, 1 or more.
    public let limit: Int
    /// What ends a line.
    public let terminator: Terminator
    /// Whether the rest of a line over the limit is being passed over.
    private var isSkipping = false
    /// Bytes looked at already, without an LF among them.
    private var scanned = 0

    /// Lines of at most `limit` bytes, 64 KiB by default.
    public init(_ terminator: Terminator = .lenient, limit: Int = PacketBounds.lineLimit) {
        precondition(limit > 0, "a line's limit is 1 byte or more")
        self.limit = limit
        self.terminator = terminator
    }

    /// Looks for the next LF, at each byte once.
    public mutating func nextFrame(in bytes: RawSpan) -> FramingStep {
        guard let index = indexOfLF(in: bytes) else { return moreOrSkip(bytes.byteCount) }
        scanned = 0
        let used = index + 1
        if isSkipping {
            isSkipping = false
            return .malformed(.limitExceeded(limit: limit), used: used)
        }
        let hasCR = index > 0 && bytes.unsafeLoad(fromByteOffset: index - 1, as: UInt8.self) == 13
        let end = hasCR && terminator != .lf ? index - 1 : index
        if end > limit { return .malformed(.limitExceeded(limit: limit), used: used) }
        if terminator == .crlf, !hasCR {
            return .malformed(.malformed("a line feed without a carriage return"), used: used)
        }
        return .frame(0..<end, used: used)
    }

    /// The last line may lack its terminator, unless that is strict.
    public mutating func lastFrame(in bytes: RawSpan) -> FramingStep {
        let count = bytes.byteCount
        scanned = 0
        if isSkipping || terminator != .crlf && count > limit {
            isSkipping = false
            return .malformed(.limitExceeded(limit: limit), used: count)
        }
        if terminator == .crlf { return .malformed(.truncated(received: count), used: count) }
        return .frame(0..<count, used: count)
    }

    /// Too long already, even if what comes next were the terminator.
    private mutating func moreOrSkip(_ count: Int) -> FramingStep {
        scanned = count
        // A limit may be Int.max: nothing is added to it.
        let longest = terminator == .lf ? count : count - 1
        guard longest > limit || isSkipping, count > 0 else { return .more(missing: 1, used: 0) }
        isSkipping = true
        // The last byte is kept: an end of the stream here is not one between two lines.
        scanned = 1
        return .more(missing: 1, used: count - 1)
    }

    private func indexOfLF(in bytes: RawSpan) -> Int? {
        bytes.withUnsafeBytes { bytes in
            guard let base = bytes.baseAddress, bytes.count > scanned,
                let found = memchr(base + scanned, 10, bytes.count - scanned)
            else { return nil }
            return UnsafeRawPointer(found) - base
        }
    }

    /// LF, or CRLF where that is strict.
    public func seal(_ output: inout PacketOutput, payload: Int) throws(PacketError) {
        if output.contains(10, from: payload) {
            throw .unencodable("a line cannot hold a line feed")
        }
        let length = output.count - payload
        if length > limit {
            throw .unencodable("a line of \(length) bytes is over the limit of \(limit)")
        }
        // A lenient peer would take it for a part of the terminator.
        if terminator == .lenient, length > 0, output.contains(13, from: output.count - 1) {
            throw .unencodable("a line cannot end with a carriage return")
        }
        if terminator == .crlf { output.append(byte: 13) }
        output.append(byte: 10)
    }
}
