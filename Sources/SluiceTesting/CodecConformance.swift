// What every codec has to do: the same packets for every way in which their bytes may arrive. A new
// codec is one call of `checkCodec`. For tests; any thread.

public import Sluice
public import Testing

/// What came of some bytes.
public enum Decoded<Packet: Equatable & Sendable>: Equatable, Sendable {
    /// A packet.
    case packet(Packet)
    /// A unit that was passed over, or the end of all decoding.
    case error(PacketError)
}

/// A decoder that is fed by hand, as an endpoint feeds it.
public struct CodecFeed<D: PacketDecoder> where D.Received: Equatable {
    private var decoder: D
    private var bytes: [UInt8] = []
    private var poison: PacketError?
    /// What came so far.
    public private(set) var results: [Decoded<D.Received>] = []

    /// Nothing has come yet.
    public init(_ decoder: D) {
        self.decoder = decoder
    }

    /// Bytes arrive: straight into the decoder's storage where it has some, and `gathers` allows.
    public mutating func feed(_ more: some Sequence<UInt8>, gathers: Bool = true) {
        var arriving = Array(more)[...]
        repeat {
            if gathers, poison == nil, decoder.isGathering, bytes.isEmpty {
                arriving = gather(arriving)
            } else {
                bytes += arriving
                arriving = []
            }
            decode()
        } while !arriving.isEmpty
    }

    /// Hands as much over as the decoder has room for; returns the rest.
    private mutating func gather(_ arriving: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        var taken = 0
        decoder.gather { room in
            #expect(!room.isEmpty, "a decoder that gathers has room")
            taken = min(room.count, arriving.count)
            room.copyBytes(from: arriving.prefix(taken))
            return taken
        }
        return taken == 0 ? [] : arriving.dropFirst(taken)
    }

    private mutating func decode() {
        while poison == nil, !bytes.isEmpty || decoder.isGathering {
            let pending = bytes
            switch decoder.decode(pending.span.bytes) {
            case .packet(let packet, let used):
                #expect(used >= 0 && used <= bytes.count, "a packet takes bytes that are there")
                results.append(.packet(packet))
                bytes.removeFirst(used)
            case .malformed(let error, let used):
                #expect(used > 0 && used <= bytes.count, "an error passes bytes over")
                results.append(.error(error))
                bytes.removeFirst(used)
            case .more(let missing, let used):
                #expect(missing > 0 && used >= 0 && used <= bytes.count)
                bytes.removeFirst(used)
                return
            case .poisoned(let error): poisoned(error)
            }
        }
    }

    private mutating func poisoned(_ error: PacketError) {
        poison = error
        results.append(.error(error))
    }

    /// The stream ends.
    public mutating func end() {
        guard poison == nil, !bytes.isEmpty || decoder.isGathering else { return }
        let pending = bytes
        switch decoder.decodeEnd(pending.span.bytes) {
        case .packet(let packet, _): results.append(.packet(packet))
        case .malformed(let error, _): results.append(.error(error))
        case .poisoned(let error): results.append(.error(error))
        case .more: Issue.record("nothing more comes behind the end")
        }
    }

    /// All results of bytes that arrive in pieces of the given sizes, the last one repeated.
    public static func results(
        _ decoder: D, _ bytes: [UInt8], pieces: [Int], gathers: Bool = true
    ) -> [Decoded<D.Received>] {
        var feed = CodecFeed(decoder)
        var rest = bytes[...]
        var sizes = pieces[...]
        while !rest.isEmpty {
            let size = max(1, sizes.count > 1 ? sizes.removeFirst() : sizes.first ?? rest.count)
            feed.feed(rest.prefix(size), gathers: gathers)
            rest = rest.dropFirst(size)
        }
        feed.end()
        return feed.results
    }
}

/// Checks a codec: packets survive the way out and in, whole, byte by byte, glued together and
/// split at random; a stream cut anywhere gives the packets before the cut and at most one thing
/// more; garbage gives the same results however it arrives, and ends.
///
/// - Parameters:
///   - codec: fresh.
///   - packets: at least one, each as it is sent and as it is to be received.
///   - seed: of the random splits and the garbage; printed when something fails.
public func checkCodec<C: Codec>(
    _ codec: C, _ packets: [(sent: C.Sent, received: C.Received)],
    seed: UInt64 = .random(in: 0...(.max)), sourceLocation: SourceLocation = #_sourceLocation
) throws where C.Received: Equatable {
    var random = SeededGenerator(seed: seed)
    var bytes: [UInt8] = []
    var borders = [0]
    for packet in packets {
        var encoder = codec
        let encoded = try PacketOutput.bytes { output throws(PacketError) in
            try encoder.encode(packet.sent, into: &output)
        }
        bytes += encoded
        borders.append(bytes.count)
        let alone = CodecFeed.results(codec, encoded, pieces: [encoded.count])
        #expect(alone == [.packet(packet.received)], sourceLocation: sourceLocation)
    }
    let expected = packets.map { Decoded.packet($0.received) }
    var ways = [[bytes.count], [1], [2], [3, 1]]
    for _ in 0..<20 {
        ways.append((0..<bytes.count).map { _ in Int.random(in: 1...9, using: &random) })
    }
    for way in ways {
        let results = CodecFeed.results(codec, bytes, pieces: way)
        #expect(results == expected, "seed \(seed)", sourceLocation: sourceLocation)
        let buffered = CodecFeed.results(codec, bytes, pieces: way, gathers: false)
        #expect(buffered == expected, "seed \(seed)", sourceLocation: sourceLocation)
    }
    for cut in 0..<min(bytes.count, 300) {
        let results = CodecFeed.results(codec, Array(bytes.prefix(cut)), pieces: [3, 1])
        let whole = borders.lastIndex { $0 <= cut } ?? 0
        #expect(
            Array(results.prefix(whole)) == Array(expected.prefix(whole)),
            sourceLocation: sourceLocation)
        #expect(results.count - whole <= 1, "cut at \(cut)", sourceLocation: sourceLocation)
    }
    for _ in 0..<50 {
        let garbage = (0..<Int.random(in: 1...200, using: &random)).map { _ in
            UInt8.random(in: 0...255, using: &random)
        }
        let whole = CodecFeed.results(codec, garbage, pieces: [garbage.count])
        let single = CodecFeed.results(codec, garbage, pieces: [1])
        #expect(whole == single, "seed \(seed): \(garbage)", sourceLocation: sourceLocation)
    }
}
