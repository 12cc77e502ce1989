// What tests of request connections share: a service with the stock server's request types, pairs
// of connections, a far end that speaks in bytes.

import Sluice
import SluiceTestKit
import Testing

@testable import SluicePackets

/// The request types of the stock test server, and 100: waits until the gate opens.
func testService(_ request: Request, _ connection: RequestConnection) async throws -> Answer {
    switch request.type {
    case 0: return .bytes(request.payload)
    case 1: return .text(String(decoding: request.payload, as: UTF8.self).uppercased())
    case 2: throw PacketError.busy
    case 3:
        let milliseconds = Int(String(decoding: request.payload, as: UTF8.self)) ?? 0
        try await sleep(for: .milliseconds(min(milliseconds, 5_000)))
        return .nothing
    case 5: return .flags(request.flags + 1)
    case 7:
        let answer = try await connection.call(
            0, flags: request.flags, payload: request.payload, channel: request.channel)
        return Answer(flags: answer.flags, payload: answer.payload)
    default: throw RequestFailure(flags: 7, "no such request")
    }
}

/// Handlers that wait until they are cancelled, and count how many of them do.
func endless(_ running: Shared<Int>) -> RequestHandler {
    { _, _ in
        running.withLock { $0 += 1 }
        defer { running.withLock { $0 -= 1 } }
        try await sleep(for: .seconds(3_600))
        return .nothing
    }
}

/// Two connections that talk to each other.
func withConnections<R: Sendable>(
    _ kind: PairKind = .tcp, options: RequestOptions = RequestOptions(),
    client: RequestHandler? = nil, server: RequestHandler? = testService,
    _ body: @escaping @Sendable (RequestConnection, RequestConnection) async throws -> R
) async throws -> R {
    try await withLoop { _ in
        let (near, far) = try await kind.makePair()
        let client = RequestConnection(near.reader, near.writer, options: options, handler: client)
        let server = RequestConnection(far.reader, far.writer, options: options, handler: server)
        let result = try await body(client, server)
        await client.close()
        await server.close()
        return result
    }
}

/// A connection and a far end that speaks in bytes.
func withRawPeer<R: Sendable>(
    _ kind: PairKind = .tcp, options: RequestOptions = RequestOptions(),
    handler: RequestHandler? = testService,
    _ body: @escaping @Sendable (RequestConnection, StreamEnd) async throws -> R
) async throws -> R {
    try await withLoop { _ in
        let (near, far) = try await kind.makePair()
        let connection = RequestConnection(
            near.reader, near.writer, options: options, handler: handler)
        let result = try await body(connection, far)
        await far.writer.abort()
        await connection.close()
        return result
    }
}

/// A packet as the far end would send it.
func wire(_ header: RequestHeader, _ payload: [UInt8] = []) -> [UInt8] {
    let head = [UInt8](unsafeUninitializedCapacity: RequestHeader.longest) { room, count in
        guard let base = room.baseAddress else { return }
        count = header.write(into: base, payload: payload.count)
    }
    return head + payload
}

func request(
    _ tag: UInt64, _ type: UInt64, flags: UInt64 = 0, channel: UInt64 = 0
) -> RequestHeader {
    RequestHeader(kind: .request(type), tag: tag, channel: channel, flags: flags)
}

func response(
    _ tag: UInt64, ok: Bool = true, flags: UInt64 = 0, channel: UInt64 = 0
) -> RequestHeader {
    RequestHeader(kind: .response(isOK: ok), tag: tag, channel: channel, flags: flags)
}

let endMarkers = fromHex("0301020003000200")

func fromHex(_ text: String) -> [UInt8] {
    var bytes: [UInt8] = []
    var digits = Substring(text)
    while let byte = UInt8(digits.prefix(2), radix: 16) {
        bytes.append(byte)
        digits = digits.dropFirst(2)
    }
    return bytes
}

extension StreamEnd {
    /// The next packet that the connection sent.
    func packet() async throws -> (RequestHeader, [UInt8]) {
        var bytes: [UInt8] = []
        while true {
            let parsed = bytes.withUnsafeBytes {
                RequestHeader.parse($0, limit: 1 << 26, strict: true)
            }
            switch parsed {
            case .packet(let header, let payload, _): return (header, Array(bytes[payload]))
            case .more(let missing): bytes += try await reader.readExactly(missing)
            case .malformed(let error): throw error
            }
        }
    }
}

/// Handlers wait at it until a test opens it; on the loop's thread.
final class Gate: Sendable {
    private let isOpen = Shared(false)
    private let waiting = Shared(0)

    /// How many wait.
    var count: Int { waiting.value }

    func open() { isOpen.set(true) }

    func wait() async throws {
        waiting.withLock { $0 += 1 }
        defer { waiting.withLock { $0 -= 1 } }
        while !isOpen.value { try await sleep(for: .milliseconds(1)) }
    }
}
