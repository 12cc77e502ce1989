// Listening elsewhere than on one host: Unix paths and what is in their way, abstract names,
// several hosts, all interfaces, descriptors that listen already.

import Glibc
import Sluice
import SluiceTestKit
import Testing

/// One line there and back.
private func echo(over pair: StreamPair) async throws {
    let end = StreamEnd(pair)
    try await end.echo("hello")
    await end.writer.close()
}

/// A bound socket file; without `listen` it is what a killed server leaves.
private func bindUnix(_ path: String, listens: Bool = false) throws -> Int32 {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    let size = socklen_t(MemoryLayout<sockaddr_un>.size)
    let result = withUnsafePointer(to: &address) { address in
        address.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, size) }
    }
    try #require(result == 0)
    if listens { try #require(listen(descriptor, 5) == 0) }
    return descriptor
}

/// Starting on a path fails with this errno.
private func expectRefused(_ path: String, _ errno: Int32) async throws {
    do throws(StreamError) {
        let server = try await startServer(.unix(path: path), handler: echoLines)
        await server.close()
        Issue.record("started")
    } catch {
        guard case .listenFailed(let address, let failure) = error else { throw error }
        #expect(address.path == path)
        #expect(failure.errno == errno, "\(failure)")
    }
}

@Suite struct UnixServerTests {
    @Test func `a server on a path serves, with the owner's permissions, and removes its file`()
        async throws
    {
        try await withLoop { _ in
            try await withDirectory { directory in
                let path = directory + "/s"
                let server = try await startServer(.unix(path: path), handler: echoLines)
                #expect(mode(of: path) == S_IFSOCK | 0o600)
                #expect(server.addresses.map(\.path) == [path])
                #expect(server.port == 0)
                try await echo(over: try await openUnixConnection(path: path))
                await server.close()
                #expect(mode(of: path) == nil)
                try await server.waitClosed()
            }
        }
    }

    @Test(arguments: [0o600, 0o660, 0o666] as [UInt32])
    func `the file gets the mode asked for`(_ wanted: UInt32) async throws {
        try await withLoop { _ in
            try await withDirectory { directory in
                let path = directory + "/s"
                let server = try await startServer(
                    .unix(path: path, mode: wanted), handler: echoLines)
                #expect(mode(of: path) == S_IFSOCK | wanted)
                await server.close()
            }
        }
    }

    @Test func `a stale socket file is replaced`() async throws {
        try await withLoop { _ in
            try await withDirectory { directory in
                let path = directory + "/s"
                close(try bindUnix(path, listens: true))
                #expect(mode(of: path) != nil)
                let server = try await startServer(.unix(path: path), handler: echoLines)
                try await echo(over: try await openUnixConnection(path: path))
                await server.shutdown(grace: .seconds(5))
            }
        }
    }

    @Test func `while a live server answers, a second one is refused and the first goes on`()
        async throws
    {
        try await withLoop { _ in
            try await withDirectory { directory in
                let path = directory + "/s"
                let server = try await startServer(.unix(path: path), handler: echoLines)
                try await expectRefused(path, EADDRINUSE)
                try await echo(over: try await openUnixConnection(path: path))
                await server.shutdown(grace: .seconds(5))
            }
        }
    }

    @Test func `a regular file in the way is refused and left alone`() async throws {
        try await withLoop { _ in
            try await withDirectory { directory in
                let path = directory + "/s"
                let file = open(path, O_CREAT | O_WRONLY, 0o644)
                try #require(write(file, "kept", 4) == 4)
                close(file)
                try await expectRefused(path, EADDRINUSE)
                var status = stat()
                #expect(lstat(path, &status) == 0 && status.st_size == 4)
                unlink(path)
            }
        }
    }

