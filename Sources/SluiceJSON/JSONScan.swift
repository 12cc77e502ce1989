// Brackets and strings of JSON, byte by byte: enough to find where a text ends and how deep it is.
// Beside the floors; pure.

/// Where in a text one is, from its first byte on.
struct JSONScan {
    enum Step {
        case inside
        /// This byte is the text's last.
        case endsHere
        /// The byte before this one was.
        case endsBefore
    }

    private enum Kind {
        case none, scalar, string, nested
    }

    private var kind = Kind.none
    private(set) var depth = 0
    private var isInString = false
    private var isEscaped = false

    /// Whether it is a number or a word so far, whose end nothing but a blank says.
    var isScalar: Bool { kind == .scalar }

    /// The next byte. Brackets are counted without a look at their kind: a text that mixes them up
    /// has an end too.
    mutating func take(_ byte: UInt8) -> Step {
        if isInString { return takeInString(byte) }
        if kind == .scalar { return Self.isBlank(byte) ? .endsBefore : .inside }
        switch byte {
        case UInt8(ascii: "\""):
            isInString = true
            if kind == .none { kind = .string }
        case UInt8(ascii: "{"), UInt8(ascii: "["):
            kind = .nested
            depth += 1
        case UInt8(ascii: "}"), UInt8(ascii: "]"):
            guard depth > 0 else { return .endsHere }
            depth -= 1
            if depth == 0 { return .endsHere }
        default:
            if kind == .none { kind = .scalar }
        }
        return .inside
    }

    private mutating func takeInString(_ byte: UInt8) -> Step {
        if isEscaped {
            isEscaped = false
        } else if byte == UInt8(ascii: "\\") {
            isEscaped = true
        } else if byte == UInt8(ascii: "\"") {
            isInString = false
            if kind == .string { return .endsHere }
        }
        return .inside
    }

    static func isBlank(_ byte: UInt8) -> Bool {
        byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09
    }
}

enum JSONDepth {
    /// Whether no more than `limit` arrays and objects lie inside each other anywhere in the bytes,
    /// be they JSON or not.
    static func isAtMost(_ limit: Int, in bytes: RawSpan) -> Bool {
        var (depth, isInString, isEscaped) = (0, false, false)
        for index in 0..<bytes.byteCount {
            let byte = bytes.unsafeLoad(fromByteOffset: index, as: UInt8.self)
            if isInString {
                if isEscaped {
                    isEscaped = false
                } else if byte == UInt8(ascii: "\\") {
                    isEscaped = true
                } else if byte == UInt8(ascii: "\"") {
                    isInString = false
                }
                continue
            }
            switch byte {
            case UInt8(ascii: "\""): isInString = true
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                depth += 1
                if depth > limit { return false }
            case UInt8(ascii: "}"), UInt8(ascii: "]"): depth = max(0, depth - 1)
            default: continue
            }
        }
        return true
    }
}
