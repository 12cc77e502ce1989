// The fuzz target of codecs: one input is a limit, packets or bytes, and how these arrive. The same
// must come out of every way, and what comes out must be the same again when it is sent. Built by
// Tests/Fuzz/run, not by the package; SLUICE_CODEC says which codec.

import Glibc
import Sluice

/// Called by libFuzzer for each input.
@_cdecl("LLVMFuzzerTestOneInput")
public func runOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    var choices = Choices(Array(UnsafeBufferPointer(start: start, count: count)))
    chosen(&choices)
    return 0
}

/// What an input does.
typealias Run = @Sendable (inout Choices) -> Void

/// The codec's own run, or the names of all.
private let chosen: Run = {
    let name = getenv("SLUICE_CODEC").map { String(cString: $0) } ?? ""
    if let run = codecs[name] { return run }
    print(codecs.keys.sorted().joined(separator: "\n"))
    fflush(nil)
    _exit(name == "list" ? 0 : 2)  // an exit(3) inside the target is a crash to libFuzzer
}()

/// With this in the environment the feed has a mistake that the fuzzer has to find.
private let hasCanary = getenv("SLUICE_CANARY") != nil

/// What one input encodes at most.
private let (packetsMax, bytesMax) = (6, 1_024)

/// Ends the process as libFuzzer wants it; the message stands above its report.
func fail(_ message: String) -> Never {
    let line = Array("fuzz: \(message)\n".utf8)
    _ = line.withUnsafeBytes { write(2, $0.baseAddress, $0.count) }
    abort()
}

/// The numbers an input begins with, again and again; zeros if there are none.
struct Choices {
    private let numbers: ArraySlice<UInt8>
    /// What follows them.
    let payload: [UInt8]
    private var index: Int

    init(_ input: [UInt8]) {
        let count = min(Int(input.first ?? 0) % 32, max(0, input.count - 1))
        numbers = input.dropFirst().prefix(count)
        payload = Array(input.dropFirst(1 + count))
        index = numbers.startIndex
    }

    mutating func next() -> Int {
        if index == numbers.endIndex { index = numbers.startIndex }
        guard index < numbers.endIndex else { return 0 }
        defer { index += 1 }
        return Int(numbers[index])
    }
}

/// What came of some bytes.
enum Outcome<Packet: Equatable & Sendable>: Equatable {
    case packet(Packet)
    case error(PacketError)
}

/// One codec's runs.
///
/// - Parameters:
///   - make: a fresh codec with this limit.
///   - packet: a packet of these bytes, perhaps one that cannot be encoded.
///   - isKept: whether the packet, once received, is the same after it was sent again.
///   - frameLimit: bytes that may be held whatever the limit is.
func fuzzing<C: Codec>(
    _ make: @escaping @Sendable (_ limit: Int) -> C,
    _ packet: @escaping @Sendable ([UInt8]) -> C.Sent,
    isKept: @escaping @Sendable (C.Sent) -> Bool = { _ in true }, frameLimit: Int = 0
) -> Run where C.Sent == C.Received, C.Sent: Equatable {
    { choices in
        let limit = [64, 1, 5, 1_000, .max][choices.next() % 5]
        let codec = make(limit)
        var bytes = choices.payload
        if choices.next() % 2 == 1 {
            bytes = encoded(bytes, &choices, codec, packet, isKept)
            for _ in 0..<choices.next() % 4 where !bytes.isEmpty {
                bytes[(choices.next() << 8 | choices.next()) % bytes.count] ^=
                    UInt8(choices.next() | 1)
            }
        }
        let held = max(limit, frameLimit)
        let whole = outcomes(codec, bytes, held) { bytes.count }
        var sizes = choices
        let split = outcomes(codec, bytes, held) { 1 + sizes.next() % 16 }
        if whole != split { fail("whole and split differ: \(whole), \(split)") }
        for case .packet(let packet) in whole where isKept(packet) {
            check(packet, codec)
        }
    }
}

