// Checksums that nobody can forge, by swift-crypto. Beside the floors; pure.
//
// The package brings swift-crypto in for those alone who ask for it, by its trait `Crypto`.

#if Crypto
    internal import Crypto
#endif
public import Sluice

#if Crypto
    extension Checksum {
        /// SHA-256, 32 bytes: finds what was damaged, not what was forged.
        public static var sha256: Checksum {
            Checksum(size: SHA256.byteCount) { bytes in
                bytes.withUnsafeBytes { Array(SHA256.hash(data: $0)) }
            }
        }

        /// HMAC of SHA-256, 32 bytes: made by who has the key alone.
        ///
        /// - Parameter key: a secret of 32 random bytes; 1 or more are taken.
        public static func hmacSHA256(key: [UInt8]) -> Checksum {
            precondition(!key.isEmpty, "a key has 1 byte or more")
            return Checksum(size: SHA256.byteCount) { bytes in
                bytes.withUnsafeBytes {
                    Array(HMAC<SHA256>.authenticationCode(for: $0, using: SymmetricKey(data: key)))
                }
            }
        }
    }
#else
    extension Checksum {
        /// Only with the trait `Crypto` of the package.
        @available(*, unavailable, message: "depend on the package with traits: [\"Crypto\"]")
        public static var sha256: Checksum { Checksum(size: 32) { _ in [] } }

        /// Only with the trait `Crypto` of the package.
        @available(*, unavailable, message: "depend on the package with traits: [\"Crypto\"]")
        public static func hmacSHA256(key: [UInt8]) -> Checksum { Checksum(size: 32) { _ in [] } }
    }
#endif
