// The request types at the head of Tests/Interop/cs_server.py, as server and as client.

import Sluice

struct Refused: Error {
    let what: String
}

/// Integers as payloads have them: one behind the other.
private struct Numbers: Record {
    var values: [UInt64] = []

    init() {}
    init(_ values: UInt64...) { self.values = values }
    init(payload: [UInt8]) throws { try self.init(decoding: payload, .big) }

    func payload() throws -> [UInt8] { try encoded(.big) }

    mutating func fields(_ wire: inout FieldCoder) {
        wire.array("values", &values, .toEnd, of: 0) { $0.varint("value", &$1, .base128) }
    }
}

/// The longest blob.
private let blobLimit: UInt64 = 64 << 20

/// So many bytes, 00 01 … ff over and over.
private func blob(_ count: UInt64) -> [UInt8] {
    let (count, pattern) = (Int(min(count, blobLimit)), Array(0...255) as [UInt8])
    var bytes: [UInt8] = []
    bytes.reserveCapacity(count + pattern.count)
    while bytes.count < count { bytes += pattern }
    bytes.removeLast(bytes.count - count)
    return bytes
}

private func answer(
    _ request: Request, _ connection: RequestConnection
) async throws -> Answer {
    switch request.type {
    case 0:
        return .bytes(request.payload)
    case 1:
        guard let text = String(validating: request.payload, as: UTF8.self) else {
            throw Refused(what: "no UTF-8")
        }
        return .text(text.uppercased())
    case 2:
        throw Refused(what: "asked to fail")
    case 3:
        guard let count = Int(String(decoding: request.payload, as: UTF8.self)), count >= 0 else {
            throw Refused(what: "no milliseconds")
        }
        try await sleep(for: .milliseconds(min(count, 5_000)))
        return .nothing
    case 4:
        return Answer(
            flags: request.flags, payload: try sum(request.payload, and: request.flags))
    case 5:
        return .flags(request.flags + 1)
    case 6:
        guard let count = try Numbers(payload: request.payload).values.first else {
            throw Refused(what: "no count")
        }
        return .bytes(blob(count))
    case 7:
        let response = try await connection.call(
            0, flags: request.flags, payload: request.payload, channel: request.channel)
        return Answer(flags: response.flags, payload: response.payload)
    default:
        throw Refused(what: "unknown type \(request.type)")
    }
}

private func sum(_ payload: [UInt8], and first: UInt64) throws -> [UInt8] {
    var total = first
    for value in try Numbers(payload: payload).values {
        let (next, overflows) = total.addingReportingOverflow(value)
        guard !overflows else { throw Refused(what: "more than 64 bits") }
        total = next
    }
    return try Numbers(total).payload()
}

func serveRequests(_ port: Int) async throws {
    var requests = RequestOptions()
    requests.packetLimit = Int(blobLimit) + 1_024
    let server = try await startServer(port: port, requests: requests, requestHandler: answer)
    announce(server)
    try await server.serveForever()
}

/// Every type on each of the channels, one channel after the other. Returns how many answers were
/// compared.
func askForRequests(_ port: Int, channels: Range<UInt64>) async throws -> Int {
    let connection = try await openRequestConnection(host: "127.0.0.1", port: port) { request, _ in
        guard request.type == 0 else { throw Refused(what: "type 0 only") }
        return Answer(flags: request.flags ^ 1, payload: request.payload.reversed())
    }
    // On the connection's loop, where its state may be looked at.
    let count = try await connection.loop.spawn {
        let nudging = connection.loop.spawn { try await nudge(connection) }
        defer { nudging.cancel() }
        var count = 0
        for channel in channels {
            count += try await withTimeout(patience) {
                try await askForEchoes(connection, channel)
                    + askForEveryType(connection, channel) + askOutOfOrder(connection, channel)
            }
        }
        return count
    }.value
    await connection.close()
    return count
}

/// Asks for nothing every second. The stock library counts what it queues a moment after queueing
/// it: its sender may take an answer before it is counted, believes that more are coming, and
/// leaves it in its buffer until there is a next one.
private nonisolated(nonsending) func nudge(_ connection: RequestConnection) async throws {
    while true {
        try await sleep(for: .seconds(1))
        _ = try await connection.submit(0)
    }
}

/// Echoes, 64 of them under way.
private nonisolated(nonsending) func askForEchoes(
    _ connection: RequestConnection, _ channel: UInt64
) async throws -> Int {
    let payloads = (0..<300).map { number in
        Array("\(channel) \(number) ".utf8) + blob(UInt64(number % 7 * 100))
    }
    var pending: [PendingRequest<Response>] = []
    for (number, payload) in payloads.enumerated() {
        if number >= 64 {
            let earlier = number - 64
            try expect(
                try await pending[earlier].response(), Response(payload: payloads[earlier]))
        }
        pending.append(try await connection.submit(0, payload: payload, channel: channel))
    }
    for (payload, request) in zip(payloads, pending).suffix(64) {
        try expect(try await request.response(), Response(payload: payload))
    }
    return payloads.count
}

/// Each type, and what it is answered with.
private nonisolated(nonsending) func askForEveryType(
    _ connection: RequestConnection, _ channel: UInt64
) async throws -> Int {
    let refusal = Response(isOK: false, payload: Array("exception during handler".utf8))
    let big = UInt64(2) << 20
    let summands = try Numbers(1, 127, 128, 16_384).payload()
    let numbers = try (
        sum: Numbers(16_645).payload(), one: Numbers(1).payload(),
        next: Numbers(1 << 20 + 1).payload(), big: Numbers(big).payload()
    )
    let largest = [UInt8](repeating: 0xA5, count: Int(big))
    let table: [(type: UInt64, flags: UInt64, payload: [UInt8], wanted: Response)] = [
        (0, 0, [], Response()),
        (1, 0, Array("héllo".utf8), Response(payload: Array("HÉLLO".utf8))),
        (2, 0, [0x78], refusal),
        (3, 0, Array("50".utf8), Response()),
        (4, 5, summands, Response(flags: 5, payload: numbers.sum)),
        (4, 1 << 20, numbers.one, Response(flags: 1 << 20, payload: numbers.next)),
        (5, 41, [], Response(flags: 42)),
        (6, 0, numbers.big, Response(payload: blob(big))),
        (0, 0, largest, Response(payload: largest)),
        (7, 6, Array("abc".utf8), Response(flags: 7, payload: Array("cba".utf8))),
        (200, 0, [], refusal),
    ]
    for (type, flags, payload, wanted) in table {
        let request = try await connection.submit(
            type, flags: flags, payload: payload, channel: channel)
        try expect(try await request.response(), wanted)
    }
    let text = try await connection.call(1, payload: Array("x".utf8), channel: channel) { $0.text }
    try expect(text, "X")
    return table.count + 1
}

/// A slow request does not hold back a fast one behind it.
private nonisolated(nonsending) func askOutOfOrder(
    _ connection: RequestConnection, _ channel: UInt64
) async throws -> Int {
    let slow = try await connection.submit(3, payload: Array("300".utf8), channel: channel)
    let fast = try await connection.submit(0, payload: [0x66], channel: channel)
    try expect(try await fast.response(), Response(payload: [0x66]))
    try expect(slow.isDone, false)
    try expect(try await slow.response(), Response())
    return 2
}

func expect<Value: Equatable & Sendable>(_ got: Value, _ wanted: Value) throws {
    guard got == wanted else { throw WrongPacket(sent: wanted, received: got) }
}
