// Descriptors and credentials beside packets. The other end is plain system calls, and what was
// passed is a pipe whose reading end tells whether anybody still has it. Numbers of ENDPOINTS 6.

import Glibc
import Sluice
import SluiceTestKit
import Testing

@Suite struct PassingTests {
    @Test func `24: three descriptors come with their packet, close-on-exec`() async throws {
        try await withPassing { endpoint, raw in
            let pipes = [try WatchedPipe(), try WatchedPipe(), try WatchedPipe()]
            try raw.send(bytes("hi\n"), descriptors: pipes.map(\.writing))
            guard var received = try await endpoint.receive(ancillaryCapacity: 3) else {
                throw NothingCame()
            }
            #expect(received.packet == "hi")
            #expect(received.ancillary.count == 3 && received.ancillary.credentials == nil)
            for pipe in pipes {
                guard let descriptor = received.ancillary.takeDescriptor() else {
                    throw NothingCame()
                }
                let number = descriptor.number
                #expect(fileIdentity(number) == fileIdentity(pipe.writing))
                #expect(fcntl(number, F_GETFD) & FD_CLOEXEC != 0)
                pipe.closeWriting()
                #expect(pipe.isOpen)
                closing(descriptor)
                #expect(pipe.isForgotten)
            }
            let isEmpty = received.ancillary.isEmpty
            #expect(isEmpty)
        }
    }

