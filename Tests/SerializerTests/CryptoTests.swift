// Checksums by swift-crypto, where the package is built with its trait `Crypto`.

import Sluice
import SluiceCrypto
import SluiceTestKit
import Testing

#if Crypto
    @Suite struct CryptoTests {
        private func hex(_ bytes: [UInt8]) -> String {
            bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        }

        @Test func `SHA-256 and its HMAC give the sums of their standards`() {
            // FIPS 180-4, one block and none.
            #expect(
                hex(Checksum.sha256(bytes("abc").span.bytes))
                    == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
            #expect(
                hex(Checksum.sha256([UInt8]().span.bytes))
                    == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
            // RFC 4231, case 1.
            let key = [UInt8](repeating: 0x0B, count: 20)
            #expect(
                hex(Checksum.hmacSHA256(key: key)(bytes("Hi There").span.bytes))
                    == "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7")
        }

        @Test func `signed and hashed lines pass the codec suite`() throws {
            let texts = ["", "a", "two words", String(repeating: "x", count: 300)].map { ($0, $0) }
            for checksum in [Checksum.sha256, .hmacSHA256(key: Array(0..<32))] {
                for alphabet in [Base64Alphabet.standard, .urlSafe] {
                    let serializer = Base64Serializer(
                        ChecksumSerializer(TextSerializer(), checksum), alphabet)
                    try checkCodec(FramedCodec(LineFraming(.crlf), serializer), texts)
                }
            }
        }

        // ENDPOINTS 5: a forged line is one error, and the next one is received.
        @Test(arguments: PairKind.allCases)
        func `a line signed by another key is malformed wherever it differs`(
            _ kind: PairKind
        ) async throws {
            @Sendable func codec(_ key: UInt8) -> FramedCodec<
                LineFraming, Base64Serializer<ChecksumSerializer<TextSerializer>>
            > {
                FramedCodec(
                    LineFraming(.crlf),
                    Base64Serializer(
                        ChecksumSerializer(
                            TextSerializer(),
                            .hmacSHA256(key: [UInt8](repeating: key, count: 32)))))
            }
            try await withPair(kind) { near, far in
                let endpoint = StreamEndpoint(near.reader, near.writer, codec(1))
                let right = try codec(1).encodeWhole("right")
                let line = Array(right.dropLast(2))
                let decoded = Base64Alphabet.urlSafe.decode(line.span.bytes)
                var plain = try #require(decoded)
                try await far.say(codec(2).encodeWhole("forged"))
                await #expect(throws: PacketError.malformed("a wrong checksum")) {
                    try await endpoint.receive()
                }
                for index in plain.indices {
                    plain[index] ^= 0x10
                    let line = Base64Alphabet.urlSafe.encode(plain.span.bytes) + [13, 10]
                    plain[index] ^= 0x10
                    #expect(throws: PacketError.malformed("a wrong checksum")) {
                        try codec(1).decodeWhole(line)
                    }
                }
                try await far.say(right)
                #expect(try await endpoint.receive() == "right")
            }
        }
    }
#endif
