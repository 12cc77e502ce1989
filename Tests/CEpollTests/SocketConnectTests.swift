// Connecting: in progress, refused, from a chosen address, interrupted.

import CEpoll
import CFaults
import Glibc
import Testing

@Suite struct SocketConnectTests {
    @Test func `a connection in progress becomes writable and has no error`() throws {
        try withShim { shim in
            let listener = try shim.listen()
            var address = try shim.localAddress(of: listener)
            var inProgress = false
            let client = try check(
                ce_connect(shim.reactor, &address, nil, nil, &inProgress, nil))
            #expect(inProgress)
            try shim.add(client, want.all, token: 1)
            let event = try #require(try shim.waitForEvents().first)
            #expect(event.has(CE_OUT) && !event.has(CE_ERROR))
            #expect(ce_socket_error(shim.reactor, client) == 0)
            shim.close(client, listener)
        }
    }

    @Test func `a refused TCP connection tells by its socket error`() throws {
        try withShim { shim in
            let listener = try shim.listen()
            let address = try shim.localAddress(of: listener)
            shim.close(listener)
            let client = try shim.connect(to: address)
            try shim.add(client, want.all, token: 1)
            let event = try #require(try shim.waitForEvents().first)
            #expect(event.has(CE_ERROR))
            #expect(ce_socket_error(shim.reactor, client) == ECONNREFUSED)
            shim.close(client)
        }
    }

    @Test func `a Unix socket that does not exist refuses at once and names the call`() throws {
        try withShim { shim in
            var address = try uniqueUnix(abstract: true)
            var inProgress = true
            var call: UnsafePointer<CChar>?
            let result = ce_connect(shim.reactor, &address, nil, nil, &inProgress, &call)
            #expect(result == -ECONNREFUSED)
            #expect(call.map { String(cString: $0) } == "connect")
            #expect(!inProgress)
        }
    }

    @Test func `a full Unix backlog says EAGAIN`() throws {
        try withShim { shim in
            let address = try uniqueUnix(abstract: true)
            let listener = try shim.listen(on: address, backlog: 1)
            var clients: [Int32] = []
            #expect(throws: Failure.self) {
                for _ in 0..<8 { clients.append(try shim.connect(to: address)) }
            }
            var target = address
            var inProgress = false
            #expect(ce_connect(shim.reactor, &target, nil, nil, &inProgress, nil) == -EAGAIN)
            for client in clients { shim.close(client) }
            shim.close(listener)
        }
    }

    @Test func `the local address is the one asked for`() throws {
        try withShim { shim in
            let listener = try shim.listen()
            var remote = try shim.localAddress(of: listener)
            var local = ce_address()
            ce_address_v4(&local, [127, 0, 0, 3], 0)
            var inProgress = false
            let client = try check(
                ce_connect(shim.reactor, &remote, &local, nil, &inProgress, nil))
            let server = try shim.accept(from: listener)
            var value: Int32 = 0
            let (level, name) = (Int32(IPPROTO_IP), IP_BIND_ADDRESS_NO_PORT)
            #expect(ce_get_option(shim.reactor, client, level, name, &value) == 0)
            #expect(value == 1, "the port is chosen at connect, ip(7)")
            var peer = ce_address()
            #expect(ce_remote_address(shim.reactor, server, &peer) == 0)
            var octets = [UInt8](repeating: 0, count: 16)
            #expect(ce_address_octets(&peer, &octets) == 4)
            #expect(Array(octets.prefix(4)) == [127, 0, 0, 3])
            shim.close(client, server, listener)
        }
    }

    @Test func `a connecting socket gets the options asked for`() throws {
        try withShim { shim in
            let listener = try shim.listen()
            var address = try shim.localAddress(of: listener)
            var options = ce_socket_options()
            options.flags = CE_NO_DELAY.rawValue | CE_KEEP_ALIVE.rawValue
            options.keep_alive_idle_seconds = 61
            options.keep_alive_interval_seconds = 16
            options.keep_alive_count = 5
            options.user_timeout_milliseconds = 31_000
            var inProgress = false
            let client = try check(
                ce_connect(shim.reactor, &address, nil, &options, &inProgress, nil))
            let tcp = Int32(IPPROTO_TCP)
            let expected = [
                (tcp, TCP_NODELAY, 1), (SOL_SOCKET, SO_KEEPALIVE, 1), (tcp, TCP_KEEPIDLE, 61),
                (tcp, TCP_KEEPINTVL, 16), (tcp, TCP_KEEPCNT, 5), (tcp, TCP_USER_TIMEOUT, 31_000),
            ]
            for (level, name, wanted) in expected {
                var value: Int32 = 0
                #expect(ce_get_option(shim.reactor, client, level, name, &value) == 0)
                #expect(Int(value) == wanted, "option \(level)/\(name)")
            }
            shim.close(client, listener)
        }
    }

    @Test func `an interrupted connect is in progress and succeeds`() throws {
        try withShim { shim in
            let listener = try shim.listen()
            var address = try shim.localAddress(of: listener)
            cf_fail(shim.faults, CF_CONNECT, 1, EINTR, 1)
            var inProgress = false
            let client = try check(
                ce_connect(shim.reactor, &address, nil, nil, &inProgress, nil))
            #expect(inProgress)
            #expect(shim.counts(CF_CONNECT).calls == 1)
            try shim.add(client, want.out, token: 1)
            try #expect(shim.waitForEvents() == [Event(token: 1, ready: CE_OUT.rawValue)])
            #expect(ce_socket_error(shim.reactor, client) == 0)
            shim.close(client, listener)
        }
    }

    @Test func `each call of ce_connect may fail and nothing stays open`() throws {
        try withShim { other in
            let listener = try other.listen()
            let target = try other.localAddress(of: listener)
            try sweep { shim, call in
                var (remote, local) = (target, loopback())
                var options = ce_socket_options()
                options.flags = CE_NO_DELAY.rawValue
                var inProgress = false
                return ce_connect(shim.reactor, &remote, &local, &options, &inProgress, &call)
            }
            other.close(listener)
        }
    }
}
