// The mode that answers requests: the types at the head of Tests/Interop/cs_server.py.

import Sluice

private struct Refused: Error {
    let why: String
}

/// Integers as payloads have them: one behind the other.
private struct Numbers: Record {
    var values: [UInt64] = []

    mutating func fields(_ wire: inout FieldCoder) {
        wire.array("values", &values, .toEnd, of: 0) { $0.varint("value", &$1, .base128) }
    }
}

private func numbers(_ payload: [UInt8]) throws -> [UInt64] {
    try Numbers(decoding: payload, .big).values
}

/// So many bytes, 00 01 … ff over and over.
private func blob(_ count: UInt64) -> [UInt8] {
    (0..<Int(min(count, 64 << 20))).map { UInt8(truncatingIfNeeded: $0) }
}

private func answer(_ request: Request, _ peer: RequestConnection) async throws -> Answer {
    switch request.type {
    case 0:
        return .bytes(request.payload)
    case 1:
        return .text(String(decoding: request.payload, as: UTF8.self).uppercased())
    case 2:
        throw Refused(why: "asked to fail")
    case 3:
        let text = String(decoding: request.payload, as: UTF8.self)
        guard let count = Int(text) else { throw Refused(why: "no milliseconds") }
        try await sleep(for: .milliseconds(max(0, min(count, 5_000))))
        return .nothing
    case 4:
        let sum = try numbers(request.payload).reduce(request.flags, &+)
        return Answer(flags: request.flags, payload: try Numbers(values: [sum]).encoded(.big))
    case 5:
        return .flags(request.flags + 1)
    case 6:
        return .bytes(blob(try numbers(request.payload).first ?? 0))
    case 7:
        let asked = try await peer.call(0, flags: request.flags, payload: request.payload)
        return Answer(flags: asked.flags, payload: asked.payload)
    default:
        throw Refused(why: "unknown type")
    }
}

/// Answers requests of types 0 to 7.
func requestServer(port: Int) async throws {
    var requests = RequestOptions()
    requests.packetLimit = 65 << 20  // the largest blob
    let server = try await startServer(port: port, requests: requests, requestHandler: answer)
    try await server.serveForever()
}
