// What the tests of packet connections share: a small protocol, and connections over each kind of
// stream.

import Sluice
import SluiceTestKit
import Testing

/// Packets with a number that belongs to one question.
protocol Keyed: Packet {
    var key: UInt32 { get }
}

struct Ask: Keyed {
    static let id: PacketID = 1
    var key: UInt32 = 0
    var text = ""

    mutating func fields(_ wire: inout FieldCoder) {
        wire.value("key", &key)
        wire.text("text", &text, .prefixed(.uint16))
    }
}

struct Answer: Keyed {
    static let id: PacketID = 2
    var key: UInt32 = 0
    var text = ""

    mutating func fields(_ wire: inout FieldCoder) {
        wire.value("key", &key)
        wire.text("text", &text, .prefixed(.uint16))
    }
}

struct Note: Packet {
    static let id: PacketID = 3
    var text = ""

    mutating func fields(_ wire: inout FieldCoder) {
        wire.text("text", &text, .prefixed(.uint16))
    }
}

/// What the two sides have agreed on.
struct Agreement: Hashable, Sendable {
    var version = 1
}

/// Another id and another field, from version 2 on.
struct Status: Packet {
    static let id = PacketID { (agreed: Agreement) in agreed.version < 2 ? 10 : 11 }
    var code: UInt8 = 0
    var detail: UInt8 = 0

    mutating func fields(_ wire: inout FieldCoder) {
        wire.value("code", &code)
        if wire.context(or: Agreement()).version >= 2 { wire.value("detail", &detail) }
    }
}

let talkPackets: PacketSet = [Ask.self, Answer.self, Note.self, Status.self]
let talk = PacketFormat(LengthPrefixFraming(UInt16.self), .big, receiving: talkPackets)

/// A packet's bytes on the wire of `talk`.
func frame(_ packet: any Packet, _ context: Agreement? = nil) throws -> [UInt8] {
    let serializer = try talkPackets.serializer(.big, in: context)
    var codec = FramedCodec(LengthPrefixFraming(UInt16.self), serializer)
    return try PacketOutput.bytes { output throws(PacketError) in
        try codec.encode(packet, into: &output)
    }
}

/// A connection over the near end of a pair, and the far end as plain streams.
func withConnection(
    _ kind: PairKind, _ format: PacketFormat = talk, options: StreamOptions = .init(),
    sourceLocation: SourceLocation = #_sourceLocation,
    _ body: @escaping @Sendable (PacketConnection, StreamEnd) async throws -> Void
) async throws {
    try await withPair(kind, options: options, sourceLocation: sourceLocation) { near, far in
        let connection = try PacketConnection(near.reader, near.writer, format)
        try await body(connection, far)
    }
}

/// Connections over both ends of a pair.
func withConnections(
    _ kind: PairKind, _ format: PacketFormat = talk,
    sourceLocation: SourceLocation = #_sourceLocation,
    _ body: @escaping @Sendable (PacketConnection, PacketConnection) async throws -> Void
) async throws {
    try await withPair(kind, sourceLocation: sourceLocation) { near, far in
        try await body(
            try PacketConnection(near.reader, near.writer, format),
            try PacketConnection(far.reader, far.writer, format.reversed))
    }
}

/// The texts of all notes up to the end.
func noteTexts(_ connection: PacketConnection) async throws -> [String] {
    var texts: [String] = []
    for try await packet in connection.packets {
        if let note = packet as? Note { texts.append(note.text) }
    }
    return texts
}
