// Descriptors that leave with bytes, against a peer of plain system calls: whatever the kernel
// takes at once, the stream stays whole and each descriptor leaves once. Numbers of ENDPOINTS 6.

import Glibc
import Sluice
import SluiceTestKit
import Testing

@Suite struct AncillaryWriteTests {
    @Test func `24, 56: descriptors leave with their bytes, between what is written around them`()
        async throws
    {
        try await withRawPeer { stream, raw in
            let pipes = [try WatchedPipe(), try WatchedPipe()]
            try stream.writer.write("before ")
            try stream.writer.write(
                bytes("with "), ancillary: Ancillary(descriptors: [pipes[0].writing]))
            try stream.writer.write("between ")
            try stream.writer.write(
                bytes("and "), ancillary: Ancillary(descriptors: pipes.map(\.writing)))
            try stream.writer.write("after")
            try await stream.writer.flush()
            // The kernel ends a receive behind a message with descriptors.
            var pieces: [String] = []
            for passed in [[0], [0, 1], []] {
                let got = try raw.receive()
                pieces.append(String(decoding: got.bytes, as: UTF8.self))
                #expect(
                    got.descriptors.map(fileIdentity)
                        == passed.map { fileIdentity(pipes[$0].writing) })
                for descriptor in got.descriptors { close(descriptor) }
            }
            #expect(pieces == ["before with ", "between and ", "after"])
        }
    }

    /// The reference fails after the descriptors have left; here the rest follows.
    @Test func `28, 33: what is larger than the kernel takes at once arrives whole`() async throws {
        try await withRawPeer { stream, raw in
            let pipe = try WatchedPipe()
            let large = TestBytes.make(count: 1_000_000)
            let sending = await started {
                try await stream.writer.send(
                    large, ancillary: Ancillary(descriptors: [pipe.writing]))
            }
            #expect(stream.writer.bytesQueued > 0)
            pipe.closeWriting()
            let arrived = try await drain(raw, until: large.count)
            try await sending.value
            #expect(same(arrived.bytes, large) && arrived.descriptors.count == 1)
            #expect(arrived.places == [0])
            for descriptor in arrived.descriptors { close(descriptor) }
            #expect(pipe.isForgotten)
        }
    }

    @Test func `descriptors that cannot be kept queue nothing, and take none of those before`()
        async throws
    {
        let faults = FaultTable()
        try await withRawPeer(faults: faults) { stream, raw in
            let pipes = [try WatchedPipe(), try WatchedPipe()]
            let queued = try await clog(stream.writer, highWaterMark: 65_536)
            try stream.writer.write(
                bytes("kept"), ancillary: Ancillary(descriptors: [pipes[0].writing]))
            // The first duplicate of two is made, and closed again.
            faults.fail(CF_FCNTL, with: EMFILE, at: 2)
            #expect(throws: StreamError.system(SystemError(call: "fcntl", errno: EMFILE))) {
                try stream.writer.write(
                    bytes("not"), ancillary: Ancillary(descriptors: pipes.map(\.writing)))
            }
            try stream.writer.write("later")
            let arrived = try await drain(raw, until: queued + 9)
            #expect(arrived.bytes.suffix(9) == bytes("keptlater")[...])
            #expect(arrived.descriptors.map(fileIdentity) == [fileIdentity(pipes[0].writing)])
            for descriptor in arrived.descriptors { close(descriptor) }
            for pipe in pipes { pipe.closeWriting() }
            for pipe in pipes { #expect(pipe.isForgotten) }
        }
    }

    @Test func `messages beside single bytes leave in order, however many wait`() async throws {
        try await withRawPeer { stream, raw in
            let queued = try await clog(stream.writer, highWaterMark: 65_536)
            let ancillary = Ancillary(credentials: PeerCredentials(process: 0))
            let contents = (0..<3_000).map { UInt8($0 % 251) }
            for byte in contents { try stream.writer.write([byte], ancillary: ancillary) }
            let pipe = try WatchedPipe()
            try stream.writer.write([7], ancillary: Ancillary(descriptors: [pipe.writing]))
            let arrived = try await drain(raw, until: queued + 3_001)
            #expect(arrived.bytes.suffix(3_001) == (contents + [7])[...])
            #expect(arrived.descriptors.map(fileIdentity) == [fileIdentity(pipe.writing)])
            for descriptor in arrived.descriptors { close(descriptor) }
        }
    }

    @Test func `28: descriptors that have to wait are the caller's again at once`() async throws {
        try await withRawPeer { stream, raw in
            let pipe = try WatchedPipe()
            let queued = try await clog(stream.writer, highWaterMark: 65_536)
            try stream.writer.write(
                bytes("late"), ancillary: Ancillary(descriptors: [pipe.writing, pipe.writing]))
            pipe.closeWriting()
            #expect(pipe.isOpen)
            try stream.writer.write("later")
            let arrived = try await drain(raw, until: queued + 9)
            #expect(TestBytes.match(Array(arrived.bytes.prefix(queued)), from: 0))
            #expect(arrived.bytes.suffix(9) == bytes("latelater")[...])
            // No byte of "later" came with them.
            #expect(arrived.descriptors.count == 2 && arrived.places.allSatisfy { $0 <= queued })
            for descriptor in arrived.descriptors { close(descriptor) }
            #expect(pipe.isForgotten)
        }
    }

    @Test func `22: a cancelled send has queued all of it, and an abort forgets it`() async throws {
        try await withRawPeer { stream, raw in
            let (sent, dropped) = (try WatchedPipe(), try WatchedPipe())
            let queued = try await clog(stream.writer, highWaterMark: 65_536)
            let sending = await started {
                try await stream.writer.send(
                    bytes("whole"), ancillary: Ancillary(descriptors: [sent.writing]))
            }
            sending.cancel()
            await #expect(throws: StreamError.cancelled) { try await sending.value }
            sent.closeWriting()
            let arrived = try await drain(raw, until: queued + 5)
            #expect(arrived.bytes.suffix(5) == bytes("whole")[...])
            #expect(arrived.descriptors.count == 1)
            for descriptor in arrived.descriptors { close(descriptor) }
            #expect(sent.isForgotten)

            _ = try await clog(stream.writer, highWaterMark: 65_536)
            try stream.writer.write(
                bytes("lost"), ancillary: Ancillary(descriptors: [dropped.writing]))
            dropped.closeWriting()
            #expect(dropped.isOpen)
            await stream.writer.abort()
            #expect(dropped.isForgotten)
        }
    }

    @Test func `56: many tasks send descriptors, each leaves with its own bytes`() async throws {
        try await withRawPeer { stream, raw in
            let pipes = try (0..<50).map { _ in try WatchedPipe() }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for (number, pipe) in pipes.enumerated() {
                    group.addTask {
                        let line = [UInt8(number)] + TestBytes.make(count: 1_000 * (number % 9))
                        try await stream.writer.send(
                            line, ancillary: Ancillary(descriptors: [pipe.writing]))
                    }
                }
                group.addTask {
                    let total = 50 + (0..<50).reduce(0) { $0 + 1_000 * ($1 % 9) }
                    let arrived = try await drain(raw, until: total)
                    #expect(arrived.descriptors.count == 50)
                    for (place, descriptor) in zip(arrived.places, arrived.descriptors) {
                        let number = Int(arrived.bytes[place])
                        #expect(fileIdentity(descriptor) == fileIdentity(pipes[number].writing))
                        close(descriptor)
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    // MARK: Refused

    @Test func `28: a 254th descriptor is refused before anything is sent`() async throws {
        try await withRawPeer { stream, raw in
            let pipe = try WatchedPipe()
            let tooMany = Ancillary(descriptors: Array(repeating: pipe.writing, count: 254))
            #expect(throws: StreamError.tooManyDescriptors(254, limit: 253)) {
                try stream.writer.write(bytes("x"), ancillary: tooMany)
            }
            let most = Ancillary(descriptors: Array(tooMany.descriptors.dropLast()))
            try await stream.writer.send(bytes("y"), ancillary: most)
            let got = try raw.receive()
            #expect(got.bytes == bytes("y") && got.descriptors.count == 253)
            for descriptor in got.descriptors { close(descriptor) }
        }
    }

    @Test func `what the kernel refuses is told, not sent, and the stream goes on`() async throws {
        try await withRawPeer { stream, raw in
            let unset: Int32 = 1_000_000
            let failed = StreamError.system(SystemError(call: "sendmsg", errno: EBADF))
            try stream.writer.write("one ")
            #expect(throws: failed) {
                try stream.writer.write(bytes("bad "), ancillary: Ancillary(descriptors: [unset]))
            }
            try stream.writer.write("two ")
            #expect(throws: StreamError.self) {
                try stream.writer.write([], ancillary: Ancillary(descriptors: [0]))
            }
            try await stream.writer.send("three")
            try await stream.writer.flush()
            #expect(try raw.receive().bytes == bytes("one two three"))
            // Also if it has to wait: then it is the duplicating that fails.
            let queued = try await clog(stream.writer, highWaterMark: 65_536)
            let refused = StreamError.system(SystemError(call: "fcntl", errno: EBADF))
            let before = stream.writer.bytesQueued
            #expect(throws: refused) {
                try stream.writer.write(
                    bytes("bad"), ancillary: Ancillary(descriptors: [0, unset]))
            }
            #expect(stream.writer.bytesQueued == before)
            let arrived = try await drain(raw, until: queued)
            #expect(arrived.bytes.count == queued && arrived.descriptors.isEmpty)
        }
    }

    @Test func `credentials that are not true are refused`() async throws {
        try await withRawPeer { stream, raw in
            // Nobody has this process number: kernel.pid_max is at most 2^22.
            let untrue = PeerCredentials(process: .max, user: 0, group: 0)
            #expect(throws: StreamError.self) {
                try stream.writer.write(bytes("lie"), ancillary: Ancillary(credentials: untrue))
            }
            try await stream.writer.send("truth")
            try await stream.writer.flush()
            #expect(try raw.receive().bytes == bytes("truth"))
        }
    }

    @Test func `only so many descriptors are kept for a peer that reads nothing`() async throws {
        try await withRawPeer { stream, raw in
            let pipe = try WatchedPipe()
            _ = try await clog(stream.writer, highWaterMark: 65_536)
            let passed = Ancillary(descriptors: Array(repeating: pipe.writing, count: 253))
            for _ in 0..<4 { try stream.writer.write(bytes("x"), ancillary: passed) }
            #expect(throws: StreamError.tooManyDescriptors(1_265, limit: 1_012)) {
                try stream.writer.write(bytes("x"), ancillary: passed)
            }
            pipe.closeWriting()
            await stream.writer.abort()
            #expect(pipe.isForgotten)
        }
    }

    // MARK: Faults

    @Test func `33: with calls refused and shortened each descriptor leaves once`() async throws {
        let faults = FaultTable()
        try await withRawPeer(faults: faults) { stream, raw in
            var quirks = cf_quirks()
            (quirks.seed, quirks.short_write_odds, quirks.would_block_odds) = (7, 700, 400)
            faults.set(quirks)
            let pipe = try WatchedPipe()
            let reading = await started { try await drain(raw, until: 200 * 12) }
            for number in 0..<200 {
                let line = [UInt8(number)] + bytes(" and more.\n")
                if number % 2 == 0 {
                    let passed = Ancillary(descriptors: [pipe.writing])
                    try await stream.writer.send(line, ancillary: passed)
                } else {
                    try await stream.writer.send(line)
                }
            }
            let arrived = try await reading.value
            #expect(arrived.descriptors.count == 100)
            for (number, place) in zip(0..<100, arrived.places) {
                #expect(place <= number * 24 && place > number * 24 - 24)
            }
            for descriptor in arrived.descriptors { close(descriptor) }
            pipe.closeWriting()
            #expect(pipe.isForgotten)
        }
    }

    @Test func `descriptors that waited are tried again while too many are on their way`()
        async throws
    {
        let faults = FaultTable()
        try await withRawPeer(faults: faults) { stream, raw in
            let pipe = try WatchedPipe()
            faults.fail(CF_SENDMSG, with: EAGAIN)
            try stream.writer.write(
                bytes("kept"), ancillary: Ancillary(descriptors: [pipe.writing]))
            pipe.closeWriting()
            try stream.writer.write("later")
            faults.fail(CF_SENDMSG, with: ETOOMANYREFS, times: 3)
            try await stream.writer.flush()
            let arrived = try await drain(raw, until: 9)
            #expect(arrived.bytes == bytes("keptlater") && arrived.places == [0])
            for descriptor in arrived.descriptors { close(descriptor) }
            #expect(pipe.isForgotten)
            #expect(faults.counts(CF_SENDMSG).injected == 4)
            // While it rests nothing keeps the stream from ending.
            let dropped = try WatchedPipe()
            faults.fail(CF_SENDMSG, with: EAGAIN)
            try stream.writer.write(
                bytes("kept"), ancillary: Ancillary(descriptors: [dropped.writing]))
            faults.fail(CF_SENDMSG, with: ETOOMANYREFS, times: .max)
            try await eventually("it is refused") { faults.counts(CF_SENDMSG).injected > 6 }
            await stream.writer.abort()
            dropped.closeWriting()
            #expect(dropped.isForgotten)
        }
    }

    /// Whoever sent it has been told that it is queued, so all that can be told is the end.
    @Test(arguments: [EPERM, EINVAL, ESRCH])
    func `what the kernel has against data that waited ends the output, and says so`(
        _ errno: Int32
    ) async throws {
        let faults = FaultTable()
        try await withRawPeer(faults: faults) { stream, raw in
            let pipe = try WatchedPipe()
            try stream.writer.write("before")
            try await stream.writer.flush()
            faults.fail(CF_SENDMSG, with: EAGAIN)
            try stream.writer.write(
                bytes("refused"), ancillary: Ancillary(descriptors: [pipe.writing]))
            pipe.closeWriting()
            try stream.writer.write("behind")
            faults.fail(CF_SENDMSG, with: errno)
            await #expect(throws: StreamError.reset(errno: errno)) {
                try await stream.writer.flush()
            }
            #expect(throws: StreamError.reset(errno: errno)) { try stream.writer.write("x") }
            #expect(pipe.isForgotten)
            await stream.writer.close()
            #expect(try raw.receive().bytes == bytes("before"))
            #expect((try? raw.receive().bytes) ?? [] == [])
        }
    }

    // MARK: Unasked for

    /// recv(2) stops behind a message with descriptors: less than asked for, with more behind it.
    @Test func `31: descriptors nobody asked for are dropped, and what follows is read`()
        async throws
    {
        try await withRawPeer { stream, raw in
            let pipe = try WatchedPipe()
            for round in 0..<50 {
                try raw.send(bytes("A"), descriptors: [pipe.writing])
                try raw.send(bytes("B"), descriptors: [pipe.writing, pipe.writing])
                try raw.send(bytes("C\n"))
                #expect(try await stream.reader.readLine() == bytes("ABC\n"), "round \(round)")
            }
            try raw.send(bytes("A"), descriptors: [pipe.writing])
            shutdown(raw.fd, Int32(SHUT_WR))
            #expect(try await stream.reader.readToEnd() == bytes("A"))
            pipe.closeWriting()
            #expect(pipe.isForgotten)
        }
    }
}