    /// The reference answers with an error and hands the descriptors out at once; here they wait
    /// for the rest of their packet.
    @Test func `25: descriptors of a packet in pieces come with it, whole`() async throws {
        try await withPassing { endpoint, raw in
            let pipes = [try WatchedPipe(), try WatchedPipe()]
            try raw.send(bytes("hal"), descriptors: [pipes[0].writing])
            let waiting = await started { try await count(endpoint) }
            #expect(endpoint.reader.buffered == 3)
            waiting.cancel()
            await #expect(throws: PacketError.stream(.cancelled)) { try await waiting.value }
            try raw.send(bytes("ves"), descriptors: [pipes[1].writing])
            try raw.send(bytes("\nnext\n"))
            try await #expect(count(endpoint) == Count(packet: "halves", descriptors: 2))
            try await #expect(count(endpoint) == Count(packet: "next", descriptors: 0))
            for pipe in pipes { pipe.closeWriting(); #expect(pipe.isForgotten) }
        }
    }

    @Test func `26: of two packets in one message the first gets the descriptors`() async throws {
        try await withPassing { endpoint, raw in
            let pipe = try WatchedPipe()
            try raw.send(bytes("A\nB\n"), descriptors: [pipe.writing])
            try await #expect(count(endpoint) == Count(packet: "A", descriptors: 1))
            try await #expect(count(endpoint) == Count(packet: "B", descriptors: 0))
        }
    }

    @Test func `each packet gets its own descriptors though all have come already`() async throws {
        try await withPassing { endpoint, raw in
            let pipe = try WatchedPipe()
            for number in 0..<20 {
                let passed = Array(repeating: pipe.writing, count: number % 4)
                try raw.send(bytes("packet \(number)\n"), descriptors: passed)
            }
            for number in 0..<20 {
                let expected = Count(packet: "packet \(number)", descriptors: number % 4)
                try await #expect(count(endpoint) == expected)
            }
        }
    }

    @Test func `a packet that is buffered comes without the descriptors of a later one`()
        async throws
    {
        try await withPassing { endpoint, raw in
            let pipe = try WatchedPipe()
            try raw.send(bytes("1\n2\n"))
            #expect(try await endpoint.receive() == "1")
            try raw.send(bytes("3\n"), descriptors: [pipe.writing])
            try await #expect(count(endpoint) == Count(packet: "2", descriptors: 0))
            try await #expect(count(endpoint) == Count(packet: "3", descriptors: 1))
        }
    }

    @Test func `31: descriptors that nobody asked for, or takes, are closed`() async throws {
        try await withPassing { endpoint, raw in
            let pipes = try (0..<4).map { _ in try WatchedPipe() }
            try raw.send(bytes("plain\n"), descriptors: [pipes[0].writing])
            try raw.send(bytes("begun "), descriptors: [pipes[1].writing])
            try raw.send(bytes("and ended\n"), descriptors: [pipes[2].writing])
            #expect(try await endpoint.receive() == "plain")
            #expect(try await endpoint.receive() == "begun and ended")
            try raw.send(bytes("dropped\n"), descriptors: [pipes[3].writing])
            try await #expect(count(endpoint) == Count(packet: "dropped", descriptors: 1))
            for pipe in pipes { pipe.closeWriting(); #expect(pipe.isForgotten) }
        }
    }

    @Test func `31: a plain receive that completes a packet closes what came with its beginning`()
        async throws
    {
        try await withPassing { endpoint, raw in
            let pipe = try WatchedPipe()
            try raw.send(bytes("be"), descriptors: [pipe.writing])
            pipe.closeWriting()
            let waiting = await started { try await count(endpoint) }
            waiting.cancel()
            _ = await waiting.result
            #expect(pipe.isOpen)
            try raw.send(bytes("gun\n"))
            #expect(try await endpoint.receive() == "begun")
            #expect(pipe.isForgotten)
        }
    }

    @Test func `31: what is kept for a packet that never ends goes with the endpoint`() async throws
    {
        let pipe = try WatchedPipe()
        try await withPassing { endpoint, raw in
            try raw.send(bytes("be"), descriptors: [pipe.writing])
            pipe.closeWriting()
            let waiting = await started { try await count(endpoint) }
            waiting.cancel()
            _ = await waiting.result
            #expect(pipe.isOpen)
        }
        try await eventually("the descriptor is closed") { pipe.isForgotten }
    }

    /// RELIABILITY 67: also where the kernel puts one more into the padding.
    @Test(arguments: [0, 1, 2, 3, 252])
    func `more descriptors than the capacity: an error, all closed, and the next packet comes`(
        _ capacity: Int
    ) async throws {
        try await withPassing { endpoint, raw in
            let pipe = try WatchedPipe()
            for count in [capacity + 1, 253] {
                let passed = Array(repeating: pipe.writing, count: count)
                try raw.send(bytes("too many\n"), descriptors: passed)
            }
            try raw.send(
                bytes("right\n"), descriptors: Array(repeating: pipe.writing, count: capacity))
            for _ in 0..<2 {
                await #expect(throws: PacketError.stream(.ancillaryTruncated)) {
                    try await count(endpoint, capacity)
                }
            }
            let right = Count(packet: "right", descriptors: capacity)
            try await #expect(count(endpoint, capacity) == right)
            pipe.closeWriting()
            #expect(pipe.isForgotten)
        }
    }

    @Test func `a malformed packet takes its descriptors along`() async throws {
        try await withPassing { endpoint, raw in
            let pipe = try WatchedPipe()
            try raw.send([0xFF, 10], descriptors: [pipe.writing])
            try raw.send(bytes("good\n"))
            await #expect(throws: PacketError.malformed("not UTF-8")) { try await count(endpoint) }
            pipe.closeWriting()
            #expect(pipe.isForgotten)
            try await #expect(count(endpoint) == Count(packet: "good", descriptors: 0))
        }
    }

    @Test func `18: the end comes behind the packets, and a cut one is told`() async throws {
        try await withPassing { endpoint, raw in
            let pipe = try WatchedPipe()
            try raw.send(bytes("whole\n"), descriptors: [pipe.writing])
            shutdown(raw.fd, Int32(SHUT_WR))
            try await #expect(count(endpoint) == Count(packet: "whole", descriptors: 1))
            try await #expect(count(endpoint) == nil)
        }
    }

    @Test func `long packets in pieces keep their borders and their descriptors`() async throws {
        try await withLoop { _ in
            let (raw, other) = try RawSocket.pair()
            let (reader, writer) = try await adoptSocket(other)
            let endpoint = StreamEndpoint(
                reader, writer, FramedCodec(LengthPrefixFraming(UInt32.self), BytesSerializer()))
            let pipe = try WatchedPipe()
            let sizes = [0, 1, 70_000, 5, 300_000, 2]
            let sending = EventLoop.current!.spawn {
                for size in sizes {
                    let frame = withUnsafeBytes(of: UInt32(size).bigEndian) { Array($0) }
                    var left = (frame + TestBytes.make(count: size))[...]
                    var passed = [pipe.writing]
                    while !left.isEmpty {
                        let sent = try? raw.send(Array(left.prefix(9_000)), descriptors: passed)
                        left = left.dropFirst(sent ?? 0)
                        if sent != nil { passed = [] } else { await EventLoop.yield() }
                    }
                }
            }
            for size in sizes {
                guard let received = try await endpoint.receive(ancillaryCapacity: 1) else {
                    throw NothingCame()
                }
                let (packet, descriptors) = (received.packet, received.ancillary.count)
                #expect(packet.count == size && TestBytes.match(packet, from: 0))
                #expect(descriptors == 1)
            }
            try await sending.value
            #expect(reader.buffered == 0)
            await writer.abort()
        }
    }

    /// Also with receives that are refused and cut short: each packet keeps its own.
    @Test func `24: descriptors keep to their packets under a kernel that gives little`()
        async throws
    {
        let faults = FaultTable()
        try await withPassing(faults: faults) { endpoint, raw in
            var quirks = cf_quirks()
            (quirks.seed, quirks.short_read_odds, quirks.would_block_odds) = (11, 700, 300)
            faults.set(quirks)
            let pipe = try WatchedPipe()
            for round in 0..<20 {
                for number in 0..<10 {
                    let passed = Array(repeating: pipe.writing, count: number % 3)
                    try raw.send(bytes("packet \(round) \(number)\n"), descriptors: passed)
                }
                for number in 0..<10 {
                    let expected = Count(
                        packet: "packet \(round) \(number)", descriptors: number % 3)
                    try await #expect(count(endpoint) == expected)
                }
            }
            #expect(faults.counts(CF_RECVMSG).would_block > 20)
            pipe.closeWriting()
            #expect(pipe.isForgotten)
        }
    }

    // MARK: Credentials

    @Test func `30: credentials name the sender, and pid 0 stands for this process`() async throws {
        try await withLoop { _ in
            let (left, right) = try await makePassingPair()
            try await left.endpoint.send(
                "before", ancillary: Ancillary(credentials: PeerCredentials(process: 0)))
            try await left.endpoint.writer.flush()
            try right.endpoint.writer.setReceivesCredentials(true)
            try await left.endpoint.send("plain")
            try await left.endpoint.send("me", ancillary: Ancillary(credentials: .own))
            let pipe = try WatchedPipe()
            let both = Ancillary(
                descriptors: [pipe.writing], credentials: PeerCredentials(process: 0))
            try await left.endpoint.send("both", ancillary: both)
            for (text, count) in [("before", 0), ("plain", 0), ("me", 0), ("both", 1)] {
                guard let received = try await right.endpoint.receive(ancillaryCapacity: 4)
                else { throw NothingCame() }
                let (packet, descriptors) = (received.packet, received.ancillary.count)
                let credentials = received.ancillary.credentials
                #expect(packet == text && credentials == .own && descriptors == count)
            }
            await left.endpoint.abort()
            await right.endpoint.abort()
        }
    }

    @Test func `69: the peer's credentials are its own, and known after the close`() async throws {
        try await withLoop { _ in
            let (left, right) = try await makePassingPair()
            #expect(try left.endpoint.writer.peerCredentials() == .own)
            await left.endpoint.abort()
            await right.endpoint.abort()
            #expect(try left.endpoint.writer.peerCredentials() == .own)
            #expect(throws: StreamError.closed) { try right.endpoint.writer.peerCredentials() }
        }
    }

    // MARK: Refused

    @Test(arguments: PairKind.allCases)
    func `29: elsewhere than on a Unix socket it is unsupported, and the stream goes on`(
        _ kind: PairKind
    ) async throws {
        try await withEndpoint(kind) { endpoint, far in
            let pipe = try WatchedPipe()
            let none = PacketError.stream(
                .unsupported("ancillary data passes through Unix sockets only"))
            for ancillary in [Ancillary(descriptors: [pipe.writing]), Ancillary()] {
                await #expect(throws: none) {
                    try await endpoint.send("with", ancillary: ancillary)
                }
            }
            await #expect(throws: none) { try await count(endpoint) }
            #expect(throws: StreamError.self) {
                try endpoint.writer.setReceivesCredentials(true)
            }
            try await endpoint.send("without")
            #expect(try await far.reader.readLine() == bytes("without\n"))
            try await far.say("back\n")
            #expect(try await endpoint.receive() == "back")
        }
    }
}

