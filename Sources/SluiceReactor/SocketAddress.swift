// SocketAddress: a numeric socket address as a plain value. Floor 1; any thread.

package import CEpoll
internal import Glibc

/// A numeric address of a socket: IPv4, IPv6 or Unix. Names are resolved elsewhere.
public struct SocketAddress: Hashable, Sendable, CustomStringConvertible {
    enum Storage: Hashable, Sendable {
        case v4(UInt32, port: UInt16)
        case v6(high: UInt64, low: UInt64, port: UInt16, scope: UInt32)
        /// A path, an abstract name, or the empty name of an unbound Unix socket.
        case unix([UInt8], isAbstract: Bool)
    }

    let storage: Storage

    /// Parses a numeric host.
    ///
    /// - Parameters:
    ///   - host: such as `127.0.0.1`, `::1`, `fe80::1%eth0`; not a name.
    ///   - port: 0 to 65,535.
    /// - Returns: `nil` if the host is not numeric or the port out of range.
    public init?(_ host: String, port: Int) {
        guard let port = UInt16(exactly: port), !host.utf8.contains(0) else { return nil }
        var address = ce_address()
        guard ce_address_parse(&address, host, port) == 0 else { return nil }
        self.init(address)
    }

    /// The address of a Unix socket's path.
    ///
    /// - Returns: `nil` unless the path has 1 to 107 bytes and no NUL, as unix(7) demands.
    public static func unix(_ path: String) -> SocketAddress? {
        let bytes = Array(path.utf8)
        guard (1...107).contains(bytes.count), !bytes.contains(0) else { return nil }
        return SocketAddress(storage: .unix(bytes, isAbstract: false))
    }

    /// A name in Linux's abstract namespace, unix(7): no file stands behind it.
    ///
    /// - Returns: `nil` unless the name has 1 to 107 bytes.
    public static func abstract(_ name: String) -> SocketAddress? {
        let bytes = Array(name.utf8)
        guard (1...107).contains(bytes.count) else { return nil }
        return SocketAddress(storage: .unix(bytes, isAbstract: true))
    }

    /// The numeric host without port, or `nil` for Unix addresses.
    public var host: String? {
        let octets = self.octets
        guard !octets.isEmpty else { return nil }
        var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN) + 1)
        let family = octets.count == 4 ? AF_INET : AF_INET6
        guard inet_ntop(family, octets, &text, socklen_t(text.count)) != nil else { return nil }
        let end = text.firstIndex(of: 0) ?? text.count
        var host = String(decoding: text[..<end].map(UInt8.init(bitPattern:)), as: UTF8.self)
        if case .v6(_, _, _, let scope) = storage, scope != 0 { host += "%\(scope)" }
        return host
    }

    /// The port, or `nil` for Unix addresses.
    public var port: Int? {
        switch storage {
        case .v4(_, let port), .v6(_, _, let port, _): Int(port)
        case .unix: nil
        }
    }

    /// The Unix path, or `nil` for others and for abstract or empty names.
    public var path: String? {
        guard case .unix(let bytes, false) = storage, !bytes.isEmpty else { return nil }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// `127.0.0.1:8888`, `[::1]:8888`, a path, `@name` for an abstract name, `unix` for an empty
    /// one.
    public var description: String {
        switch storage {
        case .v4(_, let port): "\(host ?? "?"):\(port)"
        case .v6(_, _, let port, _): "[\(host ?? "?")]:\(port)"
        case .unix(let bytes, let isAbstract):
            isAbstract ? "@" + printable(bytes) : bytes.isEmpty ? "unix" : printable(bytes)
        }
    }

    /// Whether the address stands for all interfaces.
    package var isWildcard: Bool {
        switch storage {
        case .v4(let bits, _): bits == 0
        case .v6(let high, let low, _, _): high == 0 && low == 0
        case .unix: false
        }
    }

    /// Whether it is one of a Unix socket.
    package var isUnix: Bool {
        if case .unix = storage { return true }
        return false
    }

    /// Whether a socket could be bound to one and connected to the other.
    package func isSameFamily(as other: SocketAddress) -> Bool {
        switch (storage, other.storage) {
        case (.v4, .v4), (.v6, .v6), (.unix, .unix): true
        default: false
        }
    }

    /// The address's octets in network order; empty for Unix.
    private var octets: [UInt8] {
        switch storage {
        case .v4(let bits, _): bigEndianBytes(bits)
        case .v6(let high, let low, _, _): bigEndianBytes(high) + bigEndianBytes(low)
        case .unix: []
        }
    }
}

extension SocketAddress {
    private init(storage: Storage) {
        self.storage = storage
    }

