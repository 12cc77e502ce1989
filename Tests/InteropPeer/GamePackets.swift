// The kinds of packets of Tests/Interop/pak_peer.py.

import Sluice

struct Head: SizedPacketHeader {
    var size = 0
    var id: UInt64 = 0

    mutating func fields(_ wire: inout FieldCoder) {
        wire.value("size", &size, as: UInt16.self)
        wire.value("id", &id, as: UInt8.self)
    }
}

struct Login: Packet {
    static let id: PacketID = 0x01
    var name = ""
    var version: UInt16 = 0

    init() {}
    init(_ name: String, version: UInt16) { (self.name, self.version) = (name, version) }

    mutating func fields(_ wire: inout FieldCoder) {
        wire.text("name", &name, .prefixed(.uint8))
        wire.value("version", &version)
    }
}

enum Rights: UInt8 {
    case guest = 0
    case player = 1
    case keeper = 200
}

struct Welcome: Packet {
    static let id: PacketID = 0x02
    static let wanted = Welcome(token: 4 << 32 | 1_200, rights: .keeper, motto: "be kind, Zoë")
    var token: UInt64 = 0
    var rights = Rights.guest
    var motto = ""

    mutating func fields(_ wire: inout FieldCoder) {
        wire.varint("token", &token)
        wire.choice("rights", &rights)
        wire.text("motto", &motto, .terminated)
    }
}

struct Move: Packet {
    static let id: PacketID = 0x10
    var x: Int32 = 0
    var y: Int32 = 0
    var speed: Float = 0
    var sneaks = false

    mutating func fields(_ wire: inout FieldCoder) {
        wire.value("x", &x)
        wire.value("y", &y, .big)
        wire.value("speed", &speed)
        wire.value("sneaks", &sneaks)
    }
}

struct Bag: Packet {
    static let id: PacketID = 0x11
    var counts: [UInt16] = []
    var label = ""
    var isHeavy = false
    var kind: UInt8 = 0
    var count: UInt8 = 0
    var weight = 0.0
    var bonus: UInt8?
    var change: Int64 = 0
    var slots: [Int16] = []
    var rest: [UInt8] = []

    mutating func fields(_ wire: inout FieldCoder) {
        wire.array("counts", &counts, .prefixed(.uint8))
        wire.text("label", &label, .terminated(within: 8))
        wire.bits("marks", in: UInt8.self) { bits in
            bits.flag("isHeavy", &isHeavy)
            bits.value("kind", &kind, width: 3)
            bits.value("count", &count, width: 4)
        }
        wire.value("weight", &weight)
        wire.optional("bonus", &bonus)
        wire.signedVarint("change", &change)
        // pak's peer has their number as a field of its own.
        wire.array("slots", &slots, .prefixed(.uint8))
        wire.bytes("rest", &rest, .toEnd)
    }
}

struct Ping: Packet {
    static let id: PacketID = 0x20
    var number: UInt64 = 0

    mutating func fields(_ wire: inout FieldCoder) { wire.value("number", &number) }
}

struct Pong: Packet {
    static let id: PacketID = 0x21
    var number: UInt64 = 0

    mutating func fields(_ wire: inout FieldCoder) { wire.value("number", &number) }
}

struct Bye: Packet {
    static let id: PacketID = 0x30

    mutating func fields(_ wire: inout FieldCoder) {}
}

struct Report: Packet {
    static let id: PacketID = 0x31
    var packets: UInt32 = 0
    var sum: Int64 = 0

    mutating func fields(_ wire: inout FieldCoder) {
        wire.value("packets", &packets)
        wire.value("sum", &sum)
    }
}
