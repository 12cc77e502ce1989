// What is done with a request connection in one input: operations and bytes of the fuzzer's choice,
// over streams in memory. In the end nobody waits, and what was sent makes sense.

import Sluice
@testable import SluicePackets
@testable import SluiceReactor
import SluiceStreams

func runRequestsInput(_ input: [UInt8]) {
    var choices = Choices(input)
    let bytes = choices.takePayload()
    let script = RequestScript(bytes, &choices)
    script.run(&choices)
    script.end()
    checkEmpty()
}

// @unchecked Sendable: its tasks run on the thread that made it.
private final class RequestScript: @unchecked Sendable {
    private var connection: RequestConnection?
    private let far: StreamPair
    private var bytes: ArraySlice<UInt8>
    private let gate = FuzzGate()
    private let model = RequestModel()
    private var hasRaw = false

    /// Tasks that have to end.
    private var waiting = 0
    private var tasks: [Task<Void, any Error>] = []
    private var handles: [PendingRequest<Response>] = []
    private var isReading = false
    private var received: [UInt8] = []

    init(_ bytes: [UInt8], _ choices: inout Choices) {
        self.bytes = bytes[...]
        let pair = memoryPair(capacity: 64 + choices.next() * 16, chunk: 1 + choices.next())
        far = pair.1
        var options = RequestOptions()
        let kind = choices.next()
        options.packetLimit = 64 + (kind & 3) * 1_000
        options.inFlightLimit = 1 + (kind >> 2 & 3)
        options.servingLimit = 1 + (kind >> 4 & 3)
        options.isStrict = kind & 0x40 != 0
        options.closesStreams = kind & 0x80 == 0
        let more = choices.next()
        options.servingPerChannel = 1 + (more & 1)
        options.inFlightPerChannel = 1 + (more >> 1 & 1)
        options.channelLimit = more >> 2 & 3
        options.mark = 100 + (more >> 4 & 3) * 1_000
        options.requestBacklogLimit = 2_000
        options.packetGrace = more & 0x40 == 0 ? .zero : .nanoseconds(1)
        let gate = gate
        connection = RequestConnection(pair.0.reader, pair.0.writer, options: options) {
            request, connection in
            switch request.type % 4 {
            case 1: await gate.wait()
            case 2: throw RequestFailure(flags: request.flags, payload: request.payload)
            case 3: _ = try await connection.call(0, channel: request.channel)
            default: break
            }
            return Answer(flags: request.flags, payload: request.payload)
        }
    }

    // MARK: Operations

    func run(_ choices: inout Choices) {
        while choices.hasMore {
            let kind = choices.next()
            let number = choices.next()
            switch kind % 16 {
            case 0: deliver(number)
            case 1, 2: deliverRequest(kind >> 4, number)
            case 3: deliverAnswer(kind >> 4, number)
            case 4:
                write(
                    wireBytes(
                        RequestHeader(
                            kind: number & 1 == 0 ? .end : .endOfRequests, tag: UInt64(number & 1),
                            channel: 0, flags: 0), []))
            case 5, 6: submit(kind >> 4, number)
            case 7: if !handles.isEmpty { handles[number % handles.count].cancel() }
            case 8: if !tasks.isEmpty { tasks[number % tasks.count].cancel() }
            case 9: spawnEnd(number)
            case 10: gate.open(1 + number % 3)
            case 11: read(1 + number * 8)
            case 12: try? far.writer.finishWriting()
            case 13: if number > 200 { far.writer.startAborting() }
            case 14: if number > 200 { connection = nil }
            default: for _ in 0...number % 4 { turn() }
            }
            if number & 0x80 == 0 { turn() }
        }
    }

    private func turn() { loop.turn(wait: false) }

    private func spawn(_ body: @escaping @Sendable (RequestConnection) async throws -> Void) {
        guard let connection else { return }
        waiting += 1
        let task = loop.spawn { [self] in
            try? await body(connection)
            waiting -= 1
        }
        tasks.append(task)
    }

    private func deliver(_ count: Int) {
        let piece = bytes.prefix(max(1, count))
        guard !piece.isEmpty else { return }
        hasRaw = true
        bytes = bytes.dropFirst(piece.count)
        write(Array(piece))
    }

    private func write(_ bytes: [UInt8]) { try? far.writer.write(bytes) }

    private func deliverRequest(_ kind: Int, _ number: Int) {
        let header = RequestHeader(
            kind: .request(UInt64(kind)), tag: UInt64(number % 16), channel: UInt64(kind / 4 % 4),
            flags: UInt64(number))
        let payload = [UInt8](repeating: UInt8(number), count: number % 32)
        model.asked(header, payload)
        write(wireBytes(header, payload))
    }

    private func deliverAnswer(_ kind: Int, _ number: Int) {
        let header = RequestHeader(
            kind: .response(isOK: kind & 1 == 0), tag: UInt64(number % 16),
            channel: UInt64(kind / 2 % 4), flags: 0)
        write(wireBytes(header, [UInt8](repeating: 1, count: number % 8)))
    }

    private func submit(_ kind: Int, _ number: Int) {
        let within: Duration? = [nil, .zero, .seconds(3_600), nil][kind & 3]
        let payload = [UInt8](repeating: 7, count: number * 4)
        let channel = UInt64(kind / 4 % 4)
        spawn { [self] connection in
            if number & 1 == 0 {
                _ = try await connection.call(1, payload: payload, channel: channel, within: within)
                return
            }
            let handle = try await connection.submit(
                1, payload: payload, channel: channel, within: within)
            handles.append(handle)
            _ = try await handle.response()
        }
    }

