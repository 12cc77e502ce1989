// Frames that end with a separator of any bytes: NUL, CRLF CRLF, a word. Floor 3; pure.

internal import SluiceStreams

/// Frames that end with a separator, which is not part of the payload.
///
/// A frame longer than the limit gives one `limitExceeded`; its rest is passed over through the
/// next separator. A payload that holds the separator is refused, and so is one that would give it
/// together with the separator behind.
public struct SeparatorFraming: Framing {
    /// What ends a frame, 1 byte or more.
    public let separator: [UInt8]
    /// Bytes of a payload, 1 or more.
    public let limit: Int
    /// Whether the rest of a frame over the limit is being passed over.
    private var isSkipping = false
    /// Bytes looked at already: no separator begins there.
    private var scanned = 0

    /// Frames that end with `separator` and hold at most `limit` bytes, 64 KiB by default.
    public init(_ separator: [UInt8], limit: Int = PacketBounds.lineLimit) {
        precondition(!separator.isEmpty, "a separator is 1 byte or more")
        precondition(limit > 0, "a frame's limit is 1 byte or more")
        self.separator = separator
        self.limit = limit
    }

    /// Frames that end with a NUL byte.
    public static func nulTerminated(limit: Int = PacketBounds.lineLimit) -> SeparatorFraming {
        SeparatorFraming([0], limit: limit)
    }

    /// Looks for the next separator, at each byte once.
    public mutating func nextFrame(in bytes: RawSpan) -> FramingStep {
        guard let end = position(in: bytes) else { return moreOrSkip(bytes.byteCount) }
        scanned = 0
        let used = end + separator.count
        if isSkipping || end > limit {
            isSkipping = false
            return .malformed(.limitExceeded(limit: limit), used: used)
        }
        return .frame(0..<end, used: used)
    }

    /// A frame without its separator was cut off.
    public mutating func lastFrame(in bytes: RawSpan) -> FramingStep {
        let count = bytes.byteCount
        scanned = 0
        let error: PacketError =
            isSkipping ? .limitExceeded(limit: limit) : .truncated(received: count)
        isSkipping = false
        return .malformed(error, used: count)
    }

    /// Keeps what may be the beginning of a separator, and the last byte in any case: an end of the
    /// stream here is not one between two frames.
    private mutating func moreOrSkip(_ count: Int) -> FramingStep {
        let done = max(0, count - separator.count + 1)
        scanned = done
        guard isSkipping || done > limit else { return .more(missing: 1, used: 0) }
        isSkipping = true
        let used = max(0, min(done, count - 1))
        scanned = done - used
        return .more(missing: 1, used: used)
    }

    private func position(in bytes: RawSpan) -> Int? {
        bytes.withUnsafeBytes { SeparatorSearch.firstIndex(of: separator, in: $0, from: scanned) }
    }

    /// Refuses what the peer would see as two frames, then appends the separator.
    public func seal(_ output: inout PacketOutput, payload: Int) throws(PacketError) {
        let length = output.count - payload
        if length > limit {
            throw .unencodable("a frame of \(length) bytes is over the limit of \(limit)")
        }
        output.append(separator)
        // The first separator must be the one just appended.
        var search = PieceSearch(separator)
        var found: Int?
        output.forEachPiece(from: payload) { piece in
            found = search.firstEnd(in: piece)
            return found == nil
        }
        if found != length + separator.count {
            throw .unencodable("a frame cannot hold its separator")
        }
    }
}

/// Where a separator first ends in bytes that come in pieces: Knuth, Morris and Pratt's search,
/// which looks at each byte once and never back.
struct PieceSearch {
    private let separator: [UInt8]
    /// For each length of a match, the longest shorter one that it ends with.
    private let fallback: [Int]
    private var matched = 0
    private var before = 0

    init(_ separator: [UInt8]) {
        self.separator = separator
        var fallback = [0]
        var length = 0
        for index in separator.indices.dropFirst() {
            while length > 0, separator[index] != separator[length] {
                length = fallback[length - 1]
            }
            if separator[index] == separator[length] { length += 1 }
            fallback.append(length)
        }
        self.fallback = fallback
    }

    /// Counted from the first piece's beginning.
    mutating func firstEnd(in piece: RawSpan) -> Int? {
        for index in 0..<piece.byteCount {
            let byte = piece.unsafeLoad(fromByteOffset: index, as: UInt8.self)
            while matched > 0, byte != separator[matched] { matched = fallback[matched - 1] }
            if byte == separator[matched] { matched += 1 }
            if matched == separator.count { return before + index + 1 }
        }
        before += piece.byteCount
        return nil
    }
}