/// What a raw peer has received.
private struct Drained: Sendable {
    var bytes: [UInt8] = []
    var descriptors: [Int32] = []
    /// For each descriptor the first byte that the receive it came by has stored.
    var places: [Int] = []
}

/// Receives so many bytes, between the turns of the loop.
private func drain(_ raw: RawSocket, until count: Int) async throws -> Drained {
    var drained = Drained()
    try await eventually("\(count) bytes arrive") {
        while drained.bytes.count < count, let got = try? raw.receive(), !got.bytes.isEmpty {
            drained.places += got.descriptors.map { _ in drained.bytes.count }
            drained.bytes += got.bytes
            drained.descriptors += got.descriptors
        }
        return drained.bytes.count >= count
    }
    return drained
}

/// A stream on one end of a socketpair(2) whose other end is plain system calls.
private func withRawPeer(
    faults: FaultTable? = nil, sourceLocation: SourceLocation = #_sourceLocation,
    _ body: @escaping @Sendable (StreamEnd, RawSocket) async throws -> Void
) async throws {
    try await withLoop(faults: faults, sourceLocation: sourceLocation) { _ in
        let (raw, other) = try RawSocket.pair()
        let stream = StreamEnd(try await adoptSocket(other))
        try await releasing(stream, stream) { try await body(stream, raw) }
    }
}