    private func spawnEnd(_ number: Int) {
        spawn { connection in
            switch number % 8 {
            case 0: await connection.close(within: number < 64 ? .zero : .seconds(3_600))
            case 1: await connection.close()
            case 2, 3: await connection.endRequests()
            case 4, 5: await connection.sendEOF()
            case 6: try await connection.join()
            default: number > 128 ? await connection.abort() : try await connection.joinReceive()
            }
        }
    }

    /// The far end takes so many bytes at most.
    private func read(_ count: Int) {
        guard !isReading else { return }
        isReading = true
        loop.spawn { [self] in
            received += (try? await far.reader.read(upTo: count)) ?? []
            isReading = false
        }
    }

    // MARK: The end

    func end() {
        gate.openForAll()
        for _ in 0..<8 {
            read(65_536)
            turn()
        }
        let connection = connection
        self.connection = nil
        far.writer.startAborting()
        var turns = 0
        if let connection { loop.spawn { await connection.abort() } }
        while waiting > 0 || isReading {
            guard turns < 2_000 else { fail("requests: \(waiting) wait for ever") }
            turn()
            turns += 1
        }
        for _ in 0..<8 { turn() }
        model.check(received, knowsAll: !hasRaw)
    }
}

/// What the far end asked, and what it may be answered.
private final class RequestModel {
    private var asked: [RequestKey: [(type: UInt64, payload: [UInt8])]] = [:]

    func asked(_ header: RequestHeader, _ payload: [UInt8]) {
        guard case .request(let type) = header.kind else { return }
        asked[RequestKey(channel: header.channel, tag: header.tag), default: []].append(
            (type, payload))
    }

    /// Every packet makes sense; tags rise; no request has two answers; nothing follows the end.
    func check(_ bytes: [UInt8], knowsAll: Bool) {
        var next: [UInt64: UInt64] = [0: 2]
        var answers: [RequestKey: Int] = [:]
        var (ends, requestEnds) = (0, 0)
        var rest = bytes[...]
        while true {
            let parsed = rest.withUnsafeBytes {
                RequestHeader.parse($0, limit: 1 << 20, strict: true)
            }
            guard case .packet(let header, let range, let used) = parsed else {
                if case .malformed(let error) = parsed { fail("requests: sent what is \(error)") }
                return
            }
            let payload = Array(rest.dropFirst(range.lowerBound).prefix(range.count))
            rest = rest.dropFirst(used)
            if ends > 0 { fail("requests: \(header) behind the end") }
            switch header.kind {
            case .end: ends += 1
            case .endOfRequests: requestEnds += 1
            case .request:
                if header.tag != next[header.channel, default: 0] || requestEnds > 0 {
                    fail("requests: sent \(header)")
                }
                next[header.channel] = header.tag + 1
            case .response(let isOK):
                let key = RequestKey(channel: header.channel, tag: header.tag)
                answers[key, default: 0] += 1
                if knowsAll { check(key, answers[key, default: 0], isOK ? payload : nil) }
            }
            if requestEnds > 1 { fail("requests: two ends") }
        }
    }

    private func check(_ key: RequestKey, _ count: Int, _ payload: [UInt8]?) {
        let requests = asked[key] ?? []
        if count > requests.count { fail("requests: answer \(count) to \(key)") }
        guard let payload else { return }
        let isRight = requests.contains { $0.payload == payload }
        if !isRight || (hasCanary && payload.count == 3) {
            fail("requests: \(payload) is not the answer to \(key)")
        }
    }
}

// @unchecked Sendable: used on one thread.
final class FuzzGate: @unchecked Sendable {
    private var continuations: [UnsafeContinuation<Void, Never>] = []
    private var isOpen = false

    func wait() async {
        if isOpen { return }
        await withUnsafeContinuation { continuations.append($0) }
    }

    func open(_ count: Int) {
        let some = continuations.prefix(count)
        continuations.removeFirst(some.count)
        for continuation in some { continuation.resume() }
    }

    func openForAll() {
        isOpen = true
        open(continuations.count)
    }
}

private func wireBytes(_ header: RequestHeader, _ payload: [UInt8]) -> [UInt8] {
    let head = [UInt8](unsafeUninitializedCapacity: RequestHeader.longest) { room, count in
        guard let base = room.baseAddress else { return }
        count = header.write(into: base, payload: payload.count)
    }
    return head + payload
}

// MARK: The wire alone

/// The packets of some bytes: a cut one is never another, and each is what it is written as.
func runWireInput(_ input: [UInt8]) {
    guard let first = input.first else { return }
    let limit = first & 1 == 0 ? Int.max : Int(first)
    let isStrict = first & 2 != 0
    var rest = Array(input.dropFirst())
    func parse(_ bytes: [UInt8], strict: Bool) -> RequestParse {
        bytes.withUnsafeBytes { RequestHeader.parse($0, limit: limit, strict: strict) }
    }
    while case .packet(let header, let range, let used) = parse(rest, strict: isStrict) {
        guard range.lowerBound <= range.upperBound, range.upperBound == used, used <= rest.count
        else { fail("wire: \(range) of \(used)") }
        for cut in 0..<min(used, 64) {
            guard case .more(let missing) = parse(Array(rest[..<cut]), strict: isStrict),
                missing <= used - cut
            else { fail("wire: \(rest[..<used]) cut at \(cut)") }
        }
        let payload = Array(rest[range])
        var expected = header
        if hasCanary, header.flags == 3 { expected.flags = 4 }
        let again = wireBytes(header, payload)
        guard case .packet(expected, let place, again.count) = parse(again, strict: true),
            Array(again[place]) == payload, again.count <= used
        else { fail("wire: \(header) is not written as it was read") }
        rest.removeFirst(used)
    }
}