    /// From the shim's form; `nil` for families we do not speak.
    package init?(_ address: ce_address) {
        var address = address
        self.init(at: &address)
    }

    /// From the shim's form where it lies. Reading one is on the way of each datagram.
    package init?(at address: UnsafePointer<ce_address>) {
        let family = ce_address_family(address)
        if family == AF_INET {
            var bits: UInt32 = 0
            withUnsafeMutableBytes(of: &bits) {
                _ = ce_address_octets(address, $0.baseAddress?.assumingMemoryBound(to: UInt8.self))
            }
            storage = .v4(UInt32(bigEndian: bits), port: ce_address_port(address))
            return
        }
        if family == AF_UNIX {
            var isAbstract = false
            var bytes = [UInt8](repeating: 0, count: 128)
            let length = bytes.withUnsafeMutableBytes { buffer in
                ce_address_path(
                    address, buffer.baseAddress?.assumingMemoryBound(to: CChar.self),
                    buffer.count, &isAbstract)
            }
            storage = .unix(Array(bytes.prefix(length)), isAbstract: isAbstract)
            return
        }
        var high: UInt64 = 0
        var low: UInt64 = 0
        let count = withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 16) { octets in
            octets.initialize(repeating: 0)
            let count = ce_address_octets(address, octets.baseAddress)
            for index in 0..<8 { high = high << 8 | UInt64(octets[index]) }
            for index in 8..<16 { low = low << 8 | UInt64(octets[index]) }
            return count
        }
        let port = ce_address_port(address)
        switch count {
        case 16:
            storage = .v6(high: high, low: low, port: port, scope: ce_address_scope(address))
        default: return nil
        }
    }

    /// In the shim's form.
    package var shimAddress: ce_address {
        var address = ce_address()
        store(at: &address)
        return address
    }

    /// The same, where it is wanted.
    package func store(at address: UnsafeMutablePointer<ce_address>) {
        switch storage {
        case .v4(let bits, let port):
            withUnsafeBytes(of: bits.bigEndian) {
                ce_address_v4(address, $0.baseAddress?.assumingMemoryBound(to: UInt8.self), port)
            }
        case .v6(let high, let low, let port, let scope):
            withUnsafeBytes(of: (high.bigEndian, low.bigEndian)) {
                ce_address_v6(
                    address, $0.baseAddress?.assumingMemoryBound(to: UInt8.self), port, scope)
            }
        case .unix(let bytes, let isAbstract):
            bytes.withUnsafeBytes { buffer in
                _ = ce_address_unix(
                    address, buffer.baseAddress?.assumingMemoryBound(to: CChar.self),
                    buffer.count, isAbstract)
            }
        }
    }

    /// Whoever has no address: a Unix socket that was never bound.
    package static let unnamed = SocketAddress(storage: .unix([], isAbstract: false))

    /// Whether nothing can be sent there: the address of an unbound Unix socket.
    public var isUnnamed: Bool {
        if case .unix(let bytes, false) = storage { bytes.isEmpty } else { false }
    }

    /// The most bytes of a UDP datagram to this address, udp(7): what a length of 16 bits leaves
    /// behind the headers. `nil` for Unix.
    package var datagramBytesMax: Int? {
        switch storage {
        case .v4: 65_507
        case .v6: 65_527
        case .unix: nil
        }
    }

    /// The system's number of its family.
    package var familyNumber: Int32 {
        switch storage {
        case .v4: AF_INET
        case .v6: AF_INET6
        case .unix: AF_UNIX
        }
    }
}

/// A name as text for people: a peer chooses its own, and could forge lines of a log with it, or
/// write to a terminal.
func printable(_ name: some Sequence<UInt8>) -> String {
    var text = ""
    for scalar in String(decoding: Array(name), as: UTF8.self).unicodeScalars {
        if scalar.properties.generalCategory == .control {
            text += "\\u{" + String(scalar.value, radix: 16) + "}"
        } else {
            text.unicodeScalars.append(scalar)
        }
    }
    return text
}

private func bigEndianBytes<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
    withUnsafeBytes(of: value.bigEndian) { Array($0) }
}

extension SocketAddress {
    /// From a system's address of `length` bytes, at most those of a sockaddr_storage.
    init?(shimLength length: Int, copying bytes: UnsafeRawPointer) {
        var address = ce_address()
        address.length = socklen_t(length)
        withUnsafeMutableBytes(of: &address.storage) { storage in
            storage.copyMemory(from: UnsafeRawBufferPointer(start: bytes, count: length))
        }
        self.init(address)
    }
}
