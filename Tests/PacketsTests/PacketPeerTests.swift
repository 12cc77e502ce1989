// Packets over a real socket, with Python's struct module at the other end: one server, one client,
// each speaking the format from its own description of it.

import Glibc
import Sluice
import SluiceTestKit
import Testing

@Suite struct PacketPeerTests {
    @Test func `packets are exchanged with a peer that packs them by Python's struct`() async throws
    {
        let received = Shared<[String]>([])
        try await withLoop { _ in
            let serializer = try tradePackets.serializer(Head.self, .little)
            let codec = FramedCodec(PacketFraming(Head.self, .little), serializer)
            let server = try await startServer(port: 0, codec: codec) { endpoint in
                while let packet = try await endpoint.receive() {
                    received.append(packet.description)
                    switch packet {
                    case let order as Order:
                        let sum = order.amounts.reduce(0) { $0 + Int64($1) }
                        try await endpoint.send(Receipt(number: order.number, sum: sum))
                    default: try await endpoint.send(packet)
                    }
                }
            }
            let (output, status) = try await python(peer, String(server.port))
            #expect(output == "ok\n")
            #expect(status == 0)
            await server.shutdown(grace: .seconds(10))
        }
        #expect(
            received.value == [
                "Order(number: 7, price: 2.5, flags: (isGift: true, ways: 5), "
                    + "customer: \"Zoë\", amounts: [-1, 2, 300], note: \"by sea\")",
                "Order(number: 4294967295, price: -0.0, flags: (isGift: false, ways: 0), "
                    + "customer: \"\", amounts: [], note: nil)",
                "UnknownPacket(id: 119, bytes: <010203>)",
            ])
    }

    /// Sends two orders in pieces and a packet that the server does not know; compares the answers.
    private let peer = """
        import socket, struct, sys, time
        def order(number, price, flags, customer, amounts, note):
            body = struct.pack("<I4xdH", number, price, flags)
            name = customer.encode()
            body += struct.pack("<B", len(name)) + name
            body += struct.pack("<H%di" % len(amounts), len(amounts), *amounts)
            body += b"\\0" if note is None else b"\\1" + note.encode() + b"\\0"
            return struct.pack("<HB", len(body), 0x10) + body
        def exactly(n):
            data = b""
            while len(data) < n:
                piece = s.recv(n - len(data))
                assert piece, "the server has closed"
                data += piece
            return data
        s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sent = order(7, 2.5, 1 | 5 << 1, "Zo\\u00eb", [-1, 2, 300], "by sea")
        for byte in sent:
            s.sendall(bytes([byte]))
        s.sendall(order(2**32 - 1, -0.0, 0, "", [], None) + struct.pack("<HB3B", 3, 0x77, 1, 2, 3))
        assert struct.unpack("<HBIq", exactly(15)) == (12, 0x11, 7, 301)
        assert struct.unpack("<HBIq", exactly(15)) == (12, 0x11, 2**32 - 1, 0)
        assert exactly(6) == bytes([3, 0, 0x77, 1, 2, 3])
        s.shutdown(socket.SHUT_WR)
        assert s.recv(1) == b""
        print("ok")
        """

    /// Runs a script; it has a deadline of its own, that of its socket.
    private func python(_ script: String, _ port: String) async throws -> (String, Int32) {
        try await offload {
            let command = "python3 - \(port) 2>&1 <<'END'\n\(script)\nEND\n"
            guard let pipe = popen(command, "r") else {
                throw SystemError(call: "popen", errno: errno)
            }
            var output: [UInt8] = []
            while case let byte = getc(pipe), byte != EOF { output.append(UInt8(byte)) }
            return (String(decoding: output, as: UTF8.self), pclose(pipe))
        }
    }
}

private let tradePackets: PacketSet = [Order.self, Receipt.self]

private struct Order: Packet {
    static let id: PacketID = 0x10
    var number: UInt32 = 0
    var price = 0.0
    var isGift = false
    var ways: UInt8 = 0
    var customer = ""
    var amounts: [Int32] = []
    var note: String?

    mutating func fields(_ wire: inout FieldCoder) {
        wire.value("number", &number)
        wire.align(to: 8)
        wire.value("price", &price)
        wire.bits("flags", in: UInt16.self) { bits in
            bits.flag("isGift", &isGift)
            bits.value("ways", &ways, width: 3)
        }
        wire.text("customer", &customer, .prefixed(.uint8))
        wire.array("amounts", &amounts, .prefixed(.uint16))
        wire.optional("note", &note, of: "") { $0.text("note", &$1, .terminated) }
    }
}

private struct Receipt: Packet {
    static let id: PacketID = 0x11
    var number: UInt32 = 0
    var sum: Int64 = 0

    mutating func fields(_ wire: inout FieldCoder) {
        wire.value("number", &number)
        wire.value("sum", &sum)
    }
}
