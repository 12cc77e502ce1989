// What a block is called: its SHA-256.

import Crypto
import Sluice

/// The SHA-256 of a block. On the wire: the number of the kind of hash, which is 1, and 32 bytes.
public struct BlockHash: Record, Hashable {
    static let (kind, size): (UInt64, Int) = (1, 32)
    private var kind = Self.kind
    private var bytes = [UInt8](repeating: 0, count: Self.size)

    public init() {}

    /// The hash of these bytes.
    public init(of block: [UInt8]) { bytes = Array(SHA256.hash(data: block)) }

    /// From 64 hexadecimal digits; `nil` from anything else.
    public init?(_ hex: some StringProtocol) {
        guard hex.utf8.count == 2 * Self.size, hex.allSatisfy(\.isHexDigit) else { return nil }
        let digits = hex.compactMap(\.hexDigitValue)
        bytes = (0..<Self.size).map { UInt8(digits[2 * $0] << 4 | digits[2 * $0 + 1]) }
    }

    /// 64 lower-case digits.
    public var hex: String {
        let digits = Array("0123456789abcdef")
        return String(bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] })
    }

    public mutating func fields(_ wire: inout FieldCoder) {
        wire.varint("kind", &kind, .base128)
        wire.check(kind == Self.kind, "the hash is a SHA-256")
        wire.bytes("hash", &bytes, .count(Self.size))
    }
}
