// Addresses: what is put in comes out, and what is none is refused.

import CEpoll
import Glibc
import Testing

@Suite struct AddressTests {
    @Test(arguments: ["0.0.0.0", "127.0.0.1", "192.0.2.1", "255.255.255.255"])
    func `an IPv4 host parsed and formatted is the same`(host: String) throws {
        var address = try parse(host, port: 8_888)
        #expect(ce_address_family(&address) == AF_INET)
        #expect(ce_address_port(&address) == 8_888)
        #expect(ce_address_scope(&address) == 0)
        #expect(address.length == MemoryLayout<sockaddr_in>.size)
        #expect(format(address) == host)
    }

    @Test(arguments: ["::", "::1", "2001:db8::1", "fe80::1:2:3:4", "::ffff:192.0.2.1"])
    func `an IPv6 host parsed and formatted is the same`(host: String) throws {
        var address = try parse(host, port: 65_535)
        #expect(ce_address_family(&address) == AF_INET6)
        #expect(ce_address_port(&address) == 65_535)
        #expect(ce_address_scope(&address) == 0)
        #expect(address.length == MemoryLayout<sockaddr_in6>.size)
        #expect(format(address) == host)
    }

    @Test(arguments: [("fe80::1%3", 3), ("fe80::1%0", 0), ("ff02::1%4294967295", UInt32.max)])
    func `a numeric scope is kept`(host: String, scope: UInt32) throws {
        var address = try parse(host, port: 1)
        #expect(ce_address_scope(&address) == scope)
        #expect(format(address) == host.prefix { $0 != "%" })
    }

    @Test func `a scope may be the name of an interface`() throws {
        let index = if_nametoindex("lo")
        try #require(index > 0)
        var address = try parse("fe80::1%lo", port: 1)
        #expect(ce_address_scope(&address) == index)
    }

    @Test(arguments: [
        "", " ", "localhost", "127.0.0", "127.0.0.256", "127.0.0.1 ", "0127.0.0.1x", "1.2.3.4%1",
        ":", ":::", "::1%", "::1%no-such-interface", "::1%4294967296", "::1%-1", "::1%3x", "[::1]",
        "%1", "12345::", "::1%99999999999999999999999999",
        "1:2:3:4:5:6:7:8:9:1:2:3:4:5:6:7:8:9:1:2:3:4:5:6:7:8:9",
    ])
    func `what is no numeric host is refused`(host: String) {
        var address = ce_address()
        #expect(ce_address_parse(&address, host, 1) == -EINVAL)
    }

    @Test func `octets are in network order and the port in host order`() {
        var address = ce_address()
        ce_address_v4(&address, [192, 0, 2, 1], 0x1234)
        var octets = [UInt8](repeating: 0xff, count: 16)
        #expect(ce_address_octets(&address, &octets) == 4)
        #expect(octets == [192, 0, 2, 1] + [UInt8](repeating: 0xff, count: 12))
        #expect(ce_address_port(&address) == 0x1234)

        let six = (0..<16).map { UInt8($0) }
        ce_address_v6(&address, six, 0x1234, 7)
        #expect(ce_address_octets(&address, &octets) == 16)
        #expect(octets == six)
        #expect(ce_address_port(&address) == 0x1234)
        #expect(ce_address_scope(&address) == 7)
    }

    @Test(arguments: [1, 2, 106, 107, 108]) func `a Unix path comes back whole`(length: Int) {
        let path = [UInt8](repeating: 0x61, count: length)
        let (address, result) = unix(path, abstract: false)
        #expect(result == 0)
        let name = unixName(address)
        #expect(name.bytes == path && !name.isAbstract)
    }

    @Test(arguments: [0, 1, 106, 107]) func `an abstract name comes back whole, NULs and all`(
        length: Int
    ) {
        let bytes = (0..<length).map { UInt8($0 % 3) }
        let (address, result) = unix(bytes, abstract: true)
        #expect(result == 0)
        let name = unixName(address)
        #expect(name.bytes == bytes && name.isAbstract)
    }

    @Test(arguments: [true, false], [1, 2, 4_000])
    func `a longer Unix name is refused`(abstract: Bool, excess: Int) {
        let bytes = [UInt8](repeating: 0x61, count: (abstract ? 107 : 108) + excess)
        #expect(unix(bytes, abstract: abstract).result == -ENAMETOOLONG)
    }

    @Test func `an empty path and one with a NUL are refused`() {
        #expect(unix([], abstract: false).result == -EINVAL)
        #expect(unix([0x61, 0, 0x62], abstract: false).result == -EINVAL)
        #expect(unix([0], abstract: false).result == -EINVAL)
    }

    @Test func `a path is cut at the capacity and its whole length told`() {
        var (address, _) = unix([1, 2, 3, 4, 5], abstract: true)
        var path: [CChar] = [9, 9, 9]
        var isAbstract = false
        #expect(ce_address_path(&address, &path, 2, &isAbstract) == 5)
        #expect(path == [1, 2, 9])
        #expect(ce_address_path(&address, nil, 0, &isAbstract) == 5)
    }

    @Test func `an unnamed Unix peer has an empty path that is not abstract`() throws {
        try withShim { shim in
            let (client, server) = try shim.makePair(on: uniqueUnix(abstract: true))
            var peer = ce_address()
            #expect(ce_remote_address(shim.reactor, server, &peer) == 0)
            #expect(ce_address_family(&peer) == AF_UNIX)
            #expect(unixName(peer) == ([], false))
            shim.close(client, server)
        }
    }

    @Test func `a path that fills the storage needs no NUL`() {
        // The kernel lets others bind 108 bytes without a NUL, unix(7).
        var (address, _) = unix([UInt8](repeating: 0x61, count: 107), abstract: false)
        withUnsafeMutableBytes(of: &address.storage) { $0[109] = 0x62 }
        let name = unixName(address)
        #expect(name.bytes.count == 108 && name.bytes.last == 0x62)
    }

    @Test func `the verbs of one family give nothing for another`() {
        var (path, _) = unix([0x61], abstract: false)
        var octets = [UInt8](repeating: 0, count: 16)
        #expect(ce_address_port(&path) == 0 && ce_address_scope(&path) == 0)
        #expect(ce_address_octets(&path, &octets) == 0)
        #expect(unixName(loopback(port: 3)) == ([], false))
        var none = ce_address()
        #expect(ce_address_family(&none) == AF_UNSPEC)
        #expect(ce_address_octets(&none, &octets) == 0)
    }

    // MARK: Parts

    private func parse(_ host: String, port: UInt16) throws -> ce_address {
        var address = ce_address()
        _ = try check(ce_address_parse(&address, host, port), host)
        return address
    }

    private func format(_ address: ce_address) -> String {
        var address = address
        var octets = [UInt8](repeating: 0, count: 16)
        var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        _ = ce_address_octets(&address, &octets)
        inet_ntop(ce_address_family(&address), octets, &text, socklen_t(text.count))
        let bytes = text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
        return String(decoding: bytes, as: UTF8.self)
    }

    private func unix(_ bytes: [UInt8], abstract: Bool) -> (address: ce_address, result: Int32) {
        var address = ce_address()
        let path = bytes.map { CChar(bitPattern: $0) }
        let result = ce_address_unix(&address, path, path.count, abstract)
        return (address, result)
    }
}
