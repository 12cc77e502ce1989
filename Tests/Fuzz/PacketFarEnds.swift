// The far ends of a packet connection under test, whose streams may be replaced: what they take,
// each to its end, and what is left in the old ones.

import Sluice
@testable import SluicePackets
@testable import SluiceReactor
@testable import SluiceStreams

/// A pair in memory, made by a task of the loop without a wait.
func memoryPairAtOnce(_ capacity: Int, chunk: Int) -> (StreamPair, StreamPair) {
    do throws(StreamError) {
        let pair = MemoryTransport.makePair(
            loop: loop, settings: try StreamOptions().checked(), capacity: capacity, chunk: chunk)
        return (
            (StreamReader(pair.0), StreamWriter(pair.0)),
            (StreamReader(pair.1), StreamWriter(pair.1))
        )
    } catch {
        fail("no stream: \(error)")
    }
}

/// One far end, and the near one as long as it is not the connection's any more.
struct FarEnd {
    let near: StreamPair
    let far: StreamPair
}

extension ConnectionScript {
    func addEnd() -> StreamPair {
        // Small pieces are to be asked for: each costs a turn.
        let pair = memoryPairAtOnce(64 + choices.next() * 16, chunk: 256 - choices.next())
        ends.append(FarEnd(near: pair.0, far: pair.1))
        return pair.0
    }

    /// Over to new streams: both, or one half, or none to read from.
    func replaceStreams(_ number: Int) {
        guard let connection, ends.count < 4 else { return }
        let old = ends[ends.count - 1]
        let reader = connection.reader
        let near = addEnd()
        do {
            try connection.replaceStreams(
                reader: number & 7 == 7 ? nil : near.reader,
                writer: number & 0x38 == 0x38 ? nil : near.writer)
        } catch {
            ends.removeLast()
            near.writer.startAborting()
            if error != .busy, connection.pump.ending == nil {
                fail("connections: the streams were not replaced: \(error)")
            }
            return
        }
        if number & 7 == 7 { model.hasLackedReader = true }
        leave(old, didRead: reader != nil)
    }

    /// The old streams are the caller's again: what was queued still leaves, and what has come
    /// behind the last packet is there.
    private func leave(_ old: FarEnd, didRead: Bool) {
        let rest = model.replaceReader()
        let isCut = model.isFinishedThere || !didRead
        if !model.isFinishedThere { try? old.far.writer.write(outbox) }
        model.isFinishedThere = false
        outbox = []
        try? old.far.writer.finishWriting()
        try? old.near.writer.finishWriting()
        waiting += 1
        loop.spawn { [self] in
            let left = try? await old.near.reader.readToEnd()
            waiting -= 1
            guard let left, let rest, !isCut, left != rest else { return }
            fail("connections: the old stream has \(left), not \(rest)")
        }
    }

    /// The far end takes so many bytes at most.
    func read(_ count: Int) {
        guard !isReading else { return }
        isReading = true
        loop.spawn { [self] in
            await readOnce(count)
            isReading = false
        }
    }

    /// Whether there was something.
    @discardableResult
    func readOnce(_ count: Int) async -> Bool {
        let index = readIndex
        do throws(StreamError) {
            if let bytes = try await ends[index].far.reader.read(upTo: count) {
                written.receive(bytes)
                return true
            }
            written.receiveEnd(isWhole: !mayLose)
        } catch {
            if !mayLose { fail("connections: the far end reads \(error)") }
            written.receiveEnd(isWhole: false)
        }
        if index < ends.count - 1 { readIndex = index + 1 }
        return index < ends.count - 1
    }
}

/// What was written by the side under test, as the far end sees it.
struct WrittenModel {
    let format: FuzzedFormat
    /// By number: the frame, and whether the call said that it will leave.
    private var frames: [[UInt8]] = []
    private var isPromised: [Bool] = []
    private var last = -1
    private var rest: [UInt8] = []
    private var received: Set<Int> = []
    /// Frames that the writing hook sends, before those that it is asked to write.
    private var marks = (written: 0, received: 0)

