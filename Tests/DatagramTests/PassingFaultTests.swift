// Descriptors beside datagrams when the kernel refuses, gives little, or a peer is as hostile as it
// can be: whatever happens, none stays and none comes to the wrong one. ENDPOINTS 24, 31.

import Glibc
import Sluice
import SluiceTestKit
import Testing

@Suite struct PassingFaultTests {
    // EBADF is the kernel's own in PassingSendTests.
    @Test(arguments: [EINVAL, ETOOMANYREFS, EPERM, ESRCH])
    func `what a send has against ancillary data is told at once, and nothing is queued`(
        _ errno: Int32
    ) async throws {
        let faults = FaultTable()
        try await withPassing(.abstract, faults: faults) { server, client in
            let pipe = try WatchedPipe()
            faults.fail(CF_SENDMMSG, with: errno)
            #expect(throws: StreamError.system(SystemError(call: "sendmmsg", errno: errno))) {
                try client.write(bytes("no"), ancillary: repeated(pipe, 1))
            }
            try await client.send(bytes("yes"), ancillary: repeated(pipe, 2))
            try await #expect(passed(server) == Passed(text: "yes", descriptors: 2))
            pipe.closeWriting()
            #expect(pipe.isForgotten)
        }
    }

    // As for any datagram: one refusal may be an older one's.
    @Test(arguments: [ENOBUFS, ENOMEM, ECONNREFUSED])
    func `another refusal is tried once more; after two the descriptors are let go`(
        _ errno: Int32
    ) async throws {
        let faults = FaultTable()
        try await withPassing(.abstract, faults: faults) { server, client in
            let (sent, lost) = (try WatchedPipe(), try WatchedPipe())
            faults.fail(CF_SENDMMSG, with: errno)
            try client.write(bytes("sent"), ancillary: repeated(sent, 1))
            try await #expect(passed(server) == Passed(text: "sent", descriptors: 1))
            let failed = StreamError.peerFailed(server.localAddress, errno: errno)
            #expect(throws: failed) { try client.write([1]) }
            faults.fail(CF_SENDMMSG, with: errno, times: 2)
            try client.write(bytes("lost"), ancillary: repeated(lost, 1))
            for pipe in [sent, lost] { pipe.closeWriting(); #expect(pipe.isForgotten) }
            #expect(throws: failed) { try client.write([1]) }
            #expect(await client.statistics().notSent == 1)
        }
    }

    @Test(arguments: [EINTR, EAGAIN])
    func `what passes by itself nobody hears of`(_ errno: Int32) async throws {
        let faults = FaultTable()
        try await withPassing(.abstract, faults: faults) { server, client in
            let pipe = try WatchedPipe()
            for call in [CF_RECVMMSG, CF_SENDMMSG] {
                faults.fail(call, with: errno)
                try await client.send(bytes("x"), ancillary: repeated(pipe, 1))
                try await #expect(passed(server) == Passed(text: "x", descriptors: 1))
            }
            pipe.closeWriting()
            #expect(pipe.isForgotten)
        }
    }

    @Test(arguments: [ENOMEM, ENOBUFS, EINVAL])
    func `a receive the system refuses says so, and loses no descriptor`(
        _ errno: Int32
    ) async throws {
        let faults = FaultTable()
        try await withPassing(.abstract, faults: faults) { server, client in
            let pipe = try WatchedPipe()
            try await client.send(bytes("x"), ancillary: repeated(pipe, 3))
            faults.fail(CF_RECVMMSG, with: errno)
            await #expect(
                throws: StreamError.system(SystemError(call: "recvmmsg", errno: errno))
            ) { try await passed(server) }
            try await #expect(passed(server) == Passed(text: "x", descriptors: 3))
        }
    }

    @Test func `a socket that cannot ask for credentials is not opened`() async throws {
        let faults = FaultTable()
        try await withLoop(faults: faults) { _ in
            faults.fail(CF_SETSOCKOPT, with: ENOPROTOOPT)
            let found = await streamError {
                try await bindDatagramSocket(
                    .automatic, options: passingOptions(credentials: true))
            }
            let failure = SystemError(call: "setsockopt", errno: ENOPROTOOPT)
            #expect(found == .listenFailed(address: .unnamed, failure))
        }
    }

    @Test func `24: descriptors keep to their datagrams under a kernel that gives little`()
        async throws
    {
        let faults = FaultTable()
        try await withPassing(.abstract, faults: faults) { server, client in
            let pipe = try WatchedPipe()
            for round in 1...3 as ClosedRange<UInt64> {
                var quirks = cf_quirks()
                (quirks.seed, quirks.would_block_odds, quirks.interrupt_odds) = (round, 300, 100)
                (quirks.short_read_odds, quirks.short_write_odds) = (500, 500)
                if round == 3 { (quirks.read_bytes_max, quirks.write_bytes_max) = (1, 1) }
                faults.set(quirks)
                let sending = await started {
                    for number in 0..<200 {
                        try await client.send(
                            bytes("\(number)"), ancillary: repeated(pipe, number % 5))
                    }
                }
                for number in 0..<200 {
                    let expected = Passed(text: "\(number)", descriptors: number % 5)
                    try await #expect(passed(server) == expected)
                }
                try await sending.value
            }
            faults.set(cf_quirks())
            pipe.closeWriting()
            #expect(pipe.isForgotten)
        }
    }
}

