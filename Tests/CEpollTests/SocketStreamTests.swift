// Bytes over connected sockets: gathered, shortened, interrupted, ended and reset.

import CEpoll
import CFaults
import Glibc
import Testing

@Suite struct SocketStreamTests {
    @Test func `pieces are gathered in order by one system call`() throws {
        try withShim { shim in
            let (client, server) = try shim.makePair()
            let parts: [[UInt8]] = [[1, 2, 3], [], [4], [5, 6]]
            try #expect(sendGathered(parts, shim, to: client) == 6)
            #expect(shim.counts(CF_SENDMSG).calls == 1)
            try #expect(shim.receiveAll(6, from: server) == [1, 2, 3, 4, 5, 6])
            shim.close(client, server)
        }
    }

    @Test func `no more than 1,024 pieces are sent at once`() throws {
        try withShim { shim in
            let (client, server) = try shim.makePair()
            let parts = (0..<1_500).map { [UInt8(truncatingIfNeeded: $0)] }
            try #expect(sendGathered(parts, shim, to: client) == CE_IOVECS_MAX)
            let expected = parts.prefix(CE_IOVECS_MAX).flatMap { $0 }
            try #expect(shim.receiveAll(CE_IOVECS_MAX, from: server) == expected)
            shim.close(client, server)
        }
    }

