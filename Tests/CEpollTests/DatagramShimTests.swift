// The shim's datagram verbs: batches, senders, errors, files, and that a failure leaves nothing.

import CEpoll
import CFaults
import Glibc
import Testing

@Suite struct DatagramShimTests {
    private func open(_ shim: Shim, at address: ce_address, flags: UInt32 = 0) throws -> Int32 {
        var (address, options) = (address, ce_datagram_options())
        options.flags = flags
        let fd = try check(
            ce_open_datagram(shim.reactor, ce_address_family(&address), &options, nil))
        _ = try check(ce_bind_datagram(shim.reactor, fd, &address))
        return fd
    }

    /// Sends each content as a datagram, in one call; returns how many were taken.
    private func send(
        _ contents: [[UInt8]], from fd: Int32, to address: ce_address, _ shim: Shim
    ) throws -> Int32 {
        let storage = contents.map {
            UnsafeMutableBufferPointer<UInt8>.allocate(capacity: $0.count)
        }
        defer { storage.forEach { $0.deallocate() } }
        var pieces: [ce_piece] = []
        for (room, content) in zip(storage, contents) {
            _ = room.initialize(from: content)
            pieces.append(ce_piece(start: room.baseAddress, count: content.count))
        }
        return try pieces.withUnsafeBufferPointer { pieces in
            var list = contents.indices.map { index in
                var datagram = ce_datagram()
                datagram.address = address
                datagram.pieces = pieces.baseAddress.map { $0 + index }
                datagram.pieces_count = 1
                return datagram
            }
            return try check(ce_send_datagrams(shim.reactor, fd, &list, list.count))
        }
    }

    private struct Received {
        var bytes: [UInt8]
        var datagram: ce_datagram
    }

    /// One call with room for so many datagrams.
    private func receive(
        _ count: Int, room: Int = 2_048, from fd: Int32, _ shim: Shim
    ) throws -> [Received] {
        let memory = UnsafeMutableRawPointer.allocate(byteCount: count * room, alignment: 16)
        defer { memory.deallocate() }
        let pieces = (0..<count).map { ce_piece(start: memory + $0 * room, count: room) }
        return try pieces.withUnsafeBufferPointer { pieces in
            var list = (0..<count).map { index in
                var datagram = ce_datagram()
                datagram.pieces = pieces.baseAddress.map { $0 + index }
                datagram.pieces_count = 1
                return datagram
            }
            let got = try shim.retrying {
                ce_receive_datagrams(shim.reactor, fd, &list, count, true)
            }
            return (0..<Int(got)).map { index in
                let start = memory + index * room
                let bytes = UnsafeRawBufferPointer(
                    start: start, count: min(room, list[index].length))
                return Received(bytes: Array(bytes), datagram: list[index])
            }
        }
    }

    @Test(arguments: hasIPv6 ? [loopback(), loopback6()] : [loopback()])
    func `a batch goes in one call and comes in one call, with its sender`(
        _ address: ce_address
    ) throws {
        try withShim { shim in
            let (a, b) = (try open(shim, at: address), try open(shim, at: address))
            let contents = (0..<10).map { [UInt8](repeating: $0, count: Int($0)) }
            #expect(try send(contents, from: a, to: shim.localAddress(of: b), shim) == 10)
            let received = try receive(16, from: b, shim)
            #expect(received.map(\.bytes) == contents)
            var own = try shim.localAddress(of: a)
            for var one in received {
                #expect(ce_address_port(&one.datagram.address) == ce_address_port(&own))
                #expect(!one.datagram.is_cut)
            }
            #expect(shim.counts(CF_SENDMMSG).calls == 1)
            shim.close(a, b)
        }
    }

    @Test func `a batch has sixty-four datagrams at most`() throws {
        try withShim { shim in
            let (a, b) = (try open(shim, at: loopback()), try open(shim, at: loopback()))
            let contents = [[UInt8]](repeating: [1], count: 100)
            #expect(try send(contents, from: a, to: shim.localAddress(of: b), shim) == 64)
            #expect(try receive(100, from: b, shim).count == 64)
            shim.close(a, b)
        }
    }

