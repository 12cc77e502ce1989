// Random packets out and in again. For tests; any thread.

public import Sluice
public import Testing

/// Checks that random packets survive the way out and in, many glued together and cut at random.
///
/// - Parameters:
///   - codec: fresh.
///   - count: of packets.
///   - make: a packet that can be encoded.
public func checkRandomPackets<C: Codec>(
    _ codec: C, count: Int, sourceLocation: SourceLocation = #_sourceLocation,
    _ make: (inout SeededGenerator) -> C.Sent
) throws where C.Sent == C.Received, C.Sent: Equatable {
    var random = SeededGenerator()
    let seed = random.seed
    var left = count
    while left > 0 {
        let packets = (0..<min(left, 20)).map { _ in make(&random) }
        left -= packets.count
        var encoder = codec
        let bytes = try PacketOutput.bytes { output throws(PacketError) in
            for packet in packets { try encoder.encode(packet, into: &output) }
        }
        let most = max(1, bytes.count / 3)
        let sizes = (0..<20).map { _ in Int.random(in: 1...most, using: &random) }
        let results = CodecFeed.results(codec, bytes, pieces: sizes)
        let isSame = results == packets.map { .packet($0) }
        #expect(isSame, "seed \(seed), \(left) left", sourceLocation: sourceLocation)
        if !isSame { return }
    }
}

extension SeededGenerator {
    /// Bytes of a random number and of random values, small numbers and values more often.
    public mutating func bytes(upTo most: Int) -> [UInt8] {
        let count = Int.random(in: 0...Int.random(in: 0...most, using: &self), using: &self)
        let top = UInt8.random(in: 0...255, using: &self)
        return (0..<count).map { _ in UInt8.random(in: 0...top, using: &self) }
    }

    /// Text of a random number of characters, of all planes.
    public mutating func text(upTo most: Int) -> String {
        var text = ""
        for _ in 0..<Int.random(in: 0...most, using: &self) {
            let top: UInt32 = [0x7F, 0x7FF, 0xFFFF, 0x10FFFF][Int.random(in: 0...3, using: &self)]
            guard let scalar = Unicode.Scalar(UInt32.random(in: 0...top, using: &self)) else {
                continue
            }
            text.unicodeScalars.append(scalar)
        }
        return text
    }
}
