// What a framing's limit has to do: the same on both sides, whatever it is. For tests; any thread.

public import Sluice
public import Testing

/// Checks a framing's limit, from the smallest to `Int.max`: a payload of as many bytes passes; one
/// more is refused when sent, and is one `limitExceeded` when received, in every chunking. No
/// garbage traps with the largest limit.
///
/// - Parameters:
///   - smallest: limit.
///   - goesOn: whether the packet behind one over the limit is received; else that one poisons.
///   - payload: so many bytes that can be framed.
///   - make: a framing with this limit.
public func checkLimits<F: Framing>(
    smallest: Int = 0, goesOn: Bool, seed: UInt64 = .random(in: 0...(.max)),
    sourceLocation: SourceLocation = #_sourceLocation,
    payload: (Int) -> [UInt8] = { Array(repeating: 0x78, count: $0) }, _ make: (Int) -> F
) throws {
    func codec(_ limit: Int) -> FramedCodec<F, BytesSerializer> {
        FramedCodec(make(limit), BytesSerializer())
    }
    for limit in [smallest, smallest + 1, smallest + 7, smallest + 200] {
        let (right, over) = (payload(limit), payload(limit + 1))
        let small = payload(smallest)
        try checkCodec(
            codec(limit), [(right, right), (small, small)], seed: seed,
            sourceLocation: sourceLocation)
        #expect(throws: PacketError.self, sourceLocation: sourceLocation) {
            try codec(limit).encodeWhole(over)
        }
        let wide = codec(limit + 1)
        let bytes = try wide.encodeWhole(over) + wide.encodeWhole(small)
        let error = Decoded<[UInt8]>.error(.limitExceeded(limit: limit))
        for size in [bytes.count, 1, 2, 3, 7] {
            let results = CodecFeed.results(codec(limit), bytes, pieces: [size])
            #expect(
                results == (goesOn ? [error, .packet(small)] : [error]),
                "limit \(limit), pieces of \(size)", sourceLocation: sourceLocation)
        }
    }
    try checkLargest(codec(.max), payload, smallest, seed, sourceLocation)
}

/// No limit at all, so to say.
private func checkLargest<C: Codec>(
    _ codec: C, _ payload: (Int) -> [UInt8], _ smallest: Int, _ seed: UInt64,
    _ sourceLocation: SourceLocation
) throws where C.Sent == [UInt8], C.Received == [UInt8] {
    let packets = [smallest, smallest + 1, smallest + 300].map(payload)
    try checkCodec(
        codec, packets.map { ($0, $0) }, seed: seed, sourceLocation: sourceLocation)
    // The largest numbers there are, in binary of both signs and in digits.
    let largest: [[UInt8]] = [
        Array(repeating: 0xFF, count: 40), [0x7F] + Array(repeating: 0xFF, count: 40),
        Array(repeating: 0xFF, count: 7) + [0x7F] + Array(repeating: 0, count: 40),
        [0x80] + Array(repeating: 0, count: 40), Array("\(Int.max):,".utf8),
        Array("\(UInt64.max):,".utf8), Array(repeating: 0x39, count: 40),
    ]
    for bytes in largest {
        let whole = CodecFeed.results(codec, bytes, pieces: [bytes.count])
        let single = CodecFeed.results(codec, bytes, pieces: [1])
        #expect(whole == single, "\(bytes)", sourceLocation: sourceLocation)
    }
}