    @Test func `a datagram that does not fit says how long it was`() throws {
        try withShim { shim in
            let (a, b) = (try open(shim, at: loopback()), try open(shim, at: loopback()))
            _ = try send([[1, 2, 3, 4, 5]], from: a, to: shim.localAddress(of: b), shim)
            let received = try receive(1, room: 2, from: b, shim)
            #expect(received.first?.bytes == [1, 2])
            #expect(received.first?.datagram.length == 5)
            #expect(received.first?.datagram.is_cut == true)
            shim.close(a, b)
        }
    }

    @Test func `what ICMP says comes with the peer's address, once`() throws {
        try withShim { shim in
            let flags = CE_DATAGRAM_ERRORS.rawValue
            let (a, b) = (
                try open(shim, at: loopback(), flags: flags), try open(shim, at: loopback())
            )
            var dead = try shim.localAddress(of: b)
            shim.close(b)
            _ = try send([[1]], from: a, to: dead, shim)
            var peer = ce_address()
            let error = try shim.retrying { () -> Int32 in
                let error = ce_datagram_error(shim.reactor, a, &peer)
                return error == 0 ? -EAGAIN : error
            }
            #expect(error == ECONNREFUSED)
            #expect(ce_address_port(&peer) == ce_address_port(&dead))
            #expect(ce_datagram_error(shim.reactor, a, &peer) == 0)
            shim.close(a)
        }
    }

    @Test func `autobind gives an abstract name`() throws {
        try withShim { shim in
            var options = ce_datagram_options()
            let fd = try check(ce_open_datagram(shim.reactor, AF_UNIX, &options, nil))
            _ = try check(ce_bind_datagram(shim.reactor, fd, nil))
            #expect(try unixName(shim.localAddress(of: fd)).isAbstract)
            shim.close(fd)
        }
    }

    @Test func `credentials are asked for on Unix sockets alone`() throws {
        try withShim { shim in
            for (family, expected) in [(AF_UNIX, 1), (AF_INET, 0)] as [(Int32, Int32)] {
                for flags in [0, CE_DATAGRAM_CREDENTIALS.rawValue] {
                    var options = ce_datagram_options()
                    options.flags = flags
                    let fd = try check(ce_open_datagram(shim.reactor, family, &options, nil))
                    var isOn: Int32 = 0
                    _ = ce_get_option(shim.reactor, fd, SOL_SOCKET, SO_PASSCRED, &isOn)
                    #expect(isOn == (flags == 0 ? 0 : expected))
                    shim.close(fd)
                }
            }
        }
    }

    @Test func `whichever call fails in opening, it is named, and nothing stays`() throws {
        try sweep { shim, call in
            var options = ce_datagram_options()
            options.flags = CE_DATAGRAM_REUSE_PORT.rawValue | CE_DATAGRAM_ERRORS.rawValue
            options.send_buffer_bytes = 100_000
            options.receive_buffer_bytes = 100_000
            return ce_open_datagram(shim.reactor, AF_INET6, &options, &call)
        }
    }

    @Test func `whichever call fails in binding to a path, no file stays`() throws {
        try withPlace { place in
            var untouched = false
            for n in 1...40 as ClosedRange<UInt64> where !untouched {
                try withShim { shim in
                    var options = ce_datagram_options()
                    let fd = try check(ce_open_datagram(shim.reactor, AF_UNIX, &options, nil))
                    var (address, file) = (place.address, ce_file_id())
                    cf_fail(shim.faults, CF_ANY, n, ENOBUFS, 1)
                    let result = ce_bind_datagram_unix(
                        shim.reactor, fd, &address, 0o600, &file, nil)
                    untouched = shim.counts(CF_ANY).injected == 0
                    cf_fail_none(shim.faults)
                    if result == 0 {
                        #expect(place.inode == file.inode)
                        #expect(ce_unlink_file(shim.reactor, &address, file) == 0)
                    } else {
                        #expect(result == -ENOBUFS, "call \(n)")
                    }
                    #expect(place.status == nil, "call \(n)")
                    shim.close(fd)
                }
            }
            #expect(untouched)
        }
    }

}
