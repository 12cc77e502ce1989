// What the tests of descriptors beside datagrams share: sockets that take them, a far end of plain
// system calls, and receives whose descriptors are counted and closed.

import Glibc
import Sluice
import SluiceTestKit
import Testing

/// Options of a socket that takes so many descriptors beside a datagram.
func passingOptions(
    _ capacity: Int = 8, credentials: Bool = false, overflow: DatagramOverflow = .dropNewest
) -> DatagramOptions {
    var options = DatagramOptions()
    options.ancillaryCapacity = capacity
    options.receivesCredentials = credentials
    options.overflow = overflow
    return options
}

/// A bound Unix socket that takes descriptors, and one connected to it.
func withPassing(
    _ kind: DatagramKind = .unixPath, _ options: DatagramOptions = passingOptions(),
    faults: FaultTable? = nil, sourceLocation: SourceLocation = #_sourceLocation,
    _ body:
        @escaping @Sendable (_ server: DatagramSocket, _ client: DatagramSocket) async throws ->
        Void
) async throws {
    try await withDatagrams(
        kind, faults: faults, server: options, client: options, sourceLocation: sourceLocation, body
    )
}

/// A far end of plain system calls, connected to a socket with a path and bound by the kernel.
func rawPeer(of socket: DatagramSocket) throws -> RawSocket {
    let type = Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
    let fd = Glibc.socket(AF_UNIX, type, 0)
    guard fd >= 0 else { throw SystemError(call: "socket", errno: errno) }
    let raw = RawSocket(fd)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let family = socklen_t(MemoryLayout<sa_family_t>.size)
    let path = Array((socket.localAddress.path ?? "").utf8)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path) }
    let results = withUnsafePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            [
                bind(fd, $0, family),
                connect(fd, $0, socklen_t(MemoryLayout<sockaddr_un>.size)),
            ]
        }
    }
    guard results == [0, 0] else { throw SystemError(call: "connect", errno: errno) }
    return raw
}

/// What a receive gave, its descriptors counted and closed.
struct Passed: Equatable, Sendable {
    var text: String
    var descriptors = 0
    var credentials: PeerCredentials?
}

/// Receives one datagram and drops what came with it.
func passed(_ socket: DatagramSocket) async throws -> Passed {
    let received = try await socket.receiveWithAncillary()
    return Passed(
        text: String(decoding: received.datagram.bytes, as: UTF8.self),
        descriptors: received.ancillary.count, credentials: received.ancillary.credentials)
}

/// The first descriptor that came, the caller's to close.
func takeNumber(_ ancillary: inout ReceivedAncillary) throws -> Int32 {
    guard let descriptor = ancillary.takeDescriptor() else {
        throw SystemError(call: "takeDescriptor", errno: ENOENT)
    }
    return descriptor.take()
}

func closing(_ descriptor: consuming OwnedDescriptor) {}

func repeated(_ pipe: WatchedPipe, _ count: Int) -> Ancillary {
    Ancillary(descriptors: Array(repeating: pipe.writing, count: count))
}

/// Sends until its peer's queue is full and some of it waits here; returns how many were sent.
func clog(_ socket: DatagramSocket, to address: SocketAddress? = nil) async throws -> Int {
    var count = 0
    while await socket.statistics().queued < 3 {
        try socket.write(bytes("filler"), to: address)
        count += 1
        if count % 50 == 0 { await settle() }
        guard count < 10_000 else { throw SystemError(call: "clog", errno: ENOBUFS) }
    }
    await settle()
    guard await socket.statistics().queued > 0 else {
        return try await clog(socket, to: address) + count
    }
    return count
}

/// Receives what `clog` sent.
func unclog(_ socket: DatagramSocket, _ count: Int) async throws {
    for _ in 0..<count { #expect(try await passed(socket) == Passed(text: "filler")) }
}
