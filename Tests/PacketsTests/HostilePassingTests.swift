// A peer that passes descriptors as badly as it can: 5,000 messages, 100,000 with SLUICE_LONG=1,
// and no descriptor stays. RELIABILITY 67 and its row 26; ENDPOINTS 31.

import Glibc
import Sluice
import SluiceTestKit
import Testing

@Suite struct HostilePassingTests {
    /// Everything passed is one pipe's writing end. If none of it is open in the end, whatever the
    /// other tests of this process do, then nothing was left behind.
    @Test func `after hostile messages no descriptor is left`() async throws {
        let pipe = try WatchedPipe()
        let goal = isLongRun ? 100_000 : 5_000
        let seed = UInt64.random(in: 0 ... .max)
        let sent = Shared(0)
        try await withLoop(deadline: .seconds(300)) { _ in
            var attack = Attack(pipe: pipe, seed: seed)
            while attack.sent < goal { try await attack.runConnection() }
            sent.set(attack.sent)
        }
        #expect(sent.value >= goal)
        pipe.closeWriting()
        #expect(pipe.isForgotten, "seed \(seed)")
    }
}

/// Messages of every bad kind, over one connection after the other.
private struct Attack {
    let pipe: WatchedPipe
    let seed: UInt64
    var state: UInt64
    /// Messages that the kernel has taken.
    var sent = 0

    init(pipe: WatchedPipe, seed: UInt64) {
        self.pipe = pipe
        self.seed = seed
        state = seed
    }

    /// 0 up to `bound` - 1.
    mutating func random(_ bound: Int) -> Int {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int((state >> 33) % UInt64(bound))
    }

    /// Mostly few, now and then as many as there can be.
    mutating func anyCount() -> Int { random(16) == 0 ? 253 : random(6) }

    func passed(_ count: Int) -> [Int32] { Array(repeating: pipe.writing, count: count) }

    mutating func runConnection() async throws {
        let (raw, other) = try RawSocket.pair()
        let (reader, writer) = try await adoptSocket(other)
        let endpoint = StreamEndpoint(reader, writer, LineCodec.lines())
        for _ in 0..<random(60) { try await exchange(endpoint, raw) }
        // What is sent now is never received.
        try say(raw, "unread\n", anyCount())
        try say(raw, "un", anyCount())
        if random(2) == 0 { await writer.abort() } else { await writer.close(within: .zero) }
    }

    mutating func say(_ raw: RawSocket, _ text: String, _ count: Int) throws {
        try raw.send(bytes(text), descriptors: passed(count))
        sent += 1
    }

    /// One packet, or something like it, and the call that meets it.
    mutating func exchange(_ endpoint: LineEndpoint, _ raw: RawSocket) async throws {
        switch random(8) {
        case 0:
            let count = anyCount()
            try say(raw, "fair\n", count)
            try await #expect(receive(endpoint, 253) == count, "seed \(seed)")
        case 1:
            try say(raw, "more than asked for\n", 1 + random(253))
            try await #expect(receive(endpoint, 0) == nil, "seed \(seed)")
        case 2:
            for byte in "on every byte\n" { try say(raw, String(byte), 1 + random(3)) }
            let got = try await receive(endpoint, 253)
            #expect(got.map { (14...42).contains($0) } == true, "seed \(seed)")
        case 3:
            try say(raw, "nobody ", anyCount())
            try say(raw, "asked\n", anyCount())
            #expect(try await endpoint.receive() == "nobody asked", "seed \(seed)")
        case 4:
            try await breakOff(endpoint, raw)
        case 5:
            try raw.send([0xFF, 10], descriptors: passed(anyCount()))
            sent += 1
            await #expect(throws: PacketError.malformed("not UTF-8")) {
                try await receive(endpoint, 253)
            }
        case 6:
            try say(raw, "two\npackets\n", 2)
            try await #expect(receive(endpoint, 1 + random(2)) != 1, "seed \(seed)")
            #expect(try await endpoint.receive() == "packets", "seed \(seed)")
        default:
            try await talkNonsense(endpoint, raw)
        }
    }

    /// A receive that is cancelled in the middle of a packet, which another call then completes.
    mutating func breakOff(_ endpoint: LineEndpoint, _ raw: RawSocket) async throws {
        try say(raw, "be", 1 + random(4))
        let capacity = random(6)
        let waiting = await started { try await receive(endpoint, capacity) }
        waiting.cancel()
        await #expect(throws: PacketError.stream(.cancelled)) { try await waiting.value }
        try say(raw, "gun\n", random(3))
        if random(2) == 0 {
            #expect(try await endpoint.receive() == "begun", "seed \(seed)")
        } else {
            _ = try await receive(endpoint, 6)
        }
    }

    /// Control messages that the kernel refuses, ignores or makes something of.
    mutating func talkNonsense(_ endpoint: LineEndpoint, _ raw: RawSocket) async throws {
        var control: [UInt8] = []
        for _ in 0..<(1 + random(4)) {
            let data = (0..<random(40)).map { _ in UInt8(random(256)) }
            switch random(4) {
            case 0: control += raw.item(level: Int32(random(300)), type: random(300), data)
            case 1: control += raw.item(type: 1, data)
            case 2:
                let rights = passed(1 + random(9)).withUnsafeBytes { Array($0) }
                control += raw.item(type: 1, rights)
            default: control += data
            }
        }
        // Most of it is EINVAL or EBADF, and nothing is sent then.
        let isSent = (try? raw.send(bytes("nonsense\n"), control: control)) != nil
        if isSent { sent += 1 } else { try say(raw, "sense\n", anyCount()) }
        _ = try await receive(endpoint, 253)
    }
}

/// How many descriptors came with a packet, all closed by now; nil if they were too many.
private func receive(_ endpoint: LineEndpoint, _ capacity: Int) async throws -> Int? {
    do {
        guard let received = try await endpoint.receive(ancillaryCapacity: capacity) else {
            throw NothingCame()
        }
        return received.ancillary.count
    } catch PacketError.stream(.ancillaryTruncated) {
        return nil
    }
}