@Suite struct HostilePassingTests {
    /// Everything passed is one pipe's writing end. If none of it is open in the end, whatever the
    /// other tests of this process do, then nothing was left behind.
    @Test func `31: after hostile datagrams no descriptor is left`() async throws {
        let pipe = try WatchedPipe()
        let goal = isLongRun ? 100_000 : 5_000
        let seed = UInt64.random(in: 0 ... .max)
        let sent = Shared(0)
        try await withLoop(deadline: .seconds(300)) { _ in
            var attack = Attack(pipe: pipe, seed: seed)
            while attack.sent < goal { try await attack.runSocket() }
            sent.set(attack.sent)
        }
        #expect(sent.value >= goal)
        pipe.closeWriting()
        #expect(pipe.isForgotten, "seed \(seed)")
    }
}

/// Datagrams of every bad kind, to one socket after the other.
private struct Attack {
    let pipe: WatchedPipe
    let seed: UInt64
    var random: SeededGenerator
    /// Datagrams that the kernel has taken.
    var sent = 0

    init(pipe: WatchedPipe, seed: UInt64) {
        self.pipe = pipe
        self.seed = seed
        random = SeededGenerator(seed: seed)
    }

    mutating func any(_ bound: Int) -> Int { Int.random(in: 0..<bound, using: &random) }

    /// Mostly few, now and then as many as there can be.
    mutating func anyCount() -> Int { any(16) == 0 ? 253 : any(6) }

    mutating func say(_ raw: RawSocket, _ text: String, _ count: Int) throws {
        try raw.send(bytes(text), descriptors: repeated(pipe, count).descriptors)
        sent += 1
    }

    mutating func runSocket() async throws {
        var options = passingOptions(
            [0, 1, 3, 8, 253][any(5)], credentials: any(2) == 0,
            overflow: any(2) == 0 ? .dropNewest : .dropOldest)
        options.maxReceiveSize = 100
        options.queueCount = 1 + any(8)
        let socket = try await bindDatagramSocket(
            DatagramKind.unixPath.makeAddress(), options: options)
        let raw = try rawPeer(of: socket)
        for _ in 0..<any(60) { try await exchange(socket, raw, options) }
        // What is sent now is never received.
        for _ in 0..<any(8) { try say(raw, "unread", anyCount()) }
        if any(2) == 0 { await settle() }
        await socket.close()
    }

    /// A datagram, or something like one, and the call that meets it.
    mutating func exchange(
        _ socket: DatagramSocket, _ raw: RawSocket, _ options: DatagramOptions
    ) async throws {
        let capacity = options.ancillaryCapacity ?? 0
        switch any(6) {
        case 0:
            let count = anyCount()
            try say(raw, "fair", count)
            try await #expect(
                receive(socket) == (count <= capacity ? count : nil), "seed \(seed)")
        case 1:
            try say(raw, String(repeating: "too long ", count: 20), anyCount())
            await #expect(throws: StreamError.self) { try await passed(socket) }
        case 2:
            try say(raw, "nobody asked", any(capacity + 1))
            #expect(try await socket.receive().bytes == bytes("nobody asked"), "seed \(seed)")
        case 3: try await flood(socket, raw, options)
        case 4:
            let waiting = await started { try await passed(socket) }
            if any(2) == 0 { try say(raw, "raced", any(3)) }
            waiting.cancel()
            // It ends either way; what came meanwhile is there for another receive.
            _ = await waiting.result
            try say(raw, "last", 0)
            while (try? await passed(socket))?.text != "last" {}
        default: try await talkNonsense(socket, raw)
        }
    }

    /// More than the queue may hold, none received meanwhile.
    mutating func flood(
        _ socket: DatagramSocket, _ raw: RawSocket, _ options: DatagramOptions
    ) async throws {
        let count = 1 + any(8)
        let before = await socket.statistics().received
        for _ in 0..<count { try say(raw, "flood", anyCount()) }
        if options.overflow == .dropNewest {
            for _ in 0..<count { _ = try await receive(socket) }
        } else {
            try await waitUntil("the flood has come") {
                await socket.statistics().received == before + count
            }
            while await socket.statistics().waiting > 0 { _ = try await receive(socket) }
        }
    }

    /// Control messages that the kernel refuses, ignores or makes something of.
    mutating func talkNonsense(_ socket: DatagramSocket, _ raw: RawSocket) async throws {
        var control: [UInt8] = []
        for _ in 0..<(1 + any(4)) {
            // Of even chances: no number of theirs is that of a descriptor of another test.
            let data = (0..<any(40)).map { _ in UInt8(any(256)) }
            switch any(4) {
            case 0: control += raw.item(level: Int32(any(300)), type: any(300), data)
            case 1: control += raw.item(type: 1, data)
            case 2:
                let rights = repeated(pipe, 1 + any(9)).descriptors
                control += raw.item(type: 1, rights.withUnsafeBytes { Array($0) })
            default: control += data
            }
        }
        // Most of it is EINVAL or EBADF, and nothing is sent then.
        let isSent = (try? raw.send(bytes("nonsense"), control: control)) != nil
        if isSent { sent += 1 } else { try say(raw, "sense", anyCount()) }
        _ = try await receive(socket)
    }
}

/// How many descriptors came with a datagram, all closed by now; nil if they were too many.
private func receive(_ socket: DatagramSocket) async throws -> Int? {
    do { return try await passed(socket).descriptors } catch StreamError.ancillaryTruncated {
        return nil
    }
}
