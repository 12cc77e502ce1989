// The wire format of request connections, which is cs.packetstream's. Floor 3; pure.
//
// A packet is its size (BSUInt: base 128, most significant group first), then tag, flag word,
// channel if bit 0 of the flag word is set, type + 1 if bit 1 is, and the payload: the rest. Bit 1
// says that it is a request; the other bits are the user's flags, in an answer behind one that says
// `ok`.

internal import SluiceStreams

/// What stands before a packet's payload.
struct RequestHeader: Equatable {
    enum Kind: Equatable {
        /// A request of this type.
        case request(UInt64)
        case response(isOK: Bool)
        /// No more packets of the peer's come.
        case end
        /// No more requests of the peer's come.
        case endOfRequests
    }

    var kind: Kind
    var tag: UInt64
    var channel: UInt64
    /// As the user has them.
    var flags: UInt64

    /// The widest flags of a request: two bits of the word are taken.
    static let requestFlags = UInt64.max >> 2
    /// The widest flags of an answer: it has one bit more of its own.
    static let responseFlags = UInt64.max >> 3
}

/// What the bytes so far make.
enum RequestParse: Equatable {
    case packet(RequestHeader, payload: Range<Int>, used: Int)
    /// At least so many bytes more.
    case more(Int)
    case malformed(PacketError)
}

extension RequestHeader {
    /// Looks at the beginning of `bytes`. What is over `limit` is refused as soon as its size is
    /// known. `strict` refuses integers that are longer than they need be.
    static func parse(
        _ bytes: UnsafeRawBufferPointer, limit: Int, strict: Bool
    ) -> RequestParse {
        var cursor = RequestCursor(bytes, strict: strict)
        guard let size = cursor.integer() else {
            if let error = cursor.error { return .malformed(error) }
            return .more(1)
        }
        if size > UInt64(limit) { return .malformed(.limitExceeded(limit: limit)) }
        if size < 2 { return .malformed(.malformed("a packet of \(size) bytes")) }
        let start = cursor.offset
        // Compared with a limit that is an Int, so it is one too.
        let missing = Int(size) - (bytes.count - start)
        if missing > 0 { return .more(missing) }
        let end = start + Int(size)
        cursor.end = end
        guard let header = read(&cursor) else {
            return .malformed(cursor.error ?? .malformed("a packet ends inside its header"))
        }
        if header.isMarker, cursor.offset != end {
            return .malformed(.malformed("an end packet with a payload"))
        }
        return .packet(header, payload: cursor.offset..<end, used: end)
    }

    private var isMarker: Bool { kind == .end || kind == .endOfRequests }

    private static func read(_ cursor: inout RequestCursor) -> RequestHeader? {
        guard let tag = cursor.integer(), let word = cursor.integer() else { return nil }
        var channel: UInt64 = 0
        if word & 1 != 0 {
            guard let number = cursor.integer() else { return nil }
            channel = number
        }
        guard word & 2 != 0 else {
            return RequestHeader(
                kind: .response(isOK: word & 4 != 0), tag: tag, channel: channel, flags: word >> 3)
        }
        guard let type = cursor.integer() else { return nil }
        if type > 0 {
            return RequestHeader(
                kind: .request(type - 1), tag: tag, channel: channel, flags: word >> 2)
        }
        guard channel == 0, word >> 2 == 0, tag < 2 else {
            cursor.error = .malformed("a request of the reserved type")
            return nil
        }
        return RequestHeader(
            kind: tag == 0 ? .end : .endOfRequests, tag: tag, channel: 0, flags: 0)
    }

    // MARK: Writing

    /// The flag word.
    private var word: UInt64 {
        let channelBit: UInt64 = channel == 0 ? 0 : 1
        return switch kind {
        case .request, .end, .endOfRequests: flags << 2 | 2 | channelBit
        case .response(let isOK): flags << 3 | (isOK ? 4 : 0) | channelBit
        }
    }

    /// What follows the tag, the word and the channel: `nil` in an answer.
    private var typeOnWire: UInt64? {
        switch kind {
        case .request(let type): type + 1
        case .end, .endOfRequests: 0
        case .response: nil
        }
    }

    /// Bytes of the packet behind its size.
    func size(payload: Int) -> Int {
        var size = Varint.count(of: tag) + Varint.count(of: word) + payload
        if channel != 0 { size += Varint.count(of: channel) }
        if let typeOnWire { size += Varint.count(of: typeOnWire) }
        return size
    }

    /// Bytes of all but the payload at most.
    static let longest = 5 * Varint.longest

    /// Writes the size and the header. Returns how many bytes that took.
    func write(into room: UnsafeMutablePointer<UInt8>, payload: Int) -> Int {
        var end = room
        Self.put(UInt64(size(payload: payload)), &end)
        Self.put(tag, &end)
        Self.put(word, &end)
        if channel != 0 { Self.put(channel, &end) }
        if let typeOnWire { Self.put(typeOnWire, &end) }
        return end - room
    }

    @inline(__always)
    private static func put(_ value: UInt64, _ end: inout UnsafeMutablePointer<UInt8>) {
        if value < 0x80 {
            end.pointee = UInt8(truncatingIfNeeded: value)
            end += 1
            return
        }
        var shift = UInt64(7 * (Varint.count(of: value) - 1))
        while shift > 0 {
            end.pointee = UInt8(truncatingIfNeeded: value >> shift) | 0x80
            end += 1
            shift -= 7
        }
        end.pointee = UInt8(truncatingIfNeeded: value) & 0x7F
        end += 1
    }
}

/// Reads integers one after the other.
private struct RequestCursor {
    private let bytes: UnsafeRawBufferPointer
    private let strict: Bool
    private(set) var offset = 0
    var end: Int
    var error: PacketError?

    init(_ bytes: UnsafeRawBufferPointer, strict: Bool) {
        self.bytes = bytes
        self.strict = strict
        end = bytes.count
    }

    /// `nil` if it is not whole, or makes no sense: then `error` says why.
    @inline(__always)
    mutating func integer() -> UInt64? {
        if offset < end, bytes[offset] < 0x80 {
            offset += 1
            return UInt64(bytes[offset - 1])
        }
        return longInteger()
    }

    private mutating func longInteger() -> UInt64? {
        let rest = UnsafeRawBufferPointer(rebasing: bytes[offset..<end])
        do throws(PacketError) {
            guard let (value, count) = try Varint.base128.read(rest.bytes) else { return nil }
            if strict, count > Varint.count(of: value) {
                throw .malformed("an integer longer than it need be")
            }
            offset += count
            return value
        } catch {
            self.error = error
            return nil
        }
    }
}
