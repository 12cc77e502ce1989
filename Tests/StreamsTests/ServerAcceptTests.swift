// What accept4(2) may say, each errno through the call table, and what the server makes of it.

import Glibc
import Sluice
import SluiceTestKit
import Testing

@Suite struct ServerAcceptTests {
    /// The connection died in the backlog, or a firewall forbade it; the injected error takes
    /// nobody out of the backlog, so the client that waits there is served next.
    @Test(arguments: [
        ECONNABORTED, EPROTO, EPERM, ENETDOWN, ENOPROTOOPT, EHOSTDOWN, ENONET, EHOSTUNREACH,
        EOPNOTSUPP, ENETUNREACH, ETIMEDOUT, EINTR, EAGAIN,
    ])
    func `an errno that concerns one connection is passed over`(errno: Int32) async throws {
        let faults = FaultTable()
        let reports = Shared<[Report]>([])
        try await withEchoServer(faults: faults, reports: reports) { server in
            for round in 0..<3 {
                faults.fail(CF_ACCEPT4, with: errno, times: 3)
                let client = try await server.connect()
                try await client.echo("round \(round)")
                await client.writer.close()
            }
            #expect(await server.statistics().accepted == 3)
            #expect(await server.statistics().acceptPauses == 0)
        }
        #expect(reports.value.isEmpty)
    }

    /// On virtual time, so that a second is over at once and its accept calls can be counted. The
    /// client lives on another loop, where time is real.
    @Test(arguments: [EMFILE, ENFILE, ENOBUFS, ENOMEM])
    func `B40: without descriptors or memory accepting rests, is reported, and recovers`(
        errno: Int32
    ) async throws {
        let faults = FaultTable()
        let reports = Shared<[Report]>([])
        try await withEchoServer(faults: faults, isVirtual: true, reports: reports) { server in
            faults.fail(CF_ACCEPT4, with: errno, times: .max)
            let client = try await EventLoop.background.spawn {
                let client = try await server.connect()
                try await client.writer.send("hello\n")
                return client
            }.value
            let pauses = await server.statistics().acceptPauses
            faults.resetCounts()
            try await sleep(for: .seconds(10))
            #expect((90...101).contains(faults.calls(CF_ACCEPT4)), "\(faults)")
            // Rest and resume: two changes of the registration each.
            #expect(faults.calls(CF_EPOLL_CTL) <= 202)
            let paused = await server.statistics().acceptPauses
            #expect(paused - pauses == faults.calls(CF_ACCEPT4))
            #expect(reports.value.count == paused)

            faults.failNone()
            let before = server.loop.now()
            try await waitUntil { await server.statistics().accepted == 1 }
            #expect(server.loop.now() - before <= 102_000_000)
            let answer = EventLoop.background.spawn { try await client.reader.readLine() }
            #expect(try await answer.value == bytes("hello\n"))
            await client.writer.close()
        }
        let report = try #require(reports.value.first)
        #expect(report.kind == .acceptPaused)
        #expect(report.error as? SystemError == SystemError(call: "accept4", errno: errno))
        #expect(report.message.contains("127.0.0.1:"))
    }

    @Test func `B40: connections go on while accepting rests`() async throws {
        let faults = FaultTable()
        try await withEchoServer(faults: faults) { server in
            let first = try await server.connect()
            try await first.echo("before")
            faults.fail(CF_ACCEPT4, with: EMFILE, times: .max)
            let second = try await server.connect()
            for round in 0..<20 { try await first.echo("meanwhile \(round)") }
            #expect(await server.statistics().accepted == 1)
            faults.failNone()
            try await second.echo("after")
            await first.writer.close()
            await second.writer.close()
        }
    }

    @Test func `closing a server whose accepting rests leaves nothing`() async throws {
        let faults = FaultTable()
        try await withEchoServer(faults: faults) { server in
            faults.fail(CF_ACCEPT4, with: ENFILE, times: .max)
            let client = try await server.connect()
            try await waitUntil { await server.statistics().acceptPauses > 0 }
            await server.close()
            try await server.waitClosed()
            await client.writer.abort()
        }
    }

    @Test(arguments: [EINVAL, ENOTSOCK, EFAULT, EIO])
    func `an errno that says the listener is broken fails the server, not its connections`(
        errno: Int32
    ) async throws {
        let faults = FaultTable()
        let reports = Shared<[Report]>([])
        try await withEchoServer(faults: faults, reports: reports) { server in
            let first = try await server.connect()
            try await first.echo("before")
            let serving = await started { try await server.serveForever() }
            faults.fail(CF_ACCEPT4, with: errno)
            // Whoever knocks is reset when the listener closes.
            let second = try? await server.connect()
            try await waitUntil { !reports.value.isEmpty }
            try await first.echo("still served")
            await first.writer.close()
            await #expect(throws: StreamError.system(SystemError(call: "accept4", errno: errno))) {
                try await serving.value
            }
            await second?.writer.abort()
        }
        #expect(reports.value.map(\.kind) == [.acceptFailed])
    }

    /// Registering the accepted descriptor is the next thing that may fail.
    @Test func `a connection that cannot be registered is closed, and the next one is served`()
        async throws
    {
        let faults = FaultTable()
        let reports = Shared<[Report]>([])
        try await withEchoServer(faults: faults, reports: reports) { server in
            let client = try await EventLoop.background.spawn {
                try await server.connect()
            }.value
            // The first accept happened before this or happens after it: both are awaited.
            try await waitUntil { await server.statistics().accepted == 1 }
            faults.fail(CF_EPOLL_CTL, with: ENOSPC)
            let refused = try await EventLoop.background.spawn {
                let end = try await server.connect()
                let next = try? await end.reader.read()
                await end.writer.abort()
                return next
            }.value
            #expect(refused == nil)
            try await EventLoop.background.spawn {
                try await client.echo("first")
                await client.writer.close()
                let last = try await server.connect()
                try await last.echo("last")
                await last.writer.close()
            }.value
            let counts = await server.statistics()
            #expect([counts.accepted, counts.refused] == [2, 1])
        }
        #expect(reports.value.count == 1)
    }
}