    init(_ format: FuzzedFormat) { self.format = format }

    /// The number of the next packet; it is written at once.
    mutating func next(_ kind: Int, where agreed: Agreed?) -> (number: Int, sent: SentPacket) {
        let number = frames.count
        let sent = SentPacket(
            kind: kind, number: UInt16(truncatingIfNeeded: number), agreed: agreed)
        let wire = sent.wire
        frames.append(format.frame(wire.id, wire.fields))
        isPromised.append(false)
        return (number, sent)
    }

    func frame(_ number: Int) -> [UInt8] { frames[number] }

    mutating func mark() -> [UInt8] {
        marks.written += 1
        return format.frame(99, [UInt8(truncatingIfNeeded: marks.written)])
    }

    mutating func promise(_ number: Int) { isPromised[number] = true }

    /// The far end has received these bytes: packets whole and in the order they were written.
    mutating func receive(_ bytes: [UInt8]) {
        rest += bytes
        while rest.count >= 3 {
            let end = 2 + format.size(rest[...])
            guard rest.count >= end else { return }
            let frame = Array(rest[..<end])
            rest.removeFirst(end)
            if frame[2] == 99 {
                let skipped = Int(frame[3] &- UInt8(truncatingIfNeeded: marks.received))
                marks.received += skipped
                guard skipped > 0, marks.received <= marks.written else {
                    fail("connections: sent \(frame) as mark \(marks.received)")
                }
                continue
            }
            let number = frame.count > 4 ? Int(frame[3]) << 8 + Int(frame[4]) : -1
            guard number > last, number < frames.count, frames[number] == frame else {
                fail("connections: sent \(frame) behind packet \(last)")
            }
            if hasCanary, frame[2] == 2, number == 2 { fail("connections: \(frame) is not right") }
            last = number
            received.insert(number)
        }
    }

    /// A stream has ended, whole unless bytes may be lost.
    mutating func receiveEnd(isWhole: Bool) {
        if isWhole, !rest.isEmpty { fail("connections: the stream ended behind \(rest)") }
        rest = []
    }

    /// The far end has seen the end, and nothing was lost on the way.
    func checkAll() {
        let missing = frames.indices.filter { isPromised[$0] && !received.contains($0) }
        if !missing.isEmpty || marks.received != marks.written {
            fail("connections: packets \(missing) were not sent, or some of \(marks) marks")
        }
    }
}

/// One of the two connections, and the far end that it talks to.
struct LinkSide {
    var connection: PacketConnection?
    let far: StreamPair
    /// Packets that its far end has sent, how many were inspected, and the bytes not yet moved.
    var sent = 0
    var inspected = 0
    var outbox: [UInt8] = []
    var isFinished = false
    var isBroken = false
    /// Frames that its far end is to get: those passed on, and those injected.
    var passed: [[UInt8]] = []
    var injected: [[UInt8]] = []
    /// What its far end has got: bytes behind the last packet, packets of the two sorts.
    var rest: [UInt8] = []
    var got = (passed: 0, injected: 0)
    var isReading = false
    var hasEnded = false

    /// Each packet is the next one of its sort.
    mutating func take(_ format: FuzzedFormat) {
        while rest.count > 2 {
            let end = 2 + format.size(rest[...])
            guard rest.count >= end else { return }
            let frame = Array(rest[..<end])
            rest.removeFirst(end)
            if frame[2] != 91, got.passed < passed.count, passed[got.passed] == frame {
                got.passed += 1
                if hasCanary, got.passed == 5 { fail("links: \(frame) is not right") }
            } else if got.injected < injected.count, injected[got.injected] == frame {
                got.injected += 1
            } else {
                fail("links: \(frame) came behind \(got)")
            }
        }
    }
}
