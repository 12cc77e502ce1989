// Where datagram sockets are bound: files and their manners, names of the kernel's choice, shared
// ports, and what cannot be.

import Glibc
import Sluice
import SluiceTestKit
import Testing

@Suite struct DatagramPlaceTests {
    private let path = "/tmp/sluice-\(UInt64.random(in: 0 ... .max)).sock"

    private var mode: UInt32? {
        var status = stat()
        return lstat(path, &status) == 0 ? status.st_mode & 0o7777 : nil
    }

    /// Why the path cannot be bound to.
    private func bindErrno() async -> Int32? {
        let error = await streamError { try await bindDatagramSocket(.unix(path: path)) }
        guard case .listenFailed(_, let failure)? = error else { return nil }
        return failure.errno
    }

    @Test(arguments: [0o600, 0o666, 0o777] as [UInt32])
    func `a path's file has the mode asked for, and goes with the socket`(
        _ mode: UInt32
    ) async throws {
        try await withLoop { _ in
            let socket = try await bindDatagramSocket(.unix(path: path, mode: mode))
            #expect(self.mode == mode)
            await socket.close()
            #expect(self.mode == nil)
        }
    }

    // ENDPOINTS 67.
    @Test func `67: a stale file is replaced, a live server's is not, nor any other file`()
        async throws
    {
        try await withLoop { _ in
            let fd = Glibc.socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
            withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    _ = Glibc.bind(fd, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
                }
            }
            #expect(await bindErrno() == EADDRINUSE)
            Glibc.close(fd)
            let socket = try await bindDatagramSocket(.unix(path: path))
            #expect(await bindErrno() == EADDRINUSE)
            let client = try await connectDatagramSocket(to: .unix(path: path))
            try await client.send([1])
            #expect(try await socket.receive().bytes == [1])
            // Replaced by somebody else's file: left alone.
            unlink(path)
            Glibc.close(creat(path, 0o600))
            await socket.close()
            #expect(mode == 0o600)
            #expect(await bindErrno() == EADDRINUSE)
            unlink(path)
            await client.close()
        }
    }

    // ENDPOINTS 68, of the socket.
    @Test func `68: an unnamed sender is heard, and cannot be answered`() async throws {
        try await withLoop { _ in
            let server = try await bindDatagramSocket(.automatic)
            #expect("\(server.localAddress)".hasPrefix("@"))
            let client = try await connectDatagramSocket(
                to: server.localAddress.place, from: .unnamed)
            try await client.send([1])
            let datagram = try await server.receive()
            #expect(datagram.bytes == [1])
            #expect(datagram.source.isUnnamed)
            #expect(
                await refusedOption { try await server.send([2], to: datagram.source) } == "address"
            )
            await client.close()
            await server.close()
        }
    }

    // 108 bytes leave no room for a NUL, unix(7), and the kernel takes them all the same.
    @Test func `a peer with the longest path of all is answered, and nobody else`() async throws {
        let longest = path + String(repeating: "x", count: 108 - path.utf8.count)
        let raw = RawSocket(Glibc.socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0))
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: longest.utf8) }
        let bound = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.bind(raw.fd, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        #expect(bound == 0)
        defer { unlink(longest) }
        try await withDatagrams(.unixPath) { server, client in
            // The first one to be sent to: what is left of that must not be sent to again.
            try await server.send([1], to: client.localAddress)
            #expect(try await client.receive().bytes == [1])
            connect(raw.fd, to: server.localAddress)
            try raw.send([2])
            let datagram = try await server.receive()
            #expect(datagram.source.path == longest)
            try await server.send([3], to: datagram.source)
            try await server.flush()
            try await server.send([4], to: client.localAddress)
            #expect(try await client.receive().bytes == [4])
            #expect(try raw.receive().bytes == [3])
        }
    }

    private func connect(_ fd: Int32, to address: SocketAddress) {
        var name = sockaddr_un()
        name.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &name.sun_path) { $0.copyBytes(from: (address.path ?? "").utf8) }
        let result = withUnsafePointer(to: &name) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(fd, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        #expect(result == 0)
    }

    @Test func `sockets that share a port share its load`() async throws {
        try await withLoop { _ in
            var options = DatagramOptions()
            options.reusePort = true
            let one = try await bindDatagramSocket(port: 0, options: options)
            let port = one.localAddress.port ?? 0
            let other = try await bindDatagramSocket(port: port, options: options)
            await #expect(throws: StreamError.self) { try await bindDatagramSocket(port: port) }
            var clients: [DatagramSocket] = []
            for _ in 0..<64 {
                let client = try await connectDatagramSocket(host: "127.0.0.1", port: port)
                try await client.send([1])
                try await client.flush()
                clients.append(client)
            }
            var counts = [0, 0]
            for (index, socket) in [one, other].enumerated() {
                while (try? await withTimeout(.milliseconds(5)) { try await socket.receive() })
                    != nil
                {
                    counts[index] += 1
                }
            }
            #expect(counts[0] + counts[1] == 64)
            #expect(counts.allSatisfy { $0 > 0 })
            for socket in clients + [one, other] { await socket.close() }
        }
    }

    @Test func `what cannot be sent to is refused at the call`() async throws {
        try await withDatagrams { server, client in
            let unix = try #require(SocketAddress.abstract("nobody"))
            let portless = SocketAddress("127.0.0.1", port: 0)
            for address in [nil, unix, SocketAddress("::1", port: 9), portless] {
                #expect(
                    await refusedOption { try await server.send([1], to: address) } == "address")
            }
            // A connected one may send to others, too.
            let other = try await bindDatagramSocket(port: 0)
            try await client.send([5], to: other.localAddress)
            #expect(try await other.receive().bytes == [5])
            await other.close()
        }
    }

    @Test func `options out of their range are refused`() async throws {
        let changes: [(String, @Sendable (inout DatagramOptions) -> Void)] = [
            ("maxReceiveSize", { $0.maxReceiveSize = 0 }),
            ("maxReceiveSize", { $0.maxReceiveSize = .max }),
            ("queueCount", { $0.queueCount = 0 }), ("queueBytes", { $0.queueBytes = 1 }),
            ("queueBytes", { $0.queueBytes = .max }), ("highWaterMark", { $0.highWaterMark = -1 }),
            ("outputCap", { $0.outputCap = 1 }), ("outputCap", { $0.outputCap = .max }),
            ("receiveBuffer", { $0.receiveBuffer = 0 }), ("sendBuffer", { $0.sendBuffer = .max }),
        ]
        for (name, change) in changes {
            var options = DatagramOptions()
            change(&options)
            let refused = options
            let found = await refusedOption {
                try await bindDatagramSocket(port: 0, options: refused)
            }
            #expect(found == name)
        }
    }

    @Test func `a host that cannot be routed to is told with its address`() async throws {
        try await withLoop { _ in
            let error = await streamError {
                try await connectDatagramSocket(host: "255.255.255.255", port: 9)
            }
            guard case .connectFailed("255.255.255.255", 9, let attempts)? = error else {
                Issue.record("\(String(describing: error))")
                return
            }
            #expect(attempts.map(\.error.call) == ["connect"])
        }
    }
}
