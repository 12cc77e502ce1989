// Socket addresses as values, and the resolution of names.

import Sluice
import SluiceTestKit
import Testing

@Suite struct AddressTests {
    @Test(arguments: [
        ("127.0.0.1", 8_888, "127.0.0.1:8888"), ("0.0.0.0", 0, "0.0.0.0:0"),
        ("::1", 8_888, "[::1]:8888"), ("::", 65_535, "[::]:65535"),
        ("2001:DB8:0:0::1", 1, "[2001:db8::1]:1"), ("::ffff:192.0.2.1", 9, "[::ffff:192.0.2.1]:9"),
    ])
    func `a numeric address prints as it is written`(host: String, port: Int, text: String) throws {
        let address = try #require(SocketAddress(host, port: port))
        #expect("\(address)" == text)
        #expect(address.port == port)
        #expect(address.path == nil)
        #expect(SocketAddress(try #require(address.host), port: port) == address)
    }

    @Test(arguments: [
        "", "localhost", "127.0.0", "127.0.0.256", "127.0.0.1 ", "[::1]", ":::",
    ])
    func `what is not numeric is no address`(host: String) {
        #expect(SocketAddress(host, port: 1) == nil)
    }

    @Test func `an address does not end at a NUL`() {
        #expect(SocketAddress("1.2.3.4\0x", port: 1) == nil)
    }

    @Test(arguments: [-1, 65_536, Int.max, Int.min])
    func `a port out of range is no address`(port: Int) {
        #expect(SocketAddress("127.0.0.1", port: port) == nil)
    }

    @Test func `a Unix path has 1 to 107 bytes and no NUL`() throws {
        let address = try #require(SocketAddress.unix("/run/echo.sock"))
        #expect("\(address)" == "/run/echo.sock")
        #expect(address.path == "/run/echo.sock")
        #expect(address.host == nil)
        #expect(address.port == nil)
        #expect(SocketAddress.unix("") == nil)
        #expect(SocketAddress.unix("a\0b") == nil)
        #expect(SocketAddress.unix(String(repeating: "x", count: 107)) != nil)
        #expect(SocketAddress.unix(String(repeating: "x", count: 108)) == nil)
    }

    @Test func `an error prints its call, the system's words and the number`() {
        #expect(
            "\(SystemError(call: "bind", errno: 98))" == "bind: Address already in use (errno 98)")
        #expect(SystemError(call: "bind", errno: -98) == SystemError(call: "bind", errno: 98))
        #expect("\(ReactorError.timedOut)" == "the deadline passed")
    }
}

@Suite struct ResolverTests {
    @Test func `numeric hosts are answered without a thread, on the loop`() async throws {
        try await withLoop { loop in
            let before = await loop.statistics()
            let addresses = try await resolve(host: "::1", port: 80)
            #expect(addresses.map(\.description) == ["[::1]:80"])
            #expect(await loop.statistics().enqueues == before.enqueues)
        }
    }

    @Test func `localhost has loopback addresses`() async throws {
        try await withLoop { loop in
            let addresses = try await resolve(host: "localhost", port: 80)
            #expect(!addresses.isEmpty)
            #expect(addresses.allSatisfy { ["127.0.0.1", "::1"].contains($0.host) })
            #expect(addresses.allSatisfy { $0.port == 80 })
            #expect(loop.isCurrent)
        }
    }

    @Test func `a host that cannot be a name is refused without asking`() async throws {
        try await withLoop { _ in
            for host in ["", "a\0b", "1.2.3.4\0x", String(repeating: "x", count: 254)] {
                do {
                    _ = try await resolve(host: host, port: 80)
                    Issue.record("resolved")
                } catch ReactorError.resolution(let failed, _) {
                    #expect(failed == host)
                }
            }
        }
    }

    @Test(arguments: [-1, 65_536]) func `a port out of range is refused`(port: Int) async throws {
        try await withLoop { _ in
            do {
                _ = try await resolve(host: "127.0.0.1", port: port)
                Issue.record("resolved")
            } catch ReactorError.resolution(_, let reason) {
                #expect(reason.contains("\(port)"))
            }
        }
    }

    @Test func `a name that does not exist says so`() async throws {
        try await withLoop { _ in
            do {
                _ = try await resolve(host: "no-such-host.invalid", port: 80)
                Issue.record("resolved")
            } catch ReactorError.resolution(let host, let reason) {
                #expect(host == "no-such-host.invalid")
                #expect(!reason.isEmpty)
            }
        }
    }

    /// A peer chooses its own name; reports and logs print it.
    @Test func `a Unix name is printed without control characters`() throws {
        let name = "x\nsluice: forged\u{1b}[31m"
        let address = try #require(SocketAddress.unix(name))
        let abstract = try #require(SocketAddress.abstract(name))
        for text in [
            address.description, abstract.description, "\(try #require(address.unixName))",
            "\(try #require(abstract.unixName))",
        ] {
            #expect(text.hasSuffix(#"x\u{a}sluice: forged\u{1b}[31m"#), "\(text)")
        }
        #expect(SocketAddress.unix("/tmp/größe 1")?.description == "/tmp/größe 1")
    }
}
