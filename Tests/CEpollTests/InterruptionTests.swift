// EINTR ends on floor 0.

import CEpoll
import CFaults
import Glibc
import Testing

private let second: Int64 = 1_000_000_000

@Suite struct InterruptionTests {
    /// Each kind of call says EINTR first, every other time.
    @Test func `no verb lets an interruption out`() throws {
        let faults = try #require(cf_create())
        defer { cf_free(faults) }
        var quirks = cf_quirks()
        quirks.interrupt_odds = 1_000
        cf_set_quirks(faults, &quirks)
        var table = cf_table(faults)
        var reactor: OpaquePointer?
        #expect(ce_reactor_create(&reactor, &table, nil) == 0)
        try useEveryVerb(try #require(reactor), faults)
        ce_reactor_close(reactor)

        let exempt = [CF_CLOCK.rawValue, CF_CLOCK_COARSE.rawValue]
        for call in 0..<UInt32(CF_CALLS.rawValue) where !exempt.contains(call) {
            let counts = cf_counts(faults, cf_call(call))
            let name = String(cString: cf_name(cf_call(call)))
            #expect(counts.interrupted > 0, "\(name) was not interrupted")
        }
        #expect(cf_ledger(faults).open == 0)
        #expect(cf_ledger(faults).double_closes == 0)
    }

    private func useEveryVerb(_ reactor: OpaquePointer, _ faults: OpaquePointer) throws {
        var (address, options, inProgress) = (loopback(), ce_listen_options(), false)
        options.backlog = 4
        let listener = try check(ce_listen(reactor, &address, &options, nil))
        #expect(ce_local_address(reactor, listener, &address) == 0)
        #expect(ce_add(reactor, listener, want.in, 1) == 0)
        #expect(ce_modify(reactor, listener, want.in, 2) == 0)
        var local = loopback()
        let client = try check(ce_connect(reactor, &address, &local, nil, &inProgress, nil))
        var event = ce_event()
        // The first wait is the interrupted one.
        #expect(ce_wait(reactor, &event, 1, second * 5) == 0)
        #expect(ce_wait(reactor, &event, 1, second * 5) == 1)
        let server = try check(ce_accept(reactor, listener, &address))
        #expect(ce_remove(reactor, listener) == 0)
        wakeAndWait(reactor, faults)
        talk(reactor, from: client, to: server)
        try takePath(reactor, faults)
        try exchangeDatagram(reactor)
        useOthersDescriptors(reactor, faults)
        try withSignals { watchSignal(reactor) }
        #expect(ce_close(reactor, client) == 0)
        #expect(ce_close_reset(reactor, server) == 0)
        #expect(ce_close(reactor, listener) == 0)
    }

    private func wakeAndWait(_ reactor: OpaquePointer, _ faults: OpaquePointer) {
        var event = ce_event()
        #expect(ce_wait(reactor, &event, 1, 1_001) == 0)
        #expect(ce_wake(reactor) == 0)
        // Interrupted, then woken.
        #expect(ce_wait(reactor, &event, 1, second * 5) == 0)
        #expect(ce_wait(reactor, &event, 1, second * 5) == 0)
        // The write after the interrupted one finds the counter full, which leads to a read.
        cf_fail(faults, CF_WRITE, 2, EAGAIN, 1)
        #expect(ce_wake(reactor) == 0)
        #expect(ce_timer_open(reactor, nil) == 0)
        #expect(ce_timer_set(reactor, .max) == 0)
    }

    private func talk(_ reactor: OpaquePointer, from client: Int32, to server: Int32) {
        var (byte, value, peer) = (UInt8(5), Int32(0), ce_credentials())
        var address = ce_address()
        #expect(ce_remote_address(reactor, client, &address) == 0)
        let sent = withUnsafeMutableBytes(of: &byte) { buffer in
            var piece = iovec(iov_base: buffer.baseAddress, iov_len: 1)
            return ce_send(reactor, client, &piece, 1)
        }
        #expect(sent == 1)
        #expect(ce_unsent(reactor, client) >= 0)
        #expect(ce_receive(reactor, server, &byte, 1) == 1)
        var message = msghdr()
        #expect(ce_receive_message(reactor, server, &message, Int32(MSG_PEEK)) == Int(-EAGAIN))
        #expect(ce_get_option(reactor, server, SOL_SOCKET, SO_KEEPALIVE, &value) == 0)
        #expect(ce_set_option(reactor, server, SOL_SOCKET, SO_KEEPALIVE, 1) == 0)
        #expect(ce_socket_error(reactor, server) == 0)
        #expect(ce_peer_credentials(reactor, server, &peer) == 0)
        #expect(ce_finish(reactor, client) == 0)
        #expect(ce_shutdown(reactor, server) == 0)
    }

    /// Three times: a free path, a stale file, and waiting for the directory's lock.
    private func takePath(_ reactor: OpaquePointer, _ faults: OpaquePointer) throws {
        try withPlace { place in
            var (address, options, file) = (place.address, ce_listen_options(), ce_file_id())
            options.backlog = 1
            for _ in 0..<3 {
                let listener = try check(
                    ce_listen_unix(reactor, &address, &options, 0o600, &file, nil))
                #expect(ce_close(reactor, listener) == 0)
                // The one after the interrupted one.
                cf_fail(faults, CF_FLOCK, 2, EAGAIN, 1)
            }
            #expect(ce_unlink_file(reactor, &address, file) == 0)
            #expect(place.inode == nil)
        }
    }

    private func exchangeDatagram(_ reactor: OpaquePointer) throws {
        try withPlace { place in
            var (address, options, file) = (place.address, ce_datagram_options(), ce_file_id())
            let server = try check(ce_open_datagram(reactor, AF_UNIX, &options, nil))
            let client = try check(ce_open_datagram(reactor, AF_UNIX, &options, nil))
            #expect(ce_bind_datagram_unix(reactor, server, &address, 0o600, &file, nil) == 0)
            #expect(ce_connect_datagram(reactor, client, &address) == 0)
            var byte = UInt8(5)
            withUnsafeMutableBytes(of: &byte) { buffer in
                var piece = ce_piece(start: buffer.baseAddress, count: 1)
                withUnsafePointer(to: &piece) { piece in
                    var datagram = ce_datagram()
                    datagram.pieces = piece
                    datagram.pieces_count = 1
                    #expect(ce_send_datagrams(reactor, client, &datagram, 1) == 1)
                    #expect(ce_receive_datagrams(reactor, server, &datagram, 1, false) == 1)
                    #expect(datagram.length == 1)
                }
            }
            #expect(ce_unlink_file(reactor, &address, file) == 0)
            for fd in [server, client] { #expect(ce_close(reactor, fd) == 0) }
        }
    }

    private func useOthersDescriptors(_ reactor: OpaquePointer, _ faults: OpaquePointer) {
        var ends: [Int32] = [-1, -1]
        #expect(pipe(&ends) == 0)
        for end in ends {
            #expect(ce_adopt(reactor, end) == 0)
            cf_adopt(faults, end)
        }
        var byte = UInt8(5)
        let written = withUnsafeMutableBytes(of: &byte) { buffer in
            var piece = iovec(iov_base: buffer.baseAddress, iov_len: 1)
            return ce_write(reactor, ends[1], &piece, 1)
        }
        #expect(written == 1)
        #expect(ce_read(reactor, ends[0], &byte, 1) == 1)
        for end in ends { #expect(ce_close(reactor, end) == 0) }
    }

    private func watchSignal(_ reactor: OpaquePointer) {
        let watch = ce_signal_open(reactor, 63)
        #expect(watch >= 0)
        raise(63)
        #expect(ce_signal_read(reactor, watch) == 1)
        #expect(ce_signal_close(reactor, 63, watch) == 0)
    }
}