    @Test func `short writes report what was taken and lose nothing`() throws {
        try withShim { shim in
            let (client, server) = try shim.makePair()
            shim.setQuirks { $0.write_bytes_max = 7 }
            let bytes = (0..<100).map { UInt8($0) }
            try #expect(
                sendGathered([Array(bytes[..<5]), Array(bytes[5...])], shim, to: client) == 7)
            var sent = 7
            while sent < bytes.count {
                let count = try shim.send(Array(bytes[sent...]), to: client)
                #expect(count == min(7, bytes.count - sent))
                sent += count
            }
            try #expect(shim.receiveAll(100, from: server) == bytes)
            shim.close(client, server)
        }
    }

    @Test func `a receive takes no more than asked and says EAGAIN when there is nothing`() throws {
        try withShim { shim in
            let (client, server) = try shim.makePair()
            var byte: UInt8 = 0
            #expect(ce_receive(shim.reactor, server, &byte, 1) == Int(-EAGAIN))
            try #expect(shim.send([1, 2, 3], to: client) == 3)
            try #expect(shim.receive(from: server, upTo: 2) == [1, 2])
            try #expect(shim.receive(from: server, upTo: 2) == [3])
            shim.close(client, server)
        }
    }

    @Test func `a finished peer gives the end of the stream and still reads`() throws {
        try withShim { shim in
            let (client, server) = try shim.makePair()
            try #expect(shim.send([1], to: client) == 1)
            #expect(ce_finish(shim.reactor, client) == 0)
            try #expect(shim.receive(from: server) == [1])
            try #expect(shim.receive(from: server) == [])
            try #expect(shim.receive(from: server) == [])
            try #expect(shim.send([2], to: server) == 1)
            try #expect(shim.receive(from: client) == [2])
            shim.close(client, server)
        }
    }

    @Test func `a shutdown ends both directions`() throws {
        try withShim { shim in
            let (client, server) = try shim.makePair()
            #expect(ce_shutdown(shim.reactor, client) == 0)
            try #expect(shim.receive(from: client) == [])
            try #expect(shim.receive(from: server) == [])
            #expect(throws: Failure.self) { try shim.send([1], to: client) }
            shim.close(client, server)
        }
    }

    @Test func `a close with reset reaches the peer as ECONNRESET and drops what was unsent`()
        throws
    {
        try withShim { shim in
            let (client, server) = try shim.makePair()
            #expect(ce_close_reset(shim.reactor, client) == 0)
            var byte: UInt8 = 0
            let result = try #require(throws: Failure.self) {
                _ = try shim.retrying { ce_receive(shim.reactor, server, &byte, 1) }
            }
            #expect(result.errno == ECONNRESET)
            shim.close(server)
        }
    }

    /// SIGPIPE would end the process, so that this test runs to its end is half of the claim. A
    /// child that some other test is just starting may hold the closed end until it has become
    /// another program; until then the socket is full at worst.
    @Test(arguments: [true, false]) func `sending to a closed peer is EPIPE and no signal`(
        unix: Bool
    ) throws {
        try withShim { shim in
            let (client, server) = try shim.makePair(
                on: unix ? uniqueUnix(abstract: true) : loopback())
            #expect(ce_close_reset(shim.reactor, server) == 0)
            var last: Int32 = 0
            let deadline = ce_now(shim.reactor) + 10_000_000_000
            while last != EPIPE, ce_now(shim.reactor) < deadline {
                do { _ = try shim.send([1], to: client) } catch let error as Failure {
                    last = error.errno
                    sched_yield()
                }
            }
            #expect(last == EPIPE)
            shim.close(client)
        }
    }

    @Test func `unsent bytes are counted`() throws {
        try withShim { shim in
            let (client, server) = try shim.makePair()
            #expect(ce_unsent(shim.reactor, client) == 0)
            let bytes = [UInt8](repeating: 7, count: 65_536)
            // The peer reads nothing, so its window and then our buffer fill up.
            #expect(throws: Failure.self) {
                for _ in 0..<10_000 { _ = try shim.send(bytes, to: client) }
            }
            #expect(ce_unsent(shim.reactor, client) > 0)
            _ = ce_close_reset(shim.reactor, client)
            shim.close(server)
        }
    }

    @Test func `a Unix peer's credentials are ours`() throws {
        try withShim { shim in
            let (client, server) = try shim.makePair(on: uniqueUnix(abstract: true))
            var peer = ce_credentials()
            #expect(ce_peer_credentials(shim.reactor, server, &peer) == 0)
            #expect((peer.process, peer.user, peer.group) == (getpid(), geteuid(), getegid()))
            shim.close(client, server)
        }
    }

    @Test func `a received descriptor is close-on-exec`() throws {
        try withShim { shim in
            let (client, server) = try shim.makePair(on: uniqueUnix(abstract: true))
            try sendDescriptor(0, over: client)
            var byte: UInt8 = 0
            // A cmsghdr of 16 bytes and one descriptor, cmsg(3), aligned.
            let control = UnsafeMutableRawBufferPointer.allocate(byteCount: 24, alignment: 8)
            defer { control.deallocate() }
            let count = withUnsafeMutablePointer(to: &byte) { pointer in
                var piece = iovec(iov_base: UnsafeMutableRawPointer(pointer), iov_len: 1)
                return withUnsafeMutablePointer(to: &piece) { piece in
                    var message = msghdr()
                    (message.msg_iov, message.msg_iovlen) = (piece, 1)
                    (message.msg_control, message.msg_controllen) = (control.baseAddress, 24)
                    return ce_receive_message(shim.reactor, server, &message, 0)
                }
            }
            #expect(count == 1)
            let fd = control.load(fromByteOffset: 16, as: Int32.self)
            #expect(fcntl(fd, F_GETFD) & FD_CLOEXEC != 0)
            cf_adopt(shim.faults, fd)
            shim.close(fd, client, server)
        }
    }

    @Test func `options that do not exist are errors`() throws {
        try withShim { shim in
            let (client, server) = try shim.makePair()
            var value: Int32 = 0
            #expect(ce_set_option(shim.reactor, client, SOL_SOCKET, 9_999, 1) == -ENOPROTOOPT)
            #expect(ce_get_option(shim.reactor, client, SOL_SOCKET, 9_999, &value) == -ENOPROTOOPT)
            shim.close(client, server)
        }
    }

    @Test func `a descriptor that is none gives EBADF from every verb`() {
        var reactor: OpaquePointer?
        #expect(ce_reactor_create(&reactor, nil, nil) == 0)
        defer { ce_reactor_close(reactor) }
        var (byte, value, address, credentials) = (
            UInt8(0), Int32(0), ce_address(), ce_credentials()
        )
        var message = msghdr()
        let fd: Int32 = -1
        let results: [Int] = [
            Int(ce_add(reactor, fd, want.all, 1)), Int(ce_modify(reactor, fd, want.all, 1)),
            Int(ce_remove(reactor, fd)), Int(ce_accept(reactor, fd, &address)),
            ce_receive(reactor, fd, &byte, 1), ce_send(reactor, fd, nil, 0),
            ce_receive_message(reactor, fd, &message, 0), Int(ce_finish(reactor, fd)),
            Int(ce_shutdown(reactor, fd)), Int(ce_close(reactor, fd)),
            Int(ce_close_reset(reactor, fd)), Int(ce_socket_error(reactor, fd)),
            Int(ce_unsent(reactor, fd)), Int(ce_set_option(reactor, fd, 1, 1, 1)),
            Int(ce_get_option(reactor, fd, 1, 1, &value)),
            Int(ce_peer_credentials(reactor, fd, &credentials)),
            Int(ce_local_address(reactor, fd, &address)),
            Int(ce_remote_address(reactor, fd, &address)),
        ]
        #expect(results.allSatisfy { $0 == Int(-EBADF) }, "\(results)")
    }

    // MARK: Parts

    private func sendGathered(_ parts: [[UInt8]], _ shim: Shim, to fd: Int32) throws -> Int {
        let whole = UnsafeMutableBufferPointer<UInt8>.allocate(
            capacity: parts.reduce(0) { $0 + $1.count })
        defer { whole.deallocate() }
        _ = whole.initialize(from: parts.joined())
        var offset = 0
        let pieces = parts.map { part in
            defer { offset += part.count }
            return iovec(
                iov_base: UnsafeMutableRawPointer(whole.baseAddress! + offset), iov_len: part.count)
        }
        return try check(ce_send(shim.reactor, fd, pieces, pieces.count))
    }

    /// One byte and one descriptor, unix(7), SCM_RIGHTS. The reactor has no verb for it yet.
    private func sendDescriptor(_ passed: Int32, over fd: Int32) throws {
        let control = UnsafeMutableRawBufferPointer.allocate(byteCount: 24, alignment: 8)
        defer { control.deallocate() }
        control.initializeMemory(as: UInt8.self, repeating: 0)
        var header = cmsghdr()
        (header.cmsg_len, header.cmsg_level) = (20, SOL_SOCKET)
        header.cmsg_type = Int32(SCM_RIGHTS)
        control.storeBytes(of: header, as: cmsghdr.self)
        control.storeBytes(of: passed, toByteOffset: 16, as: Int32.self)
        var byte: UInt8 = 1
        let sent = withUnsafeMutablePointer(to: &byte) { pointer in
            var piece = iovec(iov_base: UnsafeMutableRawPointer(pointer), iov_len: 1)
            return withUnsafeMutablePointer(to: &piece) { piece in
                var message = msghdr()
                (message.msg_iov, message.msg_iovlen) = (piece, 1)
                (message.msg_control, message.msg_controllen) = (control.baseAddress, 24)
                return sendmsg(fd, &message, 0)
            }
        }
        if sent != 1 { throw Failure(errno: errno, call: "sendmsg") }
    }
}
