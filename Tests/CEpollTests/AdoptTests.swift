// Descriptors from elsewhere: adopted, and recognised as listening or connected sockets.

import CEpoll
import CFaults
import Glibc
import Testing

@Suite struct AdoptTests {
    @Test func `an adopted descriptor is close-on-exec and nonblocking`() throws {
        try withShim { shim in
            let (client, server) = try rawPair()
            #expect(ce_adopt(shim.reactor, client) == 0)
            #expect(isAdopted(client))
            #expect(!isAdopted(server))
            var byte: UInt8 = 0
            #expect(ce_read(shim.reactor, client, &byte, 1) == Int(-EAGAIN))
            closeAll(client, server)
        }
    }

    @Test func `other flags stay and nothing is set twice`() throws {
        try withShim { shim in
            let (client, server) = try rawPair()
            _ = fcntl(client, F_SETFL, O_APPEND)
            #expect(ce_adopt(shim.reactor, client) == 0)
            #expect(fcntl(client, F_GETFL) & O_APPEND != 0)
            #expect(shim.counts(CF_FCNTL).calls == 4)
            #expect(ce_adopt(shim.reactor, client) == 0)
            #expect(shim.counts(CF_FCNTL).calls == 6, "two looks")
            closeAll(client, server)
        }
    }

    @Test func `each call of ce_adopt may fail`() throws {
        try withShim { shim in
            let (client, server) = try rawPair()
            for n in 1...4 as ClosedRange<UInt64> {
                cf_fail(shim.faults, CF_FCNTL, n, EPERM, 1)
                #expect(ce_adopt(shim.reactor, client) == -EPERM && !isAdopted(client))
                _ = (fcntl(client, F_SETFL, 0), fcntl(client, F_SETFD, 0))
            }
            cf_fail_none(shim.faults)
            closeAll(client, server)
        }
    }

    /// The number is near the limit, where no parallel test comes.
    @Test func `the ledger takes an adopted number for opened again`() throws {
        try withShim { shim in
            var limit = rlimit()
            getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
            let number = Int32(clamping: limit.rlim_cur) - 20
            for _ in 0..<2 {
                try #require(fcntl(0, F_DUPFD, number) == number)
                #expect(ce_adopt(shim.reactor, number) == 0)
                shim.close(number)
            }
        }
    }

    // MARK: Listening

    @Test func `a listening socket is recognised, adopted and has its address`() throws {
        try withShim { shim in
            for address in [loopback(), try uniqueUnix(abstract: true)] {
                let listener = try shim.listen(on: address)
                _ = (fcntl(listener, F_SETFL, 0), fcntl(listener, F_SETFD, 0))
                var (local, expected) = (ce_address(), try shim.localAddress(of: listener))
                #expect(ce_listening(shim.reactor, listener, &local) == 0)
                #expect(isAdopted(listener))
                #expect(local.length == expected.length)
                #expect(ce_address_port(&local) == ce_address_port(&expected))
                #expect(unixName(local) == unixName(expected))
                shim.close(listener)
            }
        }
    }

    @Test func `what does not listen is refused and left as it was`() throws {
        try withShim { shim in
            let (client, server) = try rawPair()
            let datagram = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
            let file = open("/dev/null", O_RDWR)
            var address = ce_address()
            #expect(ce_listening(shim.reactor, client, &address) == -EINVAL)
            #expect(ce_listening(shim.reactor, datagram, &address) == -EINVAL)
            #expect(ce_listening(shim.reactor, file, &address) == -ENOTSOCK)
            for fd in [client, datagram, file] { #expect(!isAdopted(fd)) }
            #expect(shim.counts(CF_FCNTL).calls == 0)
            closeAll(client, server, datagram, file)
        }
    }

    // MARK: Connected

    @Test func `a connected socket is recognised, adopted and has both addresses`() throws {
        try withShim { shim in
            let (client, server) = try shim.makePair()
            _ = (fcntl(client, F_SETFL, 0), fcntl(client, F_SETFD, 0))
            var (local, remote) = (ce_address(), ce_address())
            #expect(ce_connected(shim.reactor, client, &local, &remote) == 0)
            #expect(isAdopted(client))
            var (near, far) = (
                try shim.localAddress(of: client), try shim.localAddress(of: server)
            )
            #expect(ce_address_port(&local) == ce_address_port(&near))
            #expect(ce_address_port(&remote) == ce_address_port(&far))
            shim.close(client, server)
        }
    }

    @Test func `an end of a socketpair is connected and has no name`() throws {
        try withShim { shim in
            let (client, server) = try rawPair()
            var (local, remote) = (ce_address(), ce_address())
            #expect(ce_connected(shim.reactor, client, &local, &remote) == 0)
            #expect(isAdopted(client))
            for address in [local, remote] {
                var address = address
                #expect(ce_address_family(&address) == AF_UNIX)
                #expect(unixName(address).bytes.isEmpty)
            }
            try #expect(shim.send([1], to: client) == 1)
            closeAll(client, server)
        }
    }

    @Test func `what is not connected is refused and left as it was`() throws {
        try withShim { shim in
            let listener = try shim.listen()
            let fresh = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            let datagram = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
            let file = open("/dev/null", O_RDWR)
            var (local, remote) = (ce_address(), ce_address())
            #expect(ce_connected(shim.reactor, listener, &local, &remote) == -ENOTCONN)
            #expect(ce_connected(shim.reactor, fresh, &local, &remote) == -ENOTCONN)
            #expect(ce_connected(shim.reactor, datagram, &local, &remote) == -EINVAL)
            #expect(ce_connected(shim.reactor, file, &local, &remote) == -ENOTSOCK)
            for fd in [fresh, datagram, file] { #expect(!isAdopted(fd)) }
            shim.close(listener)
            closeAll(fresh, datagram, file)
        }
    }

    @Test func `each call of ce_listening and ce_connected may fail`() throws {
        try withShim { shim in
            let listener = try shim.listen()
            let (client, server) = try shim.makePair()
            var (local, remote) = (ce_address(), ce_address())
            // Type, listening, address and two looks; type, two addresses and two looks.
            for n in 1...5 as ClosedRange<UInt64> {
                cf_fail(shim.faults, CF_ANY, n, ENOBUFS, 1)
                #expect(ce_listening(shim.reactor, listener, &local) == -ENOBUFS)
                cf_fail(shim.faults, CF_ANY, n, ENOBUFS, 1)
                #expect(ce_connected(shim.reactor, client, &local, &remote) == -ENOBUFS)
            }
            #expect(ce_listening(shim.reactor, listener, &local) == 0)
            #expect(ce_connected(shim.reactor, client, &local, &remote) == 0)
            shim.close(listener, client, server)
        }
    }
}

/// Two connected ends, blocking and inherited by an exec.
private func rawPair() throws -> (Int32, Int32) {
    var ends: [Int32] = [-1, -1]
    try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
    return (ends[0], ends[1])
}

private func closeAll(_ fds: Int32...) {
    for fd in fds { Glibc.close(fd) }
}

private func isAdopted(_ fd: Int32) -> Bool {
    fcntl(fd, F_GETFD) & FD_CLOEXEC != 0 && fcntl(fd, F_GETFL) & O_NONBLOCK != 0
}