/// What a receive gave, its descriptors counted and closed.
struct Count: Equatable, Sendable {
    var packet: String
    var descriptors: Int
}

/// Receives one packet and drops what came with it.
func count(_ endpoint: LineEndpoint, _ capacity: Int = 8) async throws -> Count? {
    guard let received = try await endpoint.receive(ancillaryCapacity: capacity) else { return nil }
    return Count(packet: received.packet, descriptors: received.ancillary.count)
}

struct NothingCame: Error {}

private func closing(_ descriptor: consuming OwnedDescriptor) {}

/// An endpoint of lines and its far end.
struct PassingEnd: Sendable {
    let endpoint: LineEndpoint
}

/// Two endpoints of lines over a socketpair(2).
func makePassingPair() async throws -> (PassingEnd, PassingEnd) {
    let (raw, other) = try RawSocket.pair()
    let left = try await adoptSocket(dup(raw.fd))
    let right = try await adoptSocket(other)
    return (
        PassingEnd(endpoint: StreamEndpoint(left.reader, left.writer, LineCodec.lines())),
        PassingEnd(endpoint: StreamEndpoint(right.reader, right.writer, LineCodec.lines()))
    )
}

/// A lines endpoint on a Unix socket, whose other end is plain system calls.
func withPassing(
    faults: FaultTable? = nil, sourceLocation: SourceLocation = #_sourceLocation,
    _ body: @escaping @Sendable (LineEndpoint, RawSocket) async throws -> Void
) async throws {
    try await withLoop(faults: faults, sourceLocation: sourceLocation) { _ in
        let (raw, other) = try RawSocket.pair()
        let (reader, writer) = try await adoptSocket(other)
        let endpoint = StreamEndpoint(reader, writer, LineCodec.lines())
        let result: Result<Void, any Error>
        do { result = .success(try await body(endpoint, raw)) } catch { result = .failure(error) }
        await writer.abort()
        try result.get()
    }
}
