// Sets of packets: ids, contexts, headers, packets nobody knows.

import Sluice
import SluiceTestKit
import Testing

@Suite struct PacketSetTests {
    // PACKETS 72: the packet of pak's vectors.
    @Test func `a packet with a header has pak's bytes`() throws {
        let serializer = try samplePackets.serializer(Head.self, .little)
        let sample = Sample(name: "ab", xs: [1, 2], n: 2, tail: [8, 9])
        let bytes: [UInt8] = [
            0x0B, 0x00, 0x2A, 0x02, 0x61, 0x62, 0x02, 0x01, 0x00, 0x02, 0x00, 0x02, 0x08, 0x09,
        ]
        #expect(try serializer.bytes(sample) == bytes)
        #expect(try serializer.packet(bytes).isEqual(to: sample))
        #expect(try serializer.bytes(Sample()) == [0x03, 0x00, 0x2A, 0x00, 0x00, 0x00])
        #expect(
            throws: unencodable("Sample.tail: 2 elements where there are 3")
        ) {
            try serializer.bytes(Sample(n: 3, tail: [8, 9]))
        }
        #expect(sample.description == "Sample(name: \"ab\", xs: [1, 2], n: 2, tail: <0809>)")
    }

    @Test func `a header's size that is not the packet's is malformed`() throws {
        let serializer = try samplePackets.serializer(Head.self, .little)
        #expect(throws: malformed("Head.size: 4, but 3 bytes follow")) {
            try serializer.packet([0x04, 0x00, 0x2A, 0x00, 0x00, 0x00])
        }
        #expect(throws: malformed("Head.id: 1 bytes are needed, 0 are left")) {
            try serializer.packet([0x04, 0x00])
        }
        let large = Sample(name: String(repeating: "n", count: 255), n: 0)
        #expect(try serializer.bytes(large).prefix(3) == [0x02, 0x01, 0x2A])
        let wide: PacketSet = [Blob.self]
        #expect(throws: unencodable("Head.size: 70000 does not fit in UInt16")) {
            try wide.serializer(Head.self, .little)
                .bytes(Blob(bytes: TestBytes.make(count: 70_000)))
        }
    }

    @Test func `a header's size is right for packets of every length, and a long one is refused`()
        throws
    {
        let set: PacketSet = [Blob.self]
        let fixed = try set.serializer(Head.self, .big)
        let varying = try set.serializer(VarintHead.self, .big)
        for count in [0, 1, 127, 128, 251, 252, 253, 254, 255, 256, 300, 4_095, 4_096, 20_000] {
            let blob = Blob(bytes: TestBytes.make(count: count))
            let size = UInt16(count)
            #expect(
                try fixed.bytes(blob) == [UInt8(size >> 8), UInt8(size & 0xFF), 9] + blob.bytes)
            let prefix = PacketOutput.bytes { Varint.leb128.append(UInt64(count), to: &$0) }
            #expect(try varying.bytes(blob) == [9] + prefix + blob.bytes)
            #expect(try varying.packet([9] + prefix + blob.bytes).isEqual(to: blob))
        }
        struct LongHead: SizedPacketHeader {
            var id: UInt64 = 0
            var size = 0
            var text = String(repeating: "x", count: 300)
            mutating func fields(_ wire: inout FieldCoder) {
                wire.text("text", &text, .prefixed(.uint16))
                wire.value("id", &id, as: UInt8.self)
                wire.value("size", &size, as: UInt8.self)
            }
        }
        #expect(throws: unencodable("LongHead.header: more than 256 bytes")) {
            try set.serializer(LongHead.self, .big).bytes(Blob(bytes: [1]))
        }
    }

    // PACKETS 71
    @Test func `a packet nobody knows keeps its bytes and is sent on as it came`() throws {
        let serializer = try samplePackets.serializer(.big)
        let packet = try serializer.packet([0x77, 1, 2, 3])
        #expect(packet.isEqual(to: UnknownPacket(0x77, [1, 2, 3])))
        #expect(packet.description == "UnknownPacket(id: 119, bytes: <010203>)")
        #expect(try serializer.bytes(packet) == [0x77, 1, 2, 3])
        let strict = try samplePackets.serializer(.big, unknown: .refused)
        #expect(throws: malformed("no packet has the id 119")) {
            try strict.packet([0x77, 1, 2, 3])
        }
    }

    // PACKETS 70
    @Test func `ids and fields depend on the context, which may be another one later`() throws {
        let packets: PacketSet = [Move.self, Legacy.self]
        let old = try packets.serializer(.big, in: Game(version: 1))
        let new = try old.with(context: Game(version: 2))
        #expect(old.type(of: 7) == Legacy.self)
        #expect(new.type(of: 7) == Move.self)
        #expect(try old.bytes(Move(x: 1, y: 2, z: 3)) == [3, 1, 2])
        #expect(try new.bytes(Move(x: 1, y: 2, z: 3)) == [7, 1, 2, 3])
        #expect(try new.packet([7, 1, 2, 3]).isEqual(to: Move(x: 1, y: 2, z: 3)))
        #expect(try old.packet([3, 1, 2]).isEqual(to: Move(x: 1, y: 2, z: 0)))
        #expect(throws: unencodable("Legacy has no id in this context")) {
            try new.bytes(Legacy())
        }
        #expect(throws: unencodable("Move has no id in this context")) {
            try packets.serializer(.big).bytes(Move())
        }
        #expect(Move(x: 1, y: 2, z: 3).description == "Move(x: 1, y: 2)")
        #expect(Move().description(in: Game(version: 2)) == "Move(x: 0, y: 0, z: 0)")
        #expect(Move().description(in: "a word") == "Move(x: 0, y: 0…)")
        // One that nobody knows says its id, whoever prints it and how.
        let unknown: any Packet = UnknownPacket(7, [1])
        #expect(unknown.description(in: Game(version: 2)) == "UnknownPacket(id: 7, bytes: <01>)")
        #expect("\(unknown)" == "UnknownPacket(id: 7, bytes: <01>)")
        #expect(throws: PacketError.self) { try encoded(Move(), in: "a word") }
    }

    @Test func `two kinds with one id are refused at the start`() throws {
        struct Twin: Packet {
            static let id: PacketID = 0x2A
            mutating func fields(_ wire: inout FieldCoder) {}
        }
        struct FarTwin: Packet {
            static let id = PacketID { (game: Game) in game.version < 2 ? 1 << 40 : 0x2A }
            mutating func fields(_ wire: inout FieldCoder) {}
        }
        #expect(throws: PacketError.duplicateID(0x2A, types: ["Sample", "Twin"])) {
            try ([Sample.self, Twin.self] as PacketSet).serializer(.big)
        }
        // The same kind twice is one.
        _ = try ([Sample.self, Sample.self] as PacketSet).serializer(.big)
        let set: PacketSet = [Sample.self, FarTwin.self]
        let early = try set.serializer(VarintIDHeader.self, .big, in: Game(version: 1))
        #expect(
            try early.bytes(FarTwin()) == [0x80, 0x80, 0x80, 0x80, 0x80, 0x20])
        #expect(try early.packet([0x80, 0x80, 0x80, 0x80, 0x80, 0x20]).isEqual(to: FarTwin()))
        #expect(throws: PacketError.duplicateID(0x2A, types: ["Sample", "FarTwin"])) {
            try early.with(context: Game(version: 2))
        }
        #expect(throws: unencodable("Twin is not in the set")) {
            try set.serializer(.big).bytes(Twin())
        }
    }

    @Test func `a header's own fields go to the packet and come from it`() throws {
        let serializer = try ([Numbered.self] as PacketSet).serializer(NumberedHead.self, .big)
        let packet = Numbered(number: 0x0102, text: "t")
        #expect(try serializer.bytes(packet) == [1, 2, 5, 1, 0x74])
        #expect(try serializer.packet([1, 2, 5, 1, 0x74]).isEqual(to: packet))
    }

    @Test func `packets pass the codec suite over framings, and framed by their headers`() throws {
        let packets: [any Packet] = [
            Sample(name: "ab", xs: [1, 2], n: 2, tail: [8, 9]), Sample(),
            UnknownPacket(0x55, [1, 2, 3]), Blob(bytes: TestBytes.make(count: 200)),
        ]
        let set: PacketSet = [Sample.self, Blob.self]
        let pairs = packets.map { (sent: Same($0), received: Same($0)) }
        let plain = try SameSerializer(set.serializer(.big))
        try checkCodec(FramedCodec(LengthPrefixFraming(UInt16.self), plain), pairs)
        try checkCodec(FramedCodec(VarintPrefixFraming(), plain), pairs)
        for endianness in [Endianness.little, .big] {
            let headed = try SameSerializer(set.serializer(Head.self, endianness))
            try checkCodec(FramedCodec(PacketFraming(Head.self, endianness), headed), pairs)
            let varying = try SameSerializer(set.serializer(VarintHead.self, endianness))
            try checkCodec(FramedCodec(PacketFraming(VarintHead.self, endianness), varying), pairs)
        }
    }

    @Test func `a long packet that its header frames is received whole, in pieces of any size`()
        throws
    {
        let serializer = try SameSerializer(
            ([Blob.self] as PacketSet).serializer(VarintHead.self, .big))
        let codec = FramedCodec(PacketFraming(VarintHead.self, .big), serializer)
        let blob = Blob(bytes: TestBytes.make(count: 2 * PacketBounds.gatheredBytes))
        let bytes = try serializer.inner.bytes(blob)
        for piece in [100, 1_000, 40_000, bytes.count] {
            #expect(
                CodecFeed.results(codec, bytes + bytes, pieces: [piece])
                    == [.packet(Same(blob)), .packet(Same(blob))])
        }
    }

    @Test func `a header's size over the limit poisons, and the largest do not overflow`() throws {
        let serializer = try SameSerializer(
            ([Blob.self] as PacketSet).serializer(VarintHead.self, .big))
        let small = FramedCodec(PacketFraming(VarintHead.self, .big, limit: 4), serializer)
        #expect(
            CodecFeed.results(small, [9, 5, 1, 2, 3, 4, 5, 9, 0], pieces: [1])
                == [.error(.limitExceeded(limit: 4))])
        #expect(
            CodecFeed.results(small, [9, 2, 7, 7, 9, 0], pieces: [1])
                == [.packet(Same(Blob(bytes: [7, 7]))), .packet(Same(Blob()))])
        var encoder = small
        #expect(throws: unencodable("a packet of more than 4 bytes")) {
            try PacketOutput.bytes { output throws(PacketError) in
                try encoder.encode(Same(Blob(bytes: [1, 2, 3, 4, 5])), into: &output)
            }
        }
        #expect(
            try PacketOutput.bytes { output throws(PacketError) in
                try encoder.encode(Same(Blob(bytes: [1, 2, 3, 4])), into: &output)
            } == [9, 4, 1, 2, 3, 4])
        let wide = FramedCodec(PacketFraming(VarintHead.self, .big, limit: .max), serializer)
        let longest: [UInt8] = [9] + Array(repeating: 0xFF, count: 8) + [0x7F, 1, 2]
        #expect(
            CodecFeed.results(wide, longest, pieces: [1]) == [.error(.limitExceeded(limit: .max))])
        let tooLong: [UInt8] = [9] + Array(repeating: 0xFF, count: 9) + [0x01, 1]
        #expect(
            CodecFeed.results(wide, tooLong, pieces: [2])
                == [.error(malformed("VarintHead.size: 18446744073709551615 does not fit in Int"))])
    }
}

