// Name resolution: getaddrinfo(3) on a thread of the pool, never on a loop. Floor 1; any task.

internal import Glibc

/// Turns a host and port into numeric addresses, in the resolver's order (RFC 6724).
///
/// A numeric host is answered at once. Names take a thread of the ``offload(_:)`` pool.
///
/// - Parameters:
///   - host: a name of at most 253 bytes or a numeric address.
///   - port: 0 to 65,535.
/// - Throws: ``ReactorError/resolution(host:reason:)``, ``ReactorError/cancelled``,
///   ``ReactorError/offloadFull``.
package nonisolated(nonsending) func resolve(
    host: String, port: Int
) async throws(ReactorError) -> [SocketAddress] {
    guard (0...65_535).contains(port) else {
        throw .resolution(host: host, reason: "the port \(port) is not in 0...65535")
    }
    if let numeric = SocketAddress(host, port: port) { return [numeric] }
    guard (1...253).contains(host.utf8.count), !host.utf8.contains(0) else {
        throw .resolution(host: host, reason: "a name has 1 to 253 bytes without NUL")
    }
    do {
        return try await offload { try lookUp(host: host, port: port) }
    } catch let error as ReactorError {
        throw error
    } catch {
        throw .resolution(host: host, reason: "\(error)")
    }
}

/// Blocks.
private func lookUp(host: String, port: Int) throws(ReactorError) -> [SocketAddress] {
    var hints = addrinfo()
    hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    hints.ai_flags = AI_ADDRCONFIG | AI_NUMERICSERV
    var list: UnsafeMutablePointer<addrinfo>?
    let result = getaddrinfo(host, String(port), &hints, &list)
    guard result == 0 else {
        throw .resolution(host: host, reason: String(cString: gai_strerror(result)))
    }
    defer { freeaddrinfo(list) }
    var addresses: [SocketAddress] = []
    var next = list
    while let entry = next {
        if let address = SocketAddress(entry.pointee), !addresses.contains(address) {
            addresses.append(address)
        }
        next = entry.pointee.ai_next
    }
    guard !addresses.isEmpty else {
        throw .resolution(host: host, reason: "the name has no IPv4 or IPv6 address")
    }
    return addresses
}

extension SocketAddress {
    fileprivate init?(_ entry: addrinfo) {
        guard let address = entry.ai_addr,
            let length = Int(exactly: entry.ai_addrlen),
            length <= MemoryLayout<sockaddr_storage>.size
        else { return nil }
        self.init(shimLength: length, copying: UnsafeRawPointer(address))
    }
}
