// What a stream tells about itself by typed keys. Numbers of ENDPOINTS 6.

import Glibc
import Sluice
import SluiceTestKit
import Testing

@Suite struct AttributeTests {
    @Test func `71: addresses and options of a TCP stream, also after the close`() async throws {
        try await withPair(.tcp) { near, far in
            for stream in [near, far] {
                let writer = stream.writer
                #expect(try writer.attribute(.localAddress) == writer.localAddress)
                #expect(try writer.attribute(.remoteAddress) == writer.remoteAddress)
                #expect(try writer.attribute(.family) == .v4)
                let socket = try writer.attribute(.socket)
                #expect(socket.family == .v4 && socket.localAddress == writer.localAddress)
                try socket.setOption(level: SOL_SOCKET, name: SO_KEEPALIVE, value: 0)
                #expect(try writer.socketOption(level: SOL_SOCKET, name: SO_KEEPALIVE) == 0)
            }
            let remote = try near.reader.attribute(.remoteAddress)
            #expect(try far.reader.attribute(.localAddress) == remote)
            let socket = try near.reader.attribute(.socket)
            await near.writer.abort()
            #expect(try near.reader.attribute(.remoteAddress) == remote)
            #expect(near.writer.attribute(.family, default: .unix) == .v4)
            #expect(socket.remoteAddress == remote)
            #expect(throws: StreamError.closed) {
                try socket.option(level: SOL_SOCKET, name: SO_KEEPALIVE)
            }
        }
    }

    @Test func `71: what a stream has not is an error, or the caller's default`() async throws {
        try await withPair(.memory) { near, _ in
            #expect(throws: StreamError.unavailable("remoteAddress")) {
                try near.writer.attribute(.remoteAddress)
            }
            #expect(throws: StreamError.unavailable("socket")) {
                try near.reader.attribute(.socket)
            }
            #expect(near.writer.attribute(.family, default: .v6) == .v6)
            #expect(near.reader.attribute(.tlsVersion, default: "none") == "none")
        }
        try await withPair(.tcp) { near, _ in
            #expect(throws: StreamError.unavailable("peerCredentials")) {
                try near.writer.attribute(.peerCredentials)
            }
            #expect(throws: StreamError.unavailable("remoteName")) {
                try near.writer.attribute(.remoteName)
            }
            #expect(throws: StreamError.unavailable("tlsPeerCertificate")) {
                try near.writer.attribute(.tlsPeerCertificate)
            }
        }
    }

    @Test func `69: names and credentials of Unix streams`() async throws {
        try await withLoop { _ in
            for kind in [AdoptedKind.unixPath, .unixAbstract, .socketPair] {
                let (near, far) = try await kind.makePair()
                #expect(try near.writer.attribute(.peerCredentials) == .own)
                #expect(try far.writer.attribute(.remoteName) == .unnamed)
                let name = try near.writer.attribute(.remoteName)
                #expect(try far.reader.attribute(.localName) == name)
                switch kind {
                case .unixPath: #expect("\(name)".hasPrefix("/tmp/"))
                case .unixAbstract: #expect("\(name)".hasPrefix("@sluice-"))
                default: #expect(name == .unnamed && "\(name)" == "")
                }
                await near.writer.abort()
                await far.writer.abort()
            }
        }
    }

    @Test func `Unix names read as in proc net unix`() {
        #expect("\(UnixName.path("/run/a"))" == "/run/a")
        #expect("\(UnixName.abstract([0, 65, 0]))" == "@@A@")
        #expect(SocketAddress.unix("/run/a")?.unixName == .path("/run/a"))
        #expect(SocketAddress.abstract("a")?.unixName == .abstract([97]))
        #expect(SocketAddress("::1", port: 1)?.unixName == nil)
        #expect(SocketAddress("::1", port: 1)?.family == .v6)
    }

    /// As a decoder of proxy headers would: the client is somebody else than the peer.
    @Test func `71: what is set counts before what the stream knows, until it is taken back`()
        async throws
    {
        try await withPair(.tcp) { near, _ in
            let peer = try near.writer.attribute(.remoteAddress)
            let client = SocketAddress("192.0.2.7", port: 4711)!
            let hops = Attribute<Int>("hops")
            near.writer.setAttribute(.remoteAddress, to: client)
            near.writer.setAttribute(hops, to: 3)
            #expect(try near.reader.attribute(.remoteAddress) == client)
            #expect(try near.reader.attribute(hops) == 3)
            // Another type under the same name is another key.
            #expect(throws: StreamError.unavailable("hops")) {
                try near.writer.attribute(Attribute<String>("hops"))
            }
            near.writer.setAttribute(.remoteAddress, to: nil)
            #expect(try near.writer.attribute(.remoteAddress) == peer)
        }
    }

    @Test func `70: of stapled halves the reader's attributes win`() async throws {
        try await withPair(.tcp) { near, far in
            let (other, end) = try makeSocketPair()
            defer { close(end) }
            let unix = StreamEnd(try await adoptSocket(other))
            let (reader, writer) = await staple(near.reader, unix.writer)
            let remote = try near.reader.attribute(.remoteAddress)
            #expect(try writer.attribute(.remoteAddress) == remote)
            #expect(try reader.attribute(.remoteAddress) == remote)
            // What the reader's stream has not comes from the writer's.
            #expect(try writer.attribute(.peerCredentials) == .own)
            // A ring of two pairs asks no round.
            let ring = await staple(unix.reader, near.writer)
            #expect(ring.writer.attribute(.tlsVersion, default: "none") == "none")
            #expect(try ring.writer.attribute(.remoteName) == .unnamed)
            // Closing the one closes both: 70's first half.
            await writer.close(within: .milliseconds(1))
            await #expect(throws: StreamError.closed) { try await near.reader.read() }
            #expect(try writer.attribute(.remoteAddress) == remote)
            _ = far
        }
    }
}