    @Test func `on close a file that somebody else has put there stays`() async throws {
        try await withLoop { _ in
            try await withDirectory { directory in
                let path = directory + "/s"
                let server = try await startServer(.unix(path: path), handler: echoLines)
                unlink(path)
                let other = try bindUnix(path)
                await server.close()
                #expect(mode(of: path) != nil)
                close(other)
                unlink(path)
            }
        }
    }

    @Test(arguments: ["", String(repeating: "x", count: 108), "a\0b"])
    func `a path that no socket can have is refused, both ways`(_ path: String) async throws {
        try await withLoop { _ in
            let error = StreamError.invalidOption(
                name: "path", rule: "1 to 107 bytes without NUL")
            await #expect(throws: error) {
                _ = try await startServer(.unix(path: path), handler: echoLines)
            }
            await #expect(throws: error) { _ = try await openUnixConnection(path: path) }
        }
    }

    @Test func `an abstract name serves without a file and is free after the close`()
        async throws
    {
        try await withLoop { _ in
            let name = freshName()
            for _ in 0..<2 {
                let server = try await startServer(.abstract(name), handler: echoLines)
                #expect(server.addresses.map(\.description) == ["@" + name])
                try await echo(over: try await openUnixConnection(abstract: name))
                await server.shutdown(grace: .seconds(5))
            }
        }
    }
}

@Suite struct ListenAddressTests {
    @Test func `several hosts share one port that the kernel chose, each address once`()
        async throws
    {
        try await withLoop { _ in
            let hosts = ["127.0.0.1", "127.0.0.2", "127.0.0.1", "127.0.0.3"]
            let server = try await startServer(.hosts(hosts, port: 0), handler: echoLines)
            #expect(server.addresses.map(\.host) == ["127.0.0.1", "127.0.0.2", "127.0.0.3"])
            #expect(server.port > 0)
            for address in server.addresses {
                #expect(address.port == server.port)
                let host = try #require(address.host)
                try await echo(over: try await openConnection(host: host, port: server.port))
            }
            await server.shutdown(grace: .seconds(5))
        }
    }

    @Test func `all interfaces serve IPv4, and IPv6 where the machine has it`() async throws {
        try await withLoop { _ in
            let server = try await startServer(.allInterfaces(port: 0), handler: echoLines)
            #expect(server.addresses.first?.host == "0.0.0.0")
            for address in server.addresses {
                #expect(address.port == server.port)
                let host = address.host == "::" ? "::1" : "127.0.0.1"
                try await echo(over: try await openConnection(host: host, port: server.port))
            }
            await server.shutdown(grace: .seconds(5))
        }
    }

    @Test func `no host at all is refused`() async throws {
        await #expect(throws: StreamError.invalidOption(name: "hosts", rule: "at least one")) {
            _ = try await startServer(.hosts([], port: 0), handler: echoLines)
        }
    }

    @Test func `a descriptor that listens is taken over, and its file left alone`() async throws {
        try await withLoop { _ in
            try await withDirectory { directory in
                let path = directory + "/s"
                let descriptor = try bindUnix(path, listens: true)
                let server = try await startServer(.descriptor(descriptor), handler: echoLines)
                #expect(server.addresses.map(\.path) == [path])
                #expect(fcntl(descriptor, F_GETFL) & O_NONBLOCK != 0)
                try await echo(over: try await openUnixConnection(path: path))
                await server.shutdown(grace: .seconds(5))
                await #expect(throws: StreamError.self) {
                    _ = try await openUnixConnection(path: path)
                }
                #expect(mode(of: path) != nil)
                unlink(path)
            }
        }
    }

    @Test func `a descriptor that does not listen is refused and stays the caller's`()
        async throws
    {
        try await withLoop { _ in
            let (left, right) = try makeSocketPair()
            for descriptor in [left, right] {
                do throws(StreamError) {
                    _ = try await startServer(.descriptor(descriptor), handler: echoLines)
                    Issue.record("started")
                } catch {
                    guard case .invalidOption("descriptor", _) = error else { throw error }
                }
                #expect(close(descriptor) == 0)
            }
        }
    }
}
