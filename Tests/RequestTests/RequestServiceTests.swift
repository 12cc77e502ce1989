// Requests as types, over real connections: a service of blocks, as stores of content have it.

import Sluice
import SluiceTestKit
import Testing

@testable import SluicePackets

/// Blocks by their number. On one loop.
// @unchecked Sendable: touched on the loop of one test alone.
private final class Blocks: @unchecked Sendable {
    var blocks: [[UInt8]] = []
}

private struct Add: TypedRequest, Record {
    static let requestType: UInt64 = 0
    var hash: UInt64 = 1
    var data: [UInt8] = []

    mutating func fields(_ wire: inout FieldCoder) {
        wire.varint("hash", &hash, .base128)
        wire.bytes("data", &data, .prefixed(.base128))
    }

    func fulfil(_ store: Blocks) async throws -> Answer {
        store.blocks.append(data)
        return try .record(Stored(index: UInt64(store.blocks.count - 1)))
    }

    typealias Reply = Stored
}

private struct Stored: Record {
    var index: UInt64 = 0
    mutating func fields(_ wire: inout FieldCoder) { wire.varint("index", &index, .base128) }
}

/// Written by hand: the flags are the index.
private struct Get: TypedRequest {
    static let requestType: UInt64 = 1
    var index: UInt64

    init(_ index: UInt64) { self.index = index }
    init(flags: UInt64, payload: [UInt8]) throws { index = flags }
    func encode() throws -> (flags: UInt64, payload: [UInt8]) { (index, []) }

    func fulfil(_ store: Blocks) async throws -> Answer {
        guard index < store.blocks.count else { throw RequestFailure(flags: 4, "no such block") }
        return .bytes(store.blocks[Int(index)])
    }

    static func decodeResponse(_ response: Response) -> [UInt8] { response.payload }
}

private struct Name: TypedRequest, Record {
    static let requestType: UInt64 = 2
    var name = ""

    mutating func fields(_ wire: inout FieldCoder) {
        wire.text("name", &name, .prefixed(.base128))
    }

    func fulfil(_ store: Blocks) async throws -> Answer { .text(name.uppercased()) }
}

private struct Clear: TypedRequest, Record {
    static let requestType: UInt64 = 3
    mutating func fields(_ wire: inout FieldCoder) {}

    func fulfil(_ store: Blocks) async throws -> Answer {
        store.blocks = []
        return .nothing
    }

    static func decodeResponse(_ response: Response) {}
}

private struct AlsoAdd: TypedRequest, Record {
    static let requestType: UInt64 = 0
    mutating func fields(_ wire: inout FieldCoder) {}
    func fulfil(_ store: Blocks) async throws -> Answer { .nothing }
}

private struct TooLarge: TypedRequest, Record {
    static let requestType = UInt64.max
    mutating func fields(_ wire: inout FieldCoder) {}
    func fulfil(_ store: Blocks) async throws -> Answer { .nothing }
}

/// Asks whoever sent it for a block of its own.
private struct AskBack: TypedRequest, Record {
    static let requestType: UInt64 = 9
    mutating func fields(_ wire: inout FieldCoder) {}

    func fulfil(_ peer: RequestConnection) async throws -> Answer {
        .bytes(try await peer.call(Get(0)))
    }

    static func decodeResponse(_ response: Response) -> [UInt8] { response.payload }
}

@Suite struct RequestServiceTests {
    private func service(_ store: Blocks = Blocks()) throws -> RequestService<Blocks> {
        try RequestService(store, [Add.self, Get.self, Name.self, Clear.self])
    }

    @Test(arguments: PairKind.allCases)
    func `requests that are types are fulfilled, and answers decoded`(
        _ kind: PairKind
    ) async throws {
        let store = Blocks()
        let service = try service(store)
        try await withConnections(kind, server: service.handler) { client, _ in
            #expect(try await client.call(Add(data: bytes("one"))) == Stored(index: 0))
            let pending = try await client.submit(Add(data: bytes("two")), channel: 3)
            #expect(try await pending.response().index == 1)
            #expect(try await client.call(Get(1)) == bytes("two"))
            #expect(try await client.call(Name(name: "é")).text == "É")
            try await client.call(Clear())
            #expect(store.blocks.isEmpty)
            await #expect(
                throws: PacketError.requestFailed(RequestFailure(flags: 4, "no such block"))
            ) {
                try await client.call(Get(0))
            }
        }
    }

    @Test func `a record says BSUInt, BSData and BSString as cs.binary does`() async throws {
        let add = try Add(hash: 300, data: bytes("A")).encode()
        #expect(add.payload == fromHex("822c0141"))
        #expect(add.flags == 0)
        #expect(try Name(name: "A").encode().payload == fromHex("0141"))
        #expect(try Name(name: "").encode().payload == [0])
        #expect(try Add(flags: 0, payload: fromHex("822c0141")) == Add(hash: 300, data: [0x41]))
        let long = try Add(data: [UInt8](repeating: 1, count: 128)).encode().payload
        #expect(Array(long.prefix(4)) == fromHex("01810001"))
        #expect(throws: PacketError.self) { try Add(flags: 1, payload: fromHex("0100")) }
    }

    // PACKETS 13
    @Test(arguments: PairKind.allCases)
    func `a payload that its type refuses is a failure, and the connection lives`(
        _ kind: PairKind
    ) async throws {
        let service = try service()
        try await withConnections(kind, server: service.handler) { client, _ in
            // A text that is no UTF-8, one that is cut, one with more behind it, flags.
            for payload in ["02c328", "0541", "0141ff"] {
                let answer = try await client.submit(2, payload: fromHex(payload)).response()
                #expect(!answer.isOK)
                #expect(answer.text == "exception during handler")
            }
            #expect(try await !client.submit(2, flags: 1, payload: [0]).response().isOK)
            #expect(try await client.call(Name(name: "lives")).text == "LIVES")
        }
    }

    @Test(arguments: PairKind.allCases)
    func `a type that the service has not is refused with its number`(
        _ kind: PairKind
    ) async throws {
        let service = try service()
        try await withConnections(kind, server: service.handler) { client, _ in
            let answer = try await client.submit(200).response()
            #expect(!answer.isOK)
            #expect(answer.text == "unknown request type 200")
        }
    }

    @Test func `two types of one number are no service, nor is one the wire has no room for`() {
        #expect(throws: PacketError.duplicateID(0, types: ["Add", "AlsoAdd"])) {
            try RequestService(Blocks(), [Add.self, Get.self, AlsoAdd.self])
        }
        #expect(throws: PacketError.unencodable("TooLarge: a type over 2^64 - 2")) {
            try RequestService(Blocks(), [TooLarge.self])
        }
    }

    @Test(arguments: PairKind.allCases)
    func `both sides have a service, and one asks the other back`(_ kind: PairKind) async throws {
        let store = Blocks()
        store.blocks = [bytes("mine")]
        let near = try service(store)
        let far = try RequestService([AskBack.self]) { connection in connection }
        try await withConnections(kind, client: near.handler, server: far.handler) { client, _ in
            let answer = try await client.call(AskBack())
            #expect(answer == bytes("mine"))
        }
    }

    @Test func `an answer that is no record of its kind is thrown to who asked`() async throws {
        try await withConnections(.memory, server: { _, _ in .text("\u{1}\u{2}") }) { client, _ in
            await #expect(throws: PacketError.self) { try await client.call(Add()) }
            let answer = try await client.call(Name())
            #expect(answer.text == "\u{1}\u{2}")
        }
    }
}
