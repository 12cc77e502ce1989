// GameProtocol: the packets of GameServer, which PacketProxy knows too, in both their versions.
//
// A frame is two bytes of length, one of id, and the fields; integers are big endian. A player says
// Hello with a version; everything after it has the ids and fields of that version.

package import Sluice

package let gamePackets = PacketFormat(
    LengthPrefixFraming(UInt16.self), .big,
    receiving: [Hello.self, Login.self, Say.self, Move.self, KeepAlive.self],
    sending: [
        Refused.self, Welcome.self, Joined.self, Left.self, Said.self, Moved.self, KeepAlive.self,
    ])

/// What the two sides have agreed on, once there was a Hello.
package struct Game: Hashable, Sendable {
    package static let versions: ClosedRange<UInt8> = 1...2
    package var version: UInt8

    package init(version: UInt8) { self.version = version }
}

extension PacketID {
    /// One id in version 1, another one later, and none before the Hello.
    fileprivate static func number(_ first: UInt64, later: UInt64) -> PacketID {
        PacketID { (game: Game) in game.version < 2 ? first : later }
    }
}

/// A place. Version 2 brought the third dimension.
package struct Position: Record {
    package var (x, y, z): (Int32, Int32, Int32) = (0, 0, 0)
    package init() {}

    package mutating func fields(_ wire: inout FieldCoder) {
        wire.value("x", &x)
        wire.value("y", &y)
        if wire.context(or: Game(version: 2)).version >= 2 { wire.value("z", &z) }
    }
}

// MARK: From a player

package struct Hello: Packet {
    package static let id: PacketID = 0
    package var version: UInt8 = 0
    package init() {}

    package mutating func fields(_ wire: inout FieldCoder) { wire.value("version", &version) }
}

package struct Login: Packet {
    package static let id = PacketID.number(1, later: 0x11)
    package var name = ""
    package init() {}

    package mutating func fields(_ wire: inout FieldCoder) {
        wire.text("name", &name, .prefixed(.uint8))
    }
}

package struct Say: Packet {
    package static let id = PacketID.number(2, later: 0x12)
    package var text = ""
    package init() {}

    package mutating func fields(_ wire: inout FieldCoder) { wire.text("text", &text, .toEnd) }
}

package struct Move: Packet {
    package static let id = PacketID.number(3, later: 0x13)
    package var position = Position()
    package init() {}

    package mutating func fields(_ wire: inout FieldCoder) { wire.record("position", &position) }
}

// MARK: From either

/// A question by the server, and the same number in answer to it.
package struct KeepAlive: Packet {
    package static let id = PacketID.number(4, later: 0x1F)
    package var number: UInt32 = 0
    package init() {}

    package mutating func fields(_ wire: inout FieldCoder) { wire.value("number", &number) }
}

// MARK: From the server

package struct Refused: Packet {
    package static let id: PacketID = 0xFF
    package var reason = ""
    package init() {}

    package mutating func fields(_ wire: inout FieldCoder) { wire.text("reason", &reason, .toEnd) }
}

package struct Welcome: Packet {
    package static let id = PacketID.number(5, later: 0x20)
    package var player: UInt32 = 0
    package init() {}

    package mutating func fields(_ wire: inout FieldCoder) { wire.value("player", &player) }
}

package struct Joined: Packet {
    package static let id = PacketID.number(6, later: 0x21)
    package var player: UInt32 = 0
    package var name = ""
    package init() {}

    package mutating func fields(_ wire: inout FieldCoder) {
        wire.value("player", &player)
        wire.text("name", &name, .prefixed(.uint8))
    }
}

package struct Left: Packet {
    package static let id = PacketID.number(7, later: 0x22)
    package var player: UInt32 = 0
    package init() {}

    package mutating func fields(_ wire: inout FieldCoder) { wire.value("player", &player) }
}

package struct Said: Packet {
    package static let id = PacketID.number(8, later: 0x23)
    package var player: UInt32 = 0
    package var text = ""
    package init() {}

    package mutating func fields(_ wire: inout FieldCoder) {
        wire.value("player", &player)
        wire.text("text", &text, .toEnd)
    }
}

package struct Moved: Packet {
    package static let id = PacketID.number(9, later: 0x24)
    package var player: UInt32 = 0
    package var position = Position()
    package init() {}

    package mutating func fields(_ wire: inout FieldCoder) {
        wire.value("player", &player)
        wire.record("position", &position)
    }
}
