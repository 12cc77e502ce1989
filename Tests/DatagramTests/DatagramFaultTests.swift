// Datagram sockets over a call table that fails: each plausible errno of recvmmsg and sendmmsg is
// told once, nothing hangs, nothing is reported as sent that was not, and the socket lives on.

import Glibc
import Sluice
import SluiceTestKit
import Testing

@Suite struct DatagramFaultTests {
    @Test(arguments: [ENOMEM, ENOBUFS, EINVAL])
    func `a receive the system refuses says so, and the next one receives`(
        _ errno: Int32
    ) async throws {
        let faults = FaultTable()
        try await withDatagrams(faults: faults) { server, client in
            try await client.send([1])
            try await client.flush()
            faults.fail(CF_RECVMMSG, with: errno)
            await #expect(
                throws: StreamError.system(SystemError(call: "recvmmsg", errno: errno))
            ) { try await server.receive() }
            #expect(try await server.receive().bytes == [1])
        }
    }

    @Test(arguments: [ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, ECONNRESET])
    func `a network error in a receive is told as the peer's`(_ errno: Int32) async throws {
        let faults = FaultTable()
        try await withDatagrams(faults: faults) { server, client in
            try await server.send([1], to: client.localAddress)
            try await server.flush()
            faults.fail(CF_RECVMMSG, with: errno)
            await #expect(throws: StreamError.peerFailed(server.localAddress, errno: errno)) {
                try await client.receive()
            }
            #expect(try await client.receive().bytes == [1])
        }
    }

    @Test(arguments: [EINTR, EAGAIN])
    func `what passes by itself nobody hears of`(_ errno: Int32) async throws {
        let faults = FaultTable()
        try await withDatagrams(faults: faults) { server, client in
            for call in [CF_RECVMMSG, CF_SENDMMSG] {
                faults.fail(call, with: errno)
                try await client.send([1])
                #expect(try await server.receive().bytes == [1])
            }
        }
    }

    // The kernel may have said what an older datagram met: so one refusal loses nothing.
    @Test(arguments: [ECONNREFUSED, EPERM, ENOBUFS, EHOSTUNREACH, ENOMEM])
    func `a refused send is tried once more, and told`(_ errno: Int32) async throws {
        let faults = FaultTable()
        try await withDatagrams(faults: faults) { server, client in
            faults.fail(CF_SENDMMSG, with: errno)
            try await client.send([1])
            try await client.flush()
            #expect(try await server.receive().bytes == [1])
            await #expect(throws: StreamError.peerFailed(server.localAddress, errno: errno)) {
                try await client.send([2])
            }
            try await client.send([3])
            #expect(try await server.receive().bytes == [3])
            #expect(await client.statistics().notSent == 0)
        }
    }

    // ENDPOINTS 64: more news of the dead than is fetched at once.
    @Test(arguments: DatagramKind.internet)
    func `what ICMP says of many peers costs no other peer its datagram`(
        _ kind: DatagramKind
    ) async throws {
        try await withDatagrams(kind) { server, client in
            var dead: Set<SocketAddress> = []
            for _ in 0..<100 { dead.insert(try await deadAddress(kind)) }
            dead.remove(client.localAddress)
            for address in dead { try server.write([0], to: address) }
            try await server.flush()
            try server.write([1], to: client.localAddress)
            try await server.flush()
            #expect(await server.statistics().notSent == 0)
            #expect(try await client.receive().bytes == [1])
            try server.write([2], to: client.localAddress)
            #expect(try await client.receive().bytes == [2])
        }
    }

    @Test(arguments: [EPERM, ENOBUFS, EHOSTUNREACH, EMSGSIZE])
    func `a datagram refused twice is given up, and told; those behind it leave`(
        _ errno: Int32
    ) async throws {
        let faults = FaultTable()
        try await withDatagrams(faults: faults) { server, client in
            faults.fail(CF_SENDMMSG, with: errno, times: 2)
            for content in [[1], [2, 2], [3, 3, 3]] as [[UInt8]] {
                try server.write(content, to: client.localAddress)
            }
            try await server.flush()
            #expect(try await client.receive().bytes == [2, 2])
            #expect(try await client.receive().bytes == [3, 3, 3])
            await #expect(throws: StreamError.peerFailed(client.localAddress, errno: errno)) {
                try await server.receive()
            }
            #expect(await server.statistics().notSent == 1)
            #expect(await server.statistics().sent == 2)
        }
    }

    // Batches cut to one datagram, EAGAIN before each success, interruptions: the same result.
    @Test(arguments: DatagramKind.here)
    func `whatever the kernel may do, all comes in order`(_ kind: DatagramKind) async throws {
        let faults = FaultTable()
        try await withDatagrams(kind, faults: faults) { server, client in
            for round in 1...3 as ClosedRange<UInt64> {
                var quirks = cf_quirks()
                quirks.seed = round
                quirks.would_block_odds = 300
                quirks.interrupt_odds = 100
                quirks.short_read_odds = 500
                quirks.short_write_odds = 500
                if round == 3 { (quirks.read_bytes_max, quirks.write_bytes_max) = (1, 1) }
                faults.set(quirks)
                let sending = await started {
                    for number in 0..<200 as Range<UInt8> { try await client.send([number]) }
                }
                for number in 0..<200 as Range<UInt8> {
                    #expect(try await server.receive().bytes == [number])
                }
                try await sending.value
            }
            faults.set(cf_quirks())
        }
    }

    @Test(
        arguments: [
            (CF_SOCKET, EMFILE, "socket"), (CF_SETSOCKOPT, ENOBUFS, "setsockopt"),
            (CF_BIND, EADDRINUSE, "bind"), (CF_FCHMOD, EPERM, "fchmod"),
            (CF_FLOCK, ENOLCK, "flock"),
            (CF_FCHMODAT, EPERM, "fchmodat"),
        ] as [(cf_call, Int32, String)])
    func `a socket that cannot be had leaves nothing`(
        _ call: cf_call, _ errno: Int32, _ name: String
    ) async throws {
        let faults = FaultTable()
        try await withLoop(faults: faults) { _ in
            let path = "/tmp/sluice-\(UInt64.random(in: 0 ... .max)).sock"
            var options = DatagramOptions()
            options.sendBuffer = 100_000
            faults.fail(call, with: errno)
            do throws(StreamError) {
                _ = try await bindDatagramSocket(.unix(path: path), options: options)
                Issue.record("it was bound")
            } catch {
                guard case .listenFailed(_, let failure) = error else { throw error }
                #expect(failure == SystemError(call: name, errno: errno))
            }
            #expect(access(path, F_OK) != 0)
        }
    }

    @Test func `a socket the loop cannot watch is closed`() async throws {
        let faults = FaultTable()
        try await withLoop(faults: faults) { _ in
            faults.fail(CF_EPOLL_CTL, with: ENOSPC)
            let failure = SystemError(call: "epoll_ctl", errno: ENOSPC)
            await #expect(throws: StreamError.system(failure)) {
                try await bindDatagramSocket(port: 0)
            }
        }
    }
}
