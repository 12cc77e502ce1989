// What the tests of datagrams share: kinds of sockets, pairs, and a far end made of plain system
// calls.

import Glibc
import Sluice
import SluiceTestKit
import Testing

/// Whether this machine has `::1`.
let hasLoopback6: Bool = {
    let fd = socket(AF_INET6, Int32(SOCK_DGRAM.rawValue), 0)
    guard fd >= 0 else { return false }
    defer { close(fd) }
    var address = sockaddr_in6()
    address.sin6_family = sa_family_t(AF_INET6)
    address.sin6_addr = in6addr_loopback
    return withUnsafePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            bind(fd, $0, socklen_t(MemoryLayout<sockaddr_in6>.size)) == 0
        }
    }
}()

/// The kinds of datagram sockets that every test of behaviour runs over.
enum DatagramKind: String, CaseIterable, Sendable, CustomTestStringConvertible {
    case v4
    case v6
    case unixPath
    case abstract

    var testDescription: String { rawValue }

    /// Those of this machine; a test of its own says which one is missing.
    static let here: [DatagramKind] = allCases.filter { $0 != .v6 || hasLoopback6 }
    static let internet: [DatagramKind] = here.filter(\.isInternet)

    var isInternet: Bool { self == .v4 || self == .v6 }

    /// An address nobody else is bound to.
    func makeAddress() -> DatagramAddress {
        switch self {
        case .v4: .host("127.0.0.1", port: 0)
        case .v6: .host("::1", port: 0)
        case .unixPath: .unix(path: "/tmp/sluice-\(UInt64.random(in: 0 ... .max)).sock")
        case .abstract: .abstract("sluice-\(UInt64.random(in: 0 ... .max))")
        }
    }
}

extension SocketAddress {
    /// As a place to connect to.
    var place: DatagramAddress {
        if let host, let port { return .host(host, port: port) }
        if let path { return .unix(path: path) }
        return .abstract(String(description.dropFirst()))
    }
}

/// A bound socket and one connected to it, on a loop of their own; closed and audited afterwards.
func withDatagrams(
    _ kind: DatagramKind = .v4, faults: FaultTable? = nil, server: DatagramOptions = .init(),
    client: DatagramOptions = .init(), sourceLocation: SourceLocation = #_sourceLocation,
    _ body:
        @escaping @Sendable (_ server: DatagramSocket, _ client: DatagramSocket) async throws ->
        Void
) async throws {
    try await withLoop(faults: faults, sourceLocation: sourceLocation) { _ in
        let bound = try await bindDatagramSocket(kind.makeAddress(), options: server)
        let connected = try await connectDatagramSocket(
            to: bound.localAddress.place, options: client)
        let result: Result<Void, any Error>
        do { result = .success(try await body(bound, connected)) } catch {
            result = .failure(error)
        }
        faults?.failNone()
        await connected.close()
        await bound.close()
        try result.get()
    }
}

/// An address of loopback where nobody listens, at least not a moment ago.
func deadAddress(_ kind: DatagramKind) async throws -> SocketAddress {
    let socket = try await bindDatagramSocket(kind.makeAddress())
    await socket.close()
    return socket.localAddress
}

/// The error a call throws; `nil` if it throws none, or another sort.
func streamError<R>(_ body: () async throws -> R) async -> StreamError? {
    do { _ = try await body() } catch { return error as? StreamError }
    return nil
}

/// The option that a call refuses.
func refusedOption<R>(_ body: () async throws -> R) async -> String? {
    guard case .invalidOption(let name, _)? = await streamError(body) else { return nil }
    return name
}
