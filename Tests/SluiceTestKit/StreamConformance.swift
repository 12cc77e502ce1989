// What every kind of stream has to do, after trio's check_one_way_stream, check_two_way_stream and
// check_half_closeable_stream. A new kind of stream is one call of `checkStream`. Test kit, on a
// loop.

public import Sluice
import Testing

/// Makes two connected ends.
public typealias PairMaker = @Sendable () async throws -> (StreamEnd, StreamEnd)

/// Makes two connected ends of which the first one's output is over its high mark, while the far
/// end does not read; `queued` bytes of ``TestBytes`` were written.
public typealias CloggedPairMaker =
    @Sendable () async throws -> (near: StreamEnd, far: StreamEnd, queued: Int)

/// Runs the whole list. The makers are called once for each check; pairs are aborted after it.
public func checkStream(
    makePair: @escaping PairMaker, makeCloggedPair: @escaping CloggedPairMaker
) async throws {
    let forward: [(StreamEnd, StreamEnd) async throws -> Void] = [
        checkSending, checkSecondReader, checkCancelledRead, checkGracefulEnd, checkClosedSender,
        checkClosedReceiver, checkVanishedReceiver, checkCloseWhileReading, checkRepeatedClose,
        checkCancelledClose,
    ]
    for check in forward {
        let (near, far) = try await makePair()
        try await releasing(near, far) { try await check(near, far) }
        let (left, right) = try await makePair()
        try await releasing(left, right) { try await check(right, left) }
    }
    for check in [checkBothWays, checkHalfClose, checkHalfCloseErrors] {
        let (near, far) = try await makePair()
        try await releasing(near, far) { try await check(near, far) }
    }
    for check in [
        checkUnclogging, checkCloggedClose, checkCloggedAbort, checkCloggedLoss,
        checkCancelledDrain, checkCloggedHalfClose,
    ] {
        let (near, far, queued) = try await makeCloggedPair()
        try await releasing(near, far) { try await check(near, far, queued) }
    }
}

// MARK: One way

/// Bytes sent arrive, whatever the sizes; an empty send sends nothing.
private func checkSending(_ near: StreamEnd, _ far: StreamEnd) async throws {
    async let sent: Void = near.writer.send("x")
    #expect(try await far.reader.read() == bytes("x"))
    try await sent
    try await near.writer.send([])
    try await near.writer.send("abcde")
    #expect(try await far.reader.readExactly(5) == bytes("abcde"))
    try await near.writer.send("12")
    #expect(try await far.reader.read(upTo: 1) == bytes("1"))
    #expect(try await far.reader.read(upTo: 1) == bytes("2"))
}

/// While one task reads, a second one is refused and the first is served.
private func checkSecondReader(_ near: StreamEnd, _ far: StreamEnd) async throws {
    let first = await started { try await far.reader.read() }
    await #expect(throws: StreamError.busy) { try await far.reader.read() }
    try await near.writer.send("x")
    #expect(try await first.value == bytes("x"))
}

/// A read that was cancelled took nothing, and the next one may start at once.
private func checkCancelledRead(_ near: StreamEnd, _ far: StreamEnd) async throws {
    let reading = await started { try await far.reader.readExactly(3) }
    try await near.say("ab")
    reading.cancel()
    await #expect(throws: StreamError.cancelled) { try await reading.value }
    try await near.writer.send("c")
    #expect(try await far.reader.readExactly(3) == bytes("abc"))
}