// MARK: Packets

let samplePackets: PacketSet = [Sample.self]

struct Sample: Packet {
    static let id: PacketID = 0x2A
    var name = ""
    var xs: [UInt16] = []
    var n: UInt8 = 0
    var tail: [UInt8] = []

    mutating func fields(_ wire: inout FieldCoder) {
        wire.text("name", &name, .prefixed(.uint8))
        wire.array("xs", &xs, .prefixed(.uint8))
        wire.value("n", &n)
        wire.bytes("tail", &tail, .count(n))
    }
}

struct Blob: Packet {
    static let id: PacketID = 9
    var bytes: [UInt8] = []
    mutating func fields(_ wire: inout FieldCoder) { wire.bytes("bytes", &bytes, .toEnd) }
}

struct Game: Hashable, Sendable {
    var version = 1
}

struct Move: Packet {
    static let id = PacketID { (game: Game) in game.version < 2 ? 3 : 7 }
    var x: UInt8 = 0
    var y: UInt8 = 0
    var z: UInt8 = 0

    mutating func fields(_ wire: inout FieldCoder) {
        wire.value("x", &x)
        wire.value("y", &y)
        if wire.context(or: Game()).version >= 2 { wire.value("z", &z) }
    }
}

/// Gone in version 2.
struct Legacy: Packet {
    static let id = PacketID { (game: Game) in game.version < 2 ? 7 : nil }
    mutating func fields(_ wire: inout FieldCoder) {}
}

