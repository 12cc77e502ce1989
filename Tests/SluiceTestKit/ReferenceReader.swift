// What a reader has to answer, on a whole byte array: the model that random operation scripts
// compare with the real reader. Also the seeded bytes and numbers of the tests. Test kit.

import Glibc
public import Sluice

/// A reader over bytes that are all there already. Limits are by position, so no answer depends on
/// how bytes arrive; only `scanned` and `separatorFound` of an over-limit error do, so here they
/// are what a reader that has everything would say.
public struct ReferenceReader: Sendable {
    public private(set) var rest: ArraySlice<UInt8>

    public init(_ bytes: [UInt8]) {
        rest = bytes[...]
    }

    /// Removes and returns up to `count` bytes.
    public mutating func take(_ count: Int) -> [UInt8] {
        defer { rest = rest.dropFirst(count) }
        return Array(rest.prefix(count))
    }

    public mutating func unread(_ bytes: [UInt8]) {
        rest = (bytes + rest)[...]
    }

    public mutating func readExactly(_ count: Int) throws(StreamError) -> [UInt8] {
        guard rest.count < count else { return take(count) }
        throw .truncated(received: take(rest.count), expected: count)
    }

    public mutating func readLine(limit: Int) throws(StreamError) -> [UInt8]? {
        if rest.isEmpty { return nil }
        let found = rest.firstIndex(of: 10).map { $0 - rest.startIndex }
        let before = found ?? rest.count
        if before > limit {
            throw .limitExceeded(limit: limit, scanned: before, separatorFound: found != nil)
        }
        return take(before + 1)
    }

    public mutating func readUntil(_ separators: [[UInt8]], limit: Int) throws(StreamError)
        -> [UInt8]
    {
        if let found = find(separators) {
            if found.before <= limit { return take(found.end) }
            throw .limitExceeded(limit: limit, scanned: found.before, separatorFound: true)
        }
        // The last bytes may be the beginning of a separator.
        let scanned = rest.count + 1 - (separators.map(\.count).max() ?? 1)
        if scanned > limit {
            throw .limitExceeded(limit: limit, scanned: scanned, separatorFound: false)
        }
        throw .truncated(received: take(rest.count), expected: nil)
    }

    /// Discards through the separator; false, and everything discarded, if there is none.
    public mutating func skip(through separator: [UInt8]) -> Bool {
        let found = find([separator])
        _ = take(found?.end ?? rest.count)
        return found != nil
    }

    /// Where the next match ends and how many bytes stand before it: the earliest end, then the
    /// shortest.
    public func find(_ separators: [[UInt8]]) -> (before: Int, end: Int)? {
        for end in 0...rest.count {
            let matches = separators.filter { rest.prefix(end).hasSuffix($0) }
            if let shortest = matches.map(\.count).min() { return (end - shortest, end) }
        }
        return nil
    }
}

extension ArraySlice<UInt8> {
    fileprivate func hasSuffix(_ other: [UInt8]) -> Bool {
        count >= other.count && suffix(other.count).elementsEqual(other)
    }
}

/// The bytes that tests send in bulk: position `i` of the stream always holds the same byte, so a
/// loss, a repetition or a change of order shows at once. The period is a prime near 64 KiB.
public enum TestBytes {
    private static let period = 65_521
    private static let table: [UInt8] = {
        var generator = SeededGenerator(seed: 1)
        var words: [UInt64] = []
        for _ in 0..<period / 8 + 1 { words.append(generator.next()) }
        let once = words.withUnsafeBytes { Array($0.prefix(period)) }
        return once + once
    }()

    /// The stream's bytes from `start` on.
    public static func make(from start: Int = 0, count: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count)
        while bytes.count < count {
            let offset = (start + bytes.count) % period
            bytes += table[offset..<offset + min(count - bytes.count, period)]
        }
        return bytes
    }

    /// Whether `bytes` are the stream's from `start` on.
    public static func match(_ bytes: [UInt8], from start: Int) -> Bool {
        same(bytes, make(from: start, count: bytes.count))
    }
}

/// `==` for large arrays: in debug builds the generic one takes longer than the test.
public func same(_ left: [UInt8], _ right: [UInt8]) -> Bool {
    left.count == right.count && (left.isEmpty || memcmp(left, right, left.count) == 0)
}

/// The bytes of a text.
public func bytes(_ text: String) -> [UInt8] {
    Array(text.utf8)
}

/// Whether the long forms of tests are to run (`SLUICE_LONG=1`).
public var isLongRun: Bool {
    getenv("SLUICE_LONG").map { String(cString: $0) == "1" } ?? false
}

/// The same for tests that only compute: their long forms run in a release build, which takes a
/// tenth of the time.
public var isLongRelease: Bool {
    #if DEBUG
        false
    #else
        isLongRun
    #endif
}
