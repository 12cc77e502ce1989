// The wire format of requests, byte for byte. The numbers are those of the behaviours that packet
// connections must show.

import Sluice
import SluiceTestKit
import Testing

@testable import SluicePackets

private func parse(_ bytes: [UInt8], strict: Bool = false, limit: Int = 1 << 24) -> RequestParse {
    bytes.withUnsafeBytes { RequestHeader.parse($0, limit: limit, strict: strict) }
}

@Suite struct RequestWireTests {
    // PACKETS 4, 5, 7 and the captures of §3
    @Test(
        arguments: [
            (request(2, 0), "", "03020201"),
            (response(2), "", "020204"),
            (request(3, 0), "hello", "0803020168656c6c6f"),
            (response(3), "hello", "07030468656c6c6f"),
            (request(4, 1), "abc", "06040202616263"),
            (response(4), "ABC", "050404414243"),
            (request(5, 2), "x", "0405020378"),
            (
                response(5, ok: false), "exception during handler",
                "1a0500657863657074696f6e20647572696e672068616e646c6572"
            ),
            (request(7, 5, flags: 31), "", "03077e06"),
            (response(7, flags: 32), "", "03078204"),
            (request(8, 5, flags: 32), "", "0408810206"),
            (response(8, flags: 33), "", "0308820c"),
            (request(0, 0, channel: 5), "hello", "090003050168656c6c6f"),
            (response(0, channel: 5), "hello", "0800050568656c6c6f"),
            (request(0, 0, flags: 3, channel: 300), "hello", "0a000f822c0168656c6c6f"),
            (response(0, channel: 300), "hello", "090005822c68656c6c6f"),
            (request(10, 200), "", "040a028149"),
            (response(5, ok: false, flags: 3), "zz", "0405187a7a"),
            (RequestHeader(kind: .end, tag: 0, channel: 0, flags: 0), "", "03000200"),
            (RequestHeader(kind: .endOfRequests, tag: 1, channel: 0, flags: 0), "", "03010200"),
        ] as [(RequestHeader, String, String)])
    func `each packet is the bytes that the stock library sends, and back`(
        _ header: RequestHeader, _ payload: String, _ hex: String
    ) {
        let packet = wire(header, bytes(payload))
        #expect(packet == fromHex(hex))
        let (start, end) = (packet.count - payload.utf8.count, packet.count)
        #expect(parse(packet) == .packet(header, payload: start..<end, used: end))
    }

    // PACKETS 6
    @Test func `an explicit channel 0 is channel 0`() {
        let wire = fromHex("05020300017a")
        #expect(parse(wire) == .packet(request(2, 0), payload: 5..<6, used: 6))
    }

    // PACKETS 8
    @Test func `a packet's size takes a second byte from 128 on`() {
        // Tag, word and type are a byte each.
        #expect(wire(request(2, 0), [UInt8](repeating: 7, count: 124))[0] == 0x7F)
        let long = wire(request(2, 0), [UInt8](repeating: 7, count: 125))
        #expect(Array(long[..<2]) == [0x81, 0x00])
        #expect(long.count == 2 + 128)
    }

    // PACKETS 1
    @Test(
        arguments: [
            (0, "00"), (1, "01"), (127, "7f"), (128, "8100"), (255, "817f"), (300, "822c"),
            (16_383, "ff7f"), (16_384, "818000"), (2_097_152, "81808000"),
            (4_294_967_295, "8fffffff7f"), (1 << 63, "81808080808080808000"),
            (.max, "81ffffffffffffffff7f"),
        ] as [(UInt64, String)])
    func `integers stand in their shortest form`(_ value: UInt64, _ hex: String) {
        let written = PacketOutput.bytes { Varint.base128.append(value, to: &$0) }
        #expect(written == fromHex(hex))
        #expect(wire(request(value, 0)).dropFirst().starts(with: fromHex(hex)))
    }

    // PACKETS 2
    @Test func `a padded integer is read, unless the connection is strict`() {
        let wire = fromHex("05") + fromHex("80800a") + fromHex("0400")
        guard case .packet(let header, _, _) = parse(wire) else {
            Issue.record("no packet")
            return
        }
        #expect(header.tag == 10)
        #expect(
            parse(wire, strict: true) == .malformed(.malformed("an integer longer than it need be"))
        )
        #expect(parse([0x81]) == .more(1))
    }

    // PACKETS 3
    @Test func `integers over 64 bits are refused at once`() {
        let endless = [UInt8](repeating: 0xFF, count: 200_000)
        #expect(parse(endless) == .malformed(.malformed("an integer of more than 64 bits")))
        #expect(
            parse([UInt8](repeating: 0x80, count: 11))
                == .malformed(.malformed("an integer of more than 10 bytes")))
        let inside = fromHex("0c02") + [UInt8](repeating: 0xFF, count: 11)
        #expect(parse(inside) == .malformed(.malformed("an integer of more than 64 bits")))
    }

    // PACKETS 11
    @Test func `a size over the limit is refused as soon as it is known`() {
        #expect(parse(fromHex("8100"), limit: 127) == .malformed(.limitExceeded(limit: 127)))
        #expect(parse(fromHex("8100"), limit: 128) == .more(128))
        #expect(
            parse(fromHex("81ffffffffffffffff7f"), limit: .max)
                == .malformed(.limitExceeded(limit: .max)))
        #expect(parse(fromHex("ffffffffffffffff7f"), limit: .max) == .more(.max))
    }

    // PACKETS 12, 51
    @Test(arguments: [
        "00", "0102", "020281", "03020380", "020202", "03070200", "0400020005", "0402030500",
        "0402060000", "0300060000", "0402020042",
    ])
    func `a packet that ends too early, or says nothing, is malformed`(_ hex: String) {
        guard case .malformed = parse(fromHex(hex)) else {
            Issue.record("\(hex) made sense")
            return
        }
    }

    // PACKETS 10
    @Test func `10,000 random packets come back as they were`() {
        var random = SeededGenerator()
        var stream: [UInt8] = []
        var sent: [(RequestHeader, [UInt8])] = []
        for _ in 0..<10_000 {
            let header = randomHeader(&random)
            let payload = (0..<Int.random(in: 0...40, using: &random)).map { _ in
                UInt8.random(in: 0...255, using: &random)
            }
            stream += wire(header, payload)
            sent.append((header, payload))
        }
        stream.withUnsafeBytes { stream in
            var offset = 0
            for (header, payload) in sent {
                let rest = UnsafeRawBufferPointer(rebasing: stream[offset...])
                guard
                    case .packet(let found, let range, let used) = RequestHeader.parse(
                        rest, limit: 1 << 20, strict: true)
                else {
                    Issue.record("no packet at \(offset)")
                    return
                }
                guard found == header, rest[range].elementsEqual(payload) else {
                    Issue.record("\(found) is not \(header)")
                    return
                }
                offset += used
            }
            #expect(offset == stream.count)
        }
    }

    private func randomHeader(_ random: inout SeededGenerator) -> RequestHeader {
        func integer(_ bits: UInt64) -> UInt64 {
            UInt64.random(
                in: 0...(.max >> (64 - UInt64.random(in: 1...bits, using: &random))),
                using: &random)
        }
        if Bool.random(using: &random) {
            return request(
                integer(64), min(integer(64), .max - 1), flags: integer(62), channel: integer(64))
        }
        return response(
            integer(64), ok: Bool.random(using: &random), flags: integer(61), channel: integer(64))
    }
}