struct Head: SizedPacketHeader {
    var size = 0
    var id: UInt64 = 0

    mutating func fields(_ wire: inout FieldCoder) {
        wire.value("size", &size, as: UInt16.self)
        wire.value("id", &id, as: UInt8.self)
    }
}

struct VarintHead: SizedPacketHeader {
    var size = 0
    var id: UInt64 = 0

    mutating func fields(_ wire: inout FieldCoder) {
        wire.varint("id", &id)
        wire.varint("size", &size)
    }
}

/// A packet with a number that stands in its header.
struct Numbered: Packet {
    static let id: PacketID = 5
    var number: UInt16 = 0
    var text = ""
    mutating func fields(_ wire: inout FieldCoder) { wire.text("text", &text, .prefixed(.uint8)) }
}

struct NumberedHead: PacketHeader {
    var number: UInt16 = 0
    var id: UInt64 = 0

    mutating func fields(_ wire: inout FieldCoder) {
        wire.value("number", &number)
        wire.value("id", &id, as: UInt8.self)
    }

    mutating func fill(from packet: any Packet) {
        number = (packet as? Numbered)?.number ?? 0
    }

    func apply(to packet: inout any Packet) {
        guard var numbered = packet as? Numbered else { return }
        numbered.number = number
        packet = numbered
    }
}

// MARK: For comparing

extension PacketSerializer {
    func bytes(_ packet: any SluicePackets.Packet) throws(PacketError) -> [UInt8] {
        try PacketOutput.bytes { output throws(PacketError) in
            try serialize(packet, into: &output)
        }
    }

    func packet(_ bytes: [UInt8]) throws(PacketError) -> any SluicePackets.Packet {
        try deserialize(bytes.span.bytes)
    }
}

/// Any packet, equal to those of its type that are.
struct Same: Equatable, Sendable {
    let packet: any Packet
    init(_ packet: any Packet) { self.packet = packet }
    static func == (left: Same, right: Same) -> Bool { left.packet.isEqual(to: right.packet) }
}

struct SameSerializer<Header: PacketHeader>: Serializer {
    let inner: PacketSerializer<Header>
    init(_ inner: PacketSerializer<Header>) { self.inner = inner }

    func deserialize(_ bytes: RawSpan) throws(PacketError) -> Same {
        Same(try inner.deserialize(bytes))
    }

    func serialize(_ packet: Same, into output: inout PacketOutput) throws(PacketError) {
        try inner.serialize(packet.packet, into: &output)
    }
}
