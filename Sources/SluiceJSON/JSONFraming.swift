// JSON texts one after the other, without anything between that would be needed: their own brackets
// are the borders. Beside the floors; pure.

public import Sluice

/// Frames that are JSON texts: an array or object ends with its last bracket, a string with its
/// quotation mark; a number or word ends before a blank, so it is sent with a line feed behind it.
///
/// Blanks between texts are passed over. A text longer than the limit is one `limitExceeded`; its
/// rest is passed over by its brackets. Whether a text makes sense is the serializer's business:
/// here brackets are only counted, each byte once, and any number of them.
public struct JSONFraming: Framing {
    /// Bytes of a text, 1 or more.
    public let limit: Int
    private var scan = JSONScan()
    /// Bytes of the text in progress that were looked at and are still there.
    private var scanned = 0
    /// Whether the rest of a text over the limit is being passed over.
    private var isSkipping = false

    /// Texts of at most `limit` bytes, 64 KiB by default.
    public init(limit: Int = PacketBounds.lineLimit) {
        precondition(limit > 0, "a text's limit is 1 byte or more")
        self.limit = limit
    }

    /// Looks for the end of the next text, at each byte once.
    public mutating func nextFrame(in bytes: RawSpan) -> FramingStep {
        let count = bytes.byteCount
        let start = scanned == 0 && !isSkipping ? blanks(bytes) : 0
        var index = max(start, scanned)
        while index < count {
            switch scan.take(bytes.unsafeLoad(fromByteOffset: index, as: UInt8.self)) {
            case .inside: index += 1
            case .endsHere: return ended(start..<(index + 1), used: index + 1)
            // The blank belongs to it.
            case .endsBefore: return ended(start..<index, used: index + 1)
            }
        }
        return more(count - start, behind: start)
    }

    /// What is unfinished was cut.
    public mutating func lastFrame(in bytes: RawSpan) -> FramingStep {
        let count = bytes.byteCount
        defer { begin() }
        if isSkipping { return .malformed(.limitExceeded(limit: limit), used: count) }
        // A number that was cut is a number too: nothing but a blank says that it is whole.
        return .malformed(.truncated(received: count), used: count)
    }

    private func blanks(_ bytes: RawSpan) -> Int {
        var index = 0
        while index < bytes.byteCount,
            JSONScan.isBlank(bytes.unsafeLoad(fromByteOffset: index, as: UInt8.self))
        {
            index += 1
        }
        return index
    }

    private mutating func ended(_ text: Range<Int>, used: Int) -> FramingStep {
        let isOver = isSkipping || text.count > limit
        begin()
        if isOver { return .malformed(.limitExceeded(limit: limit), used: used) }
        return .frame(text, used: used)
    }

    /// Of the text in progress so many bytes are there, behind the blanks.
    private mutating func more(_ count: Int, behind blanks: Int) -> FramingStep {
        if count > limit { isSkipping = true }
        guard isSkipping, count > 0 else {
            scanned = count
            return .more(missing: 1, used: blanks)
        }
        // The last byte is kept: an end of the stream here is not one between two texts.
        scanned = 1
        return .more(missing: 1, used: blanks + count - 1)
    }

    private mutating func begin() {
        scan = JSONScan()
        scanned = 0
        isSkipping = false
    }

    /// A line feed behind a number or word.
    public func seal(_ output: inout PacketOutput, payload: Int) throws(PacketError) {
        let count = output.count - payload
        if count > limit {
            throw .unencodable("a text of \(count) bytes is over the limit of \(limit)")
        }
        var scan = JSONScan()
        var index = 0
        var end: Int?
        output.forEachPiece(from: payload) { piece in
            for place in 0..<piece.byteCount {
                let byte = piece.unsafeLoad(fromByteOffset: place, as: UInt8.self)
                if index == 0, JSONScan.isBlank(byte) { return false }
                index += 1
                switch scan.take(byte) {
                case .inside: continue
                case .endsHere: end = index
                case .endsBefore: end = index - 1
                }
                return false
            }
            return true
        }
        if let end, end == count { return }
        guard end == nil, scan.isScalar else { throw .unencodable("not one JSON text") }
        output.append(byte: UInt8(ascii: "\n"))
    }
}