/// The bytes of packets that are made of pieces of the payload: few, since encoding one takes the
/// most time where it compresses.
private func encoded<C: Codec>(
    _ payload: [UInt8], _ choices: inout Choices, _ codec: C, _ packet: ([UInt8]) -> C.Sent,
    _ isKept: (C.Sent) -> Bool
) -> [UInt8] where C.Sent == C.Received, C.Sent: Equatable {
    var (rest, bytes) = (payload[...], [UInt8]())
    for _ in 0..<packetsMax where bytes.isEmpty || !rest.isEmpty && bytes.count < bytesMax {
        let piece = packet(Array(rest.prefix(choices.next())))
        rest = rest.dropFirst(max(1, choices.next()))
        if isKept(piece) { bytes += check(piece, codec) }
    }
    return bytes
}

/// Sends a packet and compares what is received; nothing if it cannot be sent.
@discardableResult
private func check<C: Codec>(
    _ packet: C.Sent, _ codec: C
) -> [UInt8] where C.Sent == C.Received, C.Sent: Equatable {
    guard let bytes = try? codec.encodeWhole(packet) else { return [] }
    do throws(PacketError) {
        let again = try codec.decodeWhole(bytes)
        if again != packet { fail("\(packet) came back as \(again)") }
    } catch {
        fail("\(packet) came back as \(error)")
    }
    return bytes
}

/// Feeds bytes in pieces, as an endpoint does.
private func outcomes<C: Codec>(
    _ codec: C, _ input: [UInt8], _ limit: Int, _ size: () -> Int
) -> [Outcome<C.Received>] where C.Received: Equatable {
    var decoder = codec
    var (left, bytes, found) = (input[...], [UInt8](), [Outcome<C.Received>]())
    while !left.isEmpty {
        let piece = left.prefix(max(1, size()))
        left = left.dropFirst(piece.count)
        if decoder.isGathering, bytes.isEmpty {
            bytes += gathered(piece, by: &decoder)
        } else {
            bytes += piece
        }
        var isWaiting = false
        while !isWaiting, !bytes.isEmpty || decoder.isGathering {
            switch decoder.decode(bytes.span.bytes) {
            case .packet(let packet, let used):
                take(used, of: &bytes, atLeast: 0)
                if !(hasCanary && found.count == 2 && left.count == 3) {
                    found.append(.packet(packet))
                }
            case .malformed(let error, let used):
                take(used, of: &bytes, atLeast: 1)
                found.append(.error(error))
            case .more(let missing, let used):
                if missing < 1 { fail("nothing is missing, but more is wanted") }
                take(used, of: &bytes, atLeast: 0)
                isWaiting = true
                // Twice for base64 and its like, and what stands around a payload.
                if limit < 2_000, bytes.count > 2 * limit + 64 {
                    fail("\(bytes.count) bytes are held with a limit of \(limit)")
                }
            case .poisoned(let error): return found + [.error(error)]
            }
        }
    }
    guard !bytes.isEmpty || decoder.isGathering else { return found }
    switch decoder.decodeEnd(bytes.span.bytes) {
    case .packet(let packet, _): return found + [.packet(packet)]
    case .malformed(let error, _), .poisoned(let error): return found + [.error(error)]
    case .more: fail("nothing more comes behind the end")
    }
}

/// Hands a piece over to a decoder's own storage; returns what it has no room for.
private func gathered<D: PacketDecoder>(
    _ piece: ArraySlice<UInt8>, by decoder: inout D
) -> ArraySlice<UInt8> {
    var taken = 0
    decoder.gather { room in
        if room.isEmpty { fail("a decoder that gathers has no room") }
        taken = min(room.count, piece.count)
        room.copyBytes(from: piece.prefix(taken))
        return taken
    }
    return piece.dropFirst(taken)
}

private func take(_ used: Int, of bytes: inout [UInt8], atLeast least: Int) {
    if used < least || used > bytes.count { fail("\(used) of \(bytes.count) bytes were used") }
    bytes.removeFirst(used)
}