/// Everything sent before an orderly close arrives, then the end, again and again.
private func checkGracefulEnd(_ near: StreamEnd, _ far: StreamEnd) async throws {
    try near.writer.write("last words")
    let closing = await started { await near.writer.close() }
    #expect(try await far.reader.readExactly(10) == bytes("last words"))
    for _ in 0..<3 { #expect(try await far.reader.read() == nil) }
    await far.writer.close()
    try await closing.value
}

/// After an own close, writing is refused as `closed`, empty writes too.
private func checkClosedSender(_ near: StreamEnd, _ far: StreamEnd) async throws {
    near.writer.startClosing()
    #expect(near.writer.isClosing)
    for text in ["x", ""] {
        #expect(throws: StreamError.closed) { try near.writer.write(text) }
        await #expect(throws: StreamError.closed) { try await near.writer.send(text) }
    }
    #expect(try await far.reader.read() == nil)
}

/// After an own close, reading is refused as `closed`.
private func checkClosedReceiver(_ near: StreamEnd, _ far: StreamEnd) async throws {
    far.writer.startClosing()
    for _ in 0..<2 {
        await #expect(throws: StreamError.closed) { try await far.reader.read() }
    }
    await near.writer.close()
    await far.writer.close()
    await #expect(throws: StreamError.closed) { try await far.reader.read() }
}

/// Sending to an end that went away fails after a while, and then for ever with the same error.
private func checkVanishedReceiver(_ near: StreamEnd, _ far: StreamEnd) async throws {
    await far.writer.abort()
    let error = await sendUntilError(near.writer)
    guard case .reset? = error, let error else {
        Issue.record("sending to an aborted peer ended with \(String(describing: error))")
        return
    }
    for _ in 0..<3 {
        #expect(throws: error) { try near.writer.write("x") }
        await #expect(throws: error) { try await near.writer.drain() }
    }
}

/// Sends until that throws, at most 64 MiB.
public func sendUntilError(_ writer: StreamWriter) async -> StreamError? {
    let piece = TestBytes.make(count: 65_536)
    for _ in 0..<1_024 {
        do throws(StreamError) {
            try await writer.send(piece)
        } catch {
            return error
        }
    }
    return nil
}

/// A read that waits is ended by the own close.
private func checkCloseWhileReading(_ near: StreamEnd, _ far: StreamEnd) async throws {
    let reading = await started { try await near.reader.read() }
    near.writer.startClosing()
    await #expect(throws: StreamError.closed) { try await reading.value }
}

/// Closing again, after or during the first close, is fine; and so is closing both ends.
private func checkRepeatedClose(_ near: StreamEnd, _ far: StreamEnd) async throws {
    async let one: Void = near.writer.close()
    async let two: Void = near.writer.close()
    async let three: Void = far.writer.close()
    _ = await (one, two, three)
    await near.writer.close()
    await near.writer.abort()
    try await near.writer.waitClosed()
    try await far.writer.waitClosed()
}

/// A close that is cancelled still closes.
private func checkCancelledClose(_ near: StreamEnd, _ far: StreamEnd) async throws {
    let closing = await started { await near.writer.close() }
    closing.cancel()
    try await closing.value
    far.writer.startClosing()
    try await near.writer.waitClosed()
    #expect(throws: StreamError.closed) { try near.writer.write("x") }
}

// MARK: Both ways

/// A lot of bytes in pieces of random size, both ways at the same time, are the same at the end.
private func checkBothWays(_ near: StreamEnd, _ far: StreamEnd) async throws {
    let seed = SeededGenerator().seed
    let count = isLongRun ? 1 << 20 : 1 << 18
    async let a: Void = sendPieces(near.writer, count: count, seed: seed)
    async let b: Void = sendPieces(far.writer, count: count, seed: seed &+ 1)
    async let c = receivePieces(near.reader, seed: seed &+ 2)
    async let d = receivePieces(far.reader, seed: seed &+ 3)
    _ = try await (a, b)
    #expect(try await c == count, "seed \(seed)")
    #expect(try await d == count, "seed \(seed)")
}

/// Sends `count` bytes of ``TestBytes`` in pieces of random size, then the end.
public func sendPieces(_ writer: StreamWriter, count: Int, seed: UInt64) async throws {
    var random = SeededGenerator(seed: seed)
    var sent = 0
    while sent < count {
        let size = min(count - sent, random.size(bits: 16))
        try await writer.send(TestBytes.make(from: sent, count: size))
        sent += size
        if size % 7 == 0 { await EventLoop.yield() }
    }
    try writer.finishWriting()
}

/// Reads to the end in pieces of random size; returns how many bytes were those of ``TestBytes``.
public func receivePieces(_ reader: StreamReader, seed: UInt64) async throws -> Int {
    var random = SeededGenerator(seed: seed)
    var received = 0
    while true {
        let most = 1 + random.size(bits: 17)
        guard let piece = try await reader.read(upTo: most) else { return received }
        guard !piece.isEmpty, piece.count <= most, TestBytes.match(piece, from: received) else {
            Issue.record("\(piece.count) wrong bytes at \(received), seed \(seed)")
            return received
        }
        received += piece.count
        if most % 7 == 0 { await EventLoop.yield() }
    }
}

/// One end's half-close is the other's end of stream; the other direction goes on.
private func checkHalfClose(_ near: StreamEnd, _ far: StreamEnd) async throws {
    try near.writer.write("question")
    try near.writer.finishWriting()
    #expect(try await far.reader.readToEnd() == bytes("question"))
    #expect(far.reader.atEOF)
    try await far.writer.send("ans")
    #expect(try await near.reader.readExactly(3) == bytes("ans"))
    try await far.writer.send("wer")
    try far.writer.finishWriting()
    #expect(try await near.reader.readToEnd() == bytes("wer"))
    #expect(try await near.reader.read() == nil)
}

/// Half-closing again is fine; writing after it, and half-closing after a close, is `closed`.
private func checkHalfCloseErrors(_ near: StreamEnd, _ far: StreamEnd) async throws {
    try near.writer.finishWriting()
    try near.writer.finishWriting()
    for text in ["x", ""] {
        #expect(throws: StreamError.closed) { try near.writer.write(text) }
    }
    far.writer.startClosing()
    #expect(throws: StreamError.closed) { try far.writer.finishWriting() }
}

// MARK: Clogged

/// `drain` waits on a clogged stream until the far end reads; every byte arrives.
private func checkUnclogging(_ near: StreamEnd, _ far: StreamEnd, _ queued: Int) async throws {
    let draining = await started { try await near.writer.drain() }
    let flushing = await started { try await near.writer.flush() }
    #expect(near.writer.bytesQueued > 0)
    #expect(TestBytes.match(try await far.reader.readExactly(queued), from: 0))
    try await draining.value
    try await flushing.value
    #expect(near.writer.bytesQueued == 0)
}

/// Closing ends waiting writers: within its time limit, though the far end never reads.
private func checkCloggedClose(_ near: StreamEnd, _ far: StreamEnd, _ queued: Int) async throws {
    let flushing = await started { try await near.writer.flush() }
    let reading = await started { try await near.reader.read() }
    await near.writer.close(within: .milliseconds(20))
    await #expect(throws: StreamError.self) { try await flushing.value }
    await #expect(throws: StreamError.closed) { try await reading.value }
}

/// Aborting ends waiting readers and writers with `aborted`.
private func checkCloggedAbort(_ near: StreamEnd, _ far: StreamEnd, _ queued: Int) async throws {
    let draining = await started { try await near.writer.drain() }
    let flushing = await started { try await near.writer.flush() }
    let reading = await started { try await near.reader.read() }
    near.writer.startAborting()
    await #expect(throws: StreamError.aborted) { try await draining.value }
    await #expect(throws: StreamError.aborted) { try await flushing.value }
    await #expect(throws: StreamError.aborted) { try await reading.value }
    #expect(throws: StreamError.aborted) { try near.writer.write("x") }
    try await near.writer.waitClosed()
}

/// A writer that waits learns that the far end went away.
private func checkCloggedLoss(_ near: StreamEnd, _ far: StreamEnd, _ queued: Int) async throws {
    let draining = await started { try await near.writer.drain() }
    await far.writer.abort()
    do {
        try await draining.value
        Issue.record("drain reported success for lost bytes")
    } catch StreamError.reset {
        // As it should be.
    }
}

/// A cancelled `drain` takes nothing back: what was queued is sent, once.
private func checkCancelledDrain(_ near: StreamEnd, _ far: StreamEnd, _ queued: Int) async throws {
    let draining = await started { try await near.writer.drain() }
    draining.cancel()
    await #expect(throws: StreamError.cancelled) { try await draining.value }
    try near.writer.finishWriting()
    #expect(try await receivePieces(far.reader, seed: SeededGenerator().seed | 3) == queued)
}

/// The end comes after everything that was queued before it.
private func checkCloggedHalfClose(_ near: StreamEnd, _ far: StreamEnd, _ queued: Int) async throws
{
    try near.writer.finishWriting()
    let all = try await far.reader.readToEnd()
    #expect(all.count == queued)
    #expect(TestBytes.match(all, from: 0))
}
