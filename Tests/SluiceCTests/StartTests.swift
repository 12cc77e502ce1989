// A service that starts late or never: the caller gets its answer, and no server is left behind.

import Glibc
import Sluice
import SluiceC
import SluiceTestKit
import Testing

@Suite struct StartTests {
    @Test func `a service that waits for ever in Sluice's waits is given up`() async throws {
        try await onHostThread {
            let host = try HostedLoop(startLimit: .milliseconds(20))
            let failure = #expect(throws: Failure.self) {
                try host.start(
                    { _, _, _ in
                        try await sleep(for: .seconds(3_600))
                        throw CancellationError()
                    }, host: "127.0.0.1", port: 0)
            }
            #expect(failure?.code == -ETIMEDOUT)
            host.loop.close()
        }
    }

    /// It waits for something that no deadline and no cancellation reaches.
    @Test func `a service that comes too late is stopped again`() async throws {
        try await onHostThread {
            let host = try HostedLoop(startLimit: .milliseconds(20))
            let (mayGoOn, ports) = (Shared(false), Shared<[Int]>([]))
            let failure = #expect(throws: Failure.self) {
                try host.start(
                    { loop, address, port in
                        while !mayGoOn.value { await EventLoop.yield() }
                        let server = try await echo(loop, address, port)
                        ports.append(server.port)
                        return server
                    }, host: "127.0.0.1", port: 0)
            }
            #expect(failure?.code == -ETIMEDOUT)
            #expect(failure?.text == "the service does not start")
            mayGoOn.set(true)
            let (loop, isOver) = (host.loop, Shared(false))
            loop.spawn {
                defer { isOver.set(true) }
                try await waitUntil("it has listened and listens no more") {
                    let members = await loop.statistics().members
                    return ports.value.count == 1 && members == 0
                }
            }
            while !isOver.value { loop.turn(timeout: .seconds(20)) }
            #expect(ports.value.count == 1)
            loop.close()
        }
    }
}
