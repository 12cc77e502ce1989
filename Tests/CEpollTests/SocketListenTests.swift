// Listening and accepting: TCP over both families, and Unix sockets.

import CEpoll
import CFaults
import Glibc
import Testing

@Suite struct SocketListenTests {
    @Test func `port 0 becomes a port one can connect to`() throws {
        try withShim { shim in
            let listener = try shim.listen()
            var address = try shim.localAddress(of: listener)
            #expect(ce_address_family(&address) == AF_INET)
            #expect(ce_address_port(&address) != 0)
            let client = try shim.connect(to: address)
            let server = try shim.accept(from: listener)
            shim.close(client, server, listener)
        }
    }

    @Test(.enabled(if: hasIPv6)) func `one port serves both families by two listeners`() throws {
        try withShim { shim in
            let six = try shim.listen(on: loopback6())
            var address = try shim.localAddress(of: six)
            var any = ce_address()
            ce_address_v6(&any, [UInt8](repeating: 0, count: 16), ce_address_port(&address), 0)
            shim.close(six)
            // All addresses of both families: without IPV6_V6ONLY the second would be refused.
            let all6 = try shim.listen(on: any)
            var all4 = ce_address()
            ce_address_v4(&all4, [0, 0, 0, 0], ce_address_port(&any))
            let listener4 = try shim.listen(on: all4)
            shim.close(all6, listener4)
        }
    }

    @Test(.enabled(if: hasIPv6)) func `an IPv6 listener accepts and names its peer`() throws {
        try withShim { shim in
            let listener = try shim.listen(on: loopback6())
            let client = try shim.connect(to: shim.localAddress(of: listener))
            var peer = ce_address()
            let server = try shim.retrying { ce_accept(shim.reactor, listener, &peer) }
            var local = try shim.localAddress(of: client)
            #expect(ce_address_family(&peer) == AF_INET6)
            #expect(ce_address_port(&peer) == ce_address_port(&local))
            shim.close(client, server, listener)
        }
    }

    @Test(arguments: [true, false]) func `a Unix listener has the name it was given`(
        abstract: Bool
    ) throws {
        try withShim { shim in
            let address = try uniqueUnix(abstract: abstract)
            let listener = try shim.listen(on: address)
            defer {
                if !abstract { unlink(String(decoding: unixName(address).bytes, as: UTF8.self)) }
            }
            let name = unixName(try shim.localAddress(of: listener))
            #expect(name == unixName(address))
            #expect(name.isAbstract == abstract)
            let client = try shim.connect(to: address)
            let server = try shim.accept(from: listener)
            var remote = ce_address()
            #expect(ce_remote_address(shim.reactor, client, &remote) == 0)
            #expect(unixName(remote) == name)
            shim.close(client, server, listener)
        }
    }

    @Test func `accepted sockets inherit what was set on the listener`() throws {
        try withShim { shim in
            var address = loopback()
            var options = ce_listen_options()
            options.backlog = 4
            options.socket.flags = CE_NO_DELAY.rawValue | CE_KEEP_ALIVE.rawValue
            options.socket.keep_alive_idle_seconds = 60
            options.socket.keep_alive_interval_seconds = 15
            options.socket.keep_alive_count = 4
            options.socket.user_timeout_milliseconds = 30_000
            options.socket.receive_buffer_bytes = 20_000
            options.socket.send_buffer_bytes = 30_000
            let listener = try check(ce_listen(shim.reactor, &address, &options, nil))
            let client = try shim.connect(to: shim.localAddress(of: listener))
            let server = try shim.accept(from: listener)
            let tcp = Int32(IPPROTO_TCP)
            let wanted: [(level: Int32, name: Int32, value: Int32)] = [
                (tcp, TCP_NODELAY, 1), (SOL_SOCKET, SO_KEEPALIVE, 1), (tcp, TCP_KEEPIDLE, 60),
                (tcp, TCP_KEEPINTVL, 15), (tcp, TCP_KEEPCNT, 4), (tcp, TCP_USER_TIMEOUT, 30_000),
                // socket(7): the kernel doubles both.
                (SOL_SOCKET, SO_RCVBUF, 40_000), (SOL_SOCKET, SO_SNDBUF, 60_000),
            ]
            for (level, name, value) in wanted {
                var found: Int32 = -1
                #expect(ce_get_option(shim.reactor, server, level, name, &found) == 0)
                #expect(found == value, "option \(name)")
            }
            shim.close(client, server, listener)
        }
    }

    @Test func `a Unix listener is given no TCP option`() throws {
        try withShim { shim in
            let everything =
                CE_NO_DELAY.rawValue | CE_KEEP_ALIVE.rawValue | CE_REUSE_PORT.rawValue
            let listener = try shim.listen(on: uniqueUnix(abstract: true), flags: everything)
            #expect(shim.counts(CF_SETSOCKOPT).calls == 0)
            shim.close(listener)
        }
    }

    @Test func `a taken port is refused by bind unless both ask to share it`() throws {
        try withShim { shim in
            let shared = CE_REUSE_PORT.rawValue
            let first = try shim.listen(flags: shared)
            var address = try shim.localAddress(of: first)
            let second = try shim.listen(on: address, flags: shared)
            var options = ce_listen_options()
            options.backlog = 1
            var call: UnsafePointer<CChar>?
            #expect(ce_listen(shim.reactor, &address, &options, &call) == -EADDRINUSE)
            #expect(call.map { String(cString: $0) } == "bind")
            shim.close(first, second)
        }
    }

    @Test func `a TCP listener may take over an address that still lingers`() throws {
        try withShim { shim in
            let listener = try shim.listen()
            var value: Int32 = 0
            #expect(ce_get_option(shim.reactor, listener, SOL_SOCKET, SO_REUSEADDR, &value) == 0)
            #expect(value == 1)
            shim.close(listener)
        }
    }

    @Test func `accepting from an empty queue says EAGAIN`() throws {
        try withShim { shim in
            let listener = try shim.listen()
            #expect(ce_accept(shim.reactor, listener, nil) == -EAGAIN)
            shim.close(listener)
        }
    }

    @Test(arguments: [EMFILE, ECONNABORTED, EPROTO, ENOBUFS]) func `an accept error is returned`(
        error: Int32
    ) throws {
        try withShim { shim in
            let listener = try shim.listen()
            let client = try shim.connect(to: shim.localAddress(of: listener))
            cf_fail(shim.faults, CF_ACCEPT4, 1, error, 1)
            #expect(ce_accept(shim.reactor, listener, nil) == -error)
            shim.close(try shim.accept(from: listener), client, listener)
        }
    }

    @Test func `each call of ce_listen may fail and nothing stays open`() throws {
        let everything = CE_NO_DELAY.rawValue | CE_KEEP_ALIVE.rawValue | CE_REUSE_PORT.rawValue
        try sweep { shim, call in
            var address = hasIPv6 ? loopback6() : loopback()
            var options = ce_listen_options()
            options.backlog = 4
            options.socket.flags = everything
            options.socket.keep_alive_idle_seconds = 60
            options.socket.keep_alive_interval_seconds = 15
            options.socket.keep_alive_count = 4
            options.socket.user_timeout_milliseconds = 1_000
            (options.socket.receive_buffer_bytes, options.socket.send_buffer_bytes) = (4_096, 4_096)
            return ce_listen(shim.reactor, &address, &options, &call)
        }
    }
}
