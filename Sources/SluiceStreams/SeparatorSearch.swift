// SeparatorSearch: finds the separator that ends first, in bytes that keep arriving. A pure core.
// Floor 2. Invariant: no separator starts in the first `scanned` bytes, so each byte is looked at
// once per separator, but for the longest separator's length less one at each arrival.

internal import Glibc

package struct SeparatorSearch {
    private let separators: [[UInt8]]
    private let longest: Int
    private let limit: Int
    private var scanned = 0

    /// - Parameters:
    ///   - separators: at least one, none empty.
    ///   - limit: bytes allowed before the separator.
    init(_ separators: [[UInt8]], limit: Int) {
        self.separators = separators
        self.limit = limit
        longest = separators.map(\.count).max() ?? 1
    }

    /// Length of the bytes through the separator, or `nil` if more have to come. `bytes` begins at
    /// the same byte at each call and only grows.
    mutating func find(in bytes: UnsafeRawBufferPointer) throws(StreamError) -> Int? {
        var best: (start: Int, end: Int)?
        for separator in separators {
            guard let start = Self.firstIndex(of: separator, in: bytes, from: scanned) else {
                continue
            }
            let end = start + separator.count
            // Earliest end; then the shortest, which is the one that starts last.
            if let known = best, (known.end, -known.start) <= (end, -start) { continue }
            best = (start, end)
        }
        if let best {
            if best.start > limit {
                throw .limitExceeded(limit: limit, scanned: best.start, separatorFound: true)
            }
            return best.end
        }
        scanned = max(scanned, bytes.count - (longest - 1))
        if scanned > limit {
            throw .limitExceeded(limit: limit, scanned: scanned, separatorFound: false)
        }
        return nil
    }

    /// Where a separator first begins, at `start` or behind it.
    package static func firstIndex(
        of separator: [UInt8], in bytes: UnsafeRawBufferPointer, from start: Int
    ) -> Int? {
        guard let base = bytes.baseAddress, bytes.count >= start + separator.count else {
            return nil
        }
        return separator.withUnsafeBytes { needle -> Int? in
            guard let needleBase = needle.baseAddress else { return nil }
            var from = start
            let last = bytes.count - needle.count
            while from <= last {
                guard let hit = memchr(base + from, Int32(needle[0]), last - from + 1) else {
                    return nil
                }
                let index = UnsafeRawPointer(hit) - base
                if memcmp(base + index, needleBase, needle.count) == 0 { return index }
                from = index + 1
            }
            return nil
        }
    }
}
