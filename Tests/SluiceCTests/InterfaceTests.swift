// The C interface, called as a C program calls it: from one thread that has a poll loop of its own.

import CSluice
import Glibc
import Sluice
import SluiceTestKit
import Testing

@Suite struct InterfaceTests {
    @Test func `a service is started by its name and serves in the host's turns`() async throws {
        try await onHostThread {
            let host = try CHost()
            let service = try host.start(registered(echo))
            let port = sluice_port(host.loop, service)
            #expect(port > 0)
            let client = Client(port: port) { end in
                for number in 0..<20 { try await end.echo("line \(number)") }
            }
            try host.serve { client.hasEnded }
            #expect(client.error == nil)
            try host.stop(service)
            #expect(sluice_destroy(host.loop) == 0)
        }
    }

    @Test func `two loops are hosted by one thread, each with its own services`() async throws {
        try await onHostThread {
            let hosts = try (0..<2).map { _ in try CHost() }
            let name = registered(echo)
            let services = try hosts.map { try $0.start(name) }
            let ports = zip(hosts, services).map { sluice_port($0.loop, $1) }
            #expect(ports[0] != ports[1])
            let clients = ports.map { port in Client(port: port) { try await $0.echo("x") } }
            try CHost.serve(hosts) { clients.allSatisfy(\.hasEnded) }
            #expect(clients.allSatisfy { $0.error == nil })
            // Destroyed with its service running; the other goes on.
            #expect(sluice_destroy(hosts[0].loop) == 0)
            #expect(sluice_turn(hosts[0].loop, 0) == -EINVAL)
            try hosts[1].stop(services[1])
            #expect(sluice_destroy(hosts[1].loop) == 0)
        }
    }

    @Test func `services are told apart by their numbers`() async throws {
        try await onHostThread {
            let host = try CHost()
            let name = registered(echo)
            let services = try (0..<3).map { _ in try host.start(name) }
            #expect(Set(services).count == 3 && services.allSatisfy { $0 > 0 })
            try host.stop(services[1])
            #expect(sluice_port(host.loop, services[1]) == -ENOENT)
            #expect(sluice_port(host.loop, services[0]) > 0)
            #expect(sluice_port(host.loop, services[2]) > 0)
            #expect(sluice_destroy(host.loop) == 0)
        }
    }

    // MARK: Stopping

    @Test func `stop lets a handler finish, and says 1 until it has`() async throws {
        try await onHostThread {
            let host = try CHost()
            let (isHeld, mayEnd) = (Shared(false), Shared(false))
            let service = try host.start(
                registered { loop, address, port in
                    try await startServer(host: address, port: port, on: loop) { _, writer in
                        isHeld.set(true)
                        while !mayEnd.value { try await sleep(for: .milliseconds(1)) }
                        try await writer.send("done\n")
                    }
                })
            let client = Client(port: sluice_port(host.loop, service)) { end in
                let line = try await end.reader.readLine()
                #expect(line == bytes("done\n"))
            }
            try host.serve { isHeld.value }
            for _ in 0..<5 {
                #expect(sluice_stop(host.loop, service, 60_000) == 1)
                #expect(sluice_turn(host.loop, 5) == 0)
            }
            mayEnd.set(true)
            try host.stop(service)
            #expect(sluice_stop(host.loop, service, 0) == -ENOENT)
            #expect(sluice_destroy(host.loop) == 0)
            client.wait()
            #expect(client.error == nil)
        }
    }

    @Test func `a second stop without grace ends the first one's`() async throws {
        try await onHostThread {
            let host = try CHost()
            let (isHeld, ending) = (Shared(false), Shared<ReactorError?>(nil))
            let service = try host.start(
                registered { loop, address, port in
                    try await startServer(host: address, port: port, on: loop) { _, _ in
                        isHeld.set(true)
                        do throws(ReactorError) { try await sleep(for: .seconds(3_600)) } catch {
                            ending.set(error)
                        }
                    }
                })
            let client = Client(port: sluice_port(host.loop, service)) { end in
                _ = try await end.reader.readLine()
            }
            try host.serve { isHeld.value }
            #expect(sluice_stop(host.loop, service, 3_600_000) == 1)
            try host.stop(service, grace: 0)
            #expect(ending.value == .cancelled)
            #expect(sluice_destroy(host.loop) == 0)
            client.wait()
        }
    }

    // MARK: Starting

    @Test func `a port that is taken gives its errno and says so`() async throws {
        try await onHostThread {
            let host = try CHost()
            let name = registered(echo)
            let first = try host.start(name)
            let port = sluice_port(host.loop, first)
            #expect(sluice_start(host.loop, name, "127.0.0.1", port) == -EADDRINUSE)
            #expect(lastError().contains("127.0.0.1:\(port)"))
            #expect(lastError().contains("bind"))
            #expect(sluice_destroy(host.loop) == 0)
        }
    }

    @Test func `a service that throws something of its own is an I/O error in its words`()
        async throws
    {
        struct NoLicence: Error, CustomStringConvertible { let description = "no licence today" }
        try await onHostThread {
            let host = try CHost()
            let name = registered { _, _, _ in throw NoLicence() }
            #expect(sluice_start(host.loop, name, "127.0.0.1", 0) == -EIO)
            #expect(lastError() == "no licence today")
            #expect(sluice_destroy(host.loop) == 0)
        }
    }

    @Test func `a service that stops the loop ends its turns`() async throws {
        try await onHostThread {
            let host = try CHost()
            let name = registered { loop, _, _ in
                await loop.stop()
                throw CancellationError()
            }
            #expect(sluice_start(host.loop, name, "127.0.0.1", 0) < 0)
            while sluice_turn(host.loop, 10_000) == 0 {}
            #expect(sluice_turn(host.loop, -1) == -ESHUTDOWN)
            #expect(lastError() == "the loop was stopped")
            #expect(sluice_start(host.loop, registered(echo), "127.0.0.1", 0) == -ESHUTDOWN)
            #expect(sluice_destroy(host.loop) == 0)
        }
    }
}

/// A service that answers lines with themselves.
let echo: @Sendable (EventLoop, String, Int) async throws -> Server = { loop, host, port in
    try await startServer(host: host, port: port, on: loop) { reader, writer in
        while let line = try await reader.readLine() { try await writer.send(line) }
    }
}
