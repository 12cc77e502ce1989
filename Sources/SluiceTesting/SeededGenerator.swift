// Random numbers that can be had again. For tests; any thread.

internal import Glibc

/// Random numbers that a seed repeats (splitmix64).
public struct SeededGenerator: RandomNumberGenerator, Sendable {
    /// What has to be given to have the same numbers again.
    public let seed: UInt64
    private var state: UInt64

    /// Without a seed: the one in the environment (`SLUICE_SEED`), else a new one.
    public init(seed: UInt64? = nil) {
        let given = getenv("SLUICE_SEED").flatMap { UInt64(String(cString: $0)) }
        self.seed = seed ?? given ?? UInt64.random(in: 0 ... .max)
        state = self.seed
    }

    /// 64 random bits.
    public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// A size from 0 to `2^bits`, each order of magnitude as likely as the others.
    public mutating func size(bits: Int) -> Int {
        let most = 1 << Int.random(in: 0...bits, using: &self)
        return Int.random(in: 0...most, using: &self)
    }
}
