// What the far end of a packet connection has sent and is sent, as a model: the bytes are made and
// taken apart by hand, not by the codecs that are being fuzzed. What the near end may say of them:
// PacketArrivals.swift.

import Sluice
@testable import SluicePackets
import SluiceStreams

/// Packets that have a number and conform to this, though others have a number, too.
protocol Numbered: Packet {
    var number: UInt16 { get }
}

struct Asked: Numbered {
    static let id: PacketID = 1
    var number: UInt16 = 0
    var text = ""

    mutating func fields(_ wire: inout FieldCoder) {
        wire.value("number", &number)
        wire.text("text", &text, .prefixed(.uint8))
    }
}

struct Noted: Packet {
    static let id: PacketID = 2
    var number: UInt16 = 0
    var text = ""

    mutating func fields(_ wire: inout FieldCoder) {
        wire.value("number", &number)
        wire.text("text", &text, .prefixed(.uint8))
    }
}

/// What the id and the fields of the next one depend on.
struct Agreed: Hashable, Sendable {
    var version: UInt8
}

struct Stated: Numbered {
    static let id = PacketID { (agreed: Agreed) in 10 + UInt64(agreed.version) }
    var number: UInt16 = 0
    var detail: UInt8 = 0

    mutating func fields(_ wire: inout FieldCoder) {
        wire.value("number", &number)
        if wire.context(or: Agreed(version: 1)).version > 1 { wire.value("detail", &detail) }
    }
}

/// Never sent.
struct FuzzedNever: Packet {
    static let id = PacketID.none
    mutating func fields(_ wire: inout FieldCoder) {}
}

struct SizedHead: SizedPacketHeader {
    var size = 0
    var id: UInt64 = 0

    mutating func fields(_ wire: inout FieldCoder) {
        wire.value("size", &size, as: UInt16.self)
        wire.value("id", &id, as: UInt8.self)
    }
}

/// One of the two formats that are fuzzed.
struct FuzzedFormat {
    let isHeaded: Bool

    private static let packets: PacketSet = [Asked.self, Noted.self, Stated.self]
    private static let prefixed = PacketFormat(
        LengthPrefixFraming(UInt16.self, limit: 400), .big, receiving: packets)
    private static let headed = PacketFormat(
        SizedHead.self, .big, limit: 400, receiving: packets)

    var format: PacketFormat { isHeaded ? Self.headed : Self.prefixed }

    /// A frame, by hand.
    func frame(_ id: UInt8, _ fields: [UInt8]) -> [UInt8] {
        let size = fields.count + (isHeaded ? 0 : 1)
        return [UInt8(size >> 8), UInt8(size & 0xFF), id] + fields
    }

    /// The size that a frame says, without what says it.
    func size(_ head: ArraySlice<UInt8>) -> Int {
        let bytes = Array(head.prefix(2))
        return Int(bytes[0]) << 8 + Int(bytes[1]) + (isHeaded ? 1 : 0)
    }
}

/// A packet as it was sent: its kind and what it depends on. Its number says the rest.
struct SentPacket {
    var kind: Int
    var number: UInt16
    var agreed: Agreed?

    private var text: String { String(repeating: "x", count: Int(number) * 7 % 40) }

    /// `nil`: there is no such packet without an agreement.
    private var detail: UInt8 { (agreed?.version ?? 1) > 1 ? UInt8(number & 0xFF) : 0 }
    private var head: [UInt8] { [UInt8(number >> 8), UInt8(number & 0xFF)] }

    /// The id and the fields on the wire.
    var wire: (id: UInt8, fields: [UInt8]) {
        switch kind {
        case 0, 1: return (UInt8(kind + 1), head + [UInt8(text.utf8.count)] + Array(text.utf8))
        case 2:
            let version = agreed?.version ?? 1
            return (10 + version, head + (version > 1 ? [detail] : []))
        default: return (90, head + Array(text.utf8))
        }
    }

    /// What is received, or sent, where this is agreed.
    func packet(where present: Agreed?) -> any Packet {
        switch kind {
        case 0: Asked(number: number, text: text)
        case 1: Noted(number: number, text: text)
        case 2 where present == Agreed(version: wire.id - 10):
            Stated(number: number, detail: detail)
        default: UnknownPacket(UInt64(wire.id), wire.fields)
        }
    }

    /// The kind and number of a packet of the model's.
    static func number(of packet: any Packet) -> Int? {
        switch packet {
        case let asked as Asked: return Int(asked.number)
        case let noted as Noted: return Int(noted.number)
        case let stated as Stated: return Int(stated.number)
        case let unknown as UnknownPacket where unknown.bytes.count > 1:
            return Int(unknown.bytes[0]) << 8 + Int(unknown.bytes[1])
        default: return nil
        }
    }
}

/// What a watch, a sequence or a listener has been shown, by places among the packets sent.
// @unchecked Sendable: used on one thread.
final class ArrivalLog: @unchecked Sendable {
    let kind: ArrivalKind
    /// The place that it was registered before; all from there on are shown to it.
    private(set) var next: Int
    /// Places of what it has accepted and not given out.
    var accepted: [Int] = []
    /// What was received in all when it accepted the last one.
    var acceptedAt: UInt64 = 0
    /// Somebody interfered in the middle of it: nothing is known any more.
    var isUncertain = false

    /// The one before may be shown, too: it was registered in the middle of that.
    private var isInMiddle: Bool

    init(_ kind: ArrivalKind, next: Int, isInMiddle: Bool) {
        self.kind = kind
        self.next = next
        self.isInMiddle = isInMiddle
    }

    func advance(to place: Int) -> Bool {
        guard place >= next - (isInMiddle ? 1 : 0) else { return false }
        next = place + 1
        isInMiddle = false
        return true
    }
}

enum ArrivalKind: Int {
    case any, asked, noted, numbered, stated, unknown

    /// Whether it surely is of the kind; `nil`: that depends on the agreement.
    func includes(_ packet: SentPacket) -> Bool? {
        switch self {
        case .any: true
        case .asked: packet.kind == 0
        case .noted: packet.kind == 1
        case .numbered: packet.kind == 2 ? nil : packet.kind == 0
        case .stated: packet.kind == 2 ? nil : false
        case .unknown: packet.kind == 2 ? nil : packet.kind == 3
        }
    }
}

extension PacketPump {
    /// What may hold it up.
    var fuzzedState: String {
        """
        slot \(String(describing: slot)), consumer \(String(describing: consumer)), waits \
        \(consumerWait != nil), \(watches.count) watches, full \(buffers.map(\.isFull)), listening \
        \(isListening), due \(dueCount) \(isConsumerDue), reading \(isReading), hook \
        \(hookTask != nil), listed \(isOnFlushList), stream \(reader?.description ?? "none")
        """
    }
}
