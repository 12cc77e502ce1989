// What the C interface says to wrong arguments and wrong threads: a number and a text, never a
// trap.

import CSluice
import Glibc
import Sluice
import SluiceTestKit
import Testing

@Suite struct RefusalTests {
    @Test func `a loop that is NULL, or none, or destroyed is refused by every call`() async throws
    {
        try await onHostThread {
            let destroyed = try #require(sluice_create())
            #expect(sluice_destroy(destroyed) == 0)
            for loop in [nil, OpaquePointer(bitPattern: 8), destroyed] {
                #expect(sluice_descriptor(loop) == -EINVAL)
                #expect(lastError().hasPrefix("sluice_descriptor was given no loop"))
                #expect(sluice_turn(loop, 0) == -EINVAL)
                #expect(sluice_start(loop, "lines", "127.0.0.1", 0) == -EINVAL)
                #expect(sluice_port(loop, 1) == -EINVAL)
                #expect(sluice_stop(loop, 1, 0) == -EINVAL)
                #expect(lastError().hasPrefix("sluice_stop was given no loop"))
            }
            #expect(sluice_destroy(nil) == 0)
            #expect(sluice_destroy(destroyed) == -EINVAL)
        }
    }

    @Test func `strings that are NULL and numbers out of range are refused`() async throws {
        try await onHostThread {
            let host = try CHost()
            let name = registered(echo)
            #expect(sluice_start(host.loop, nil, "127.0.0.1", 0) == -EINVAL)
            #expect(sluice_start(host.loop, name, nil, 0) == -EINVAL)
            for port in [-1, 65_536, .max, .min] as [CInt] {
                #expect(sluice_start(host.loop, name, "127.0.0.1", port) == -EINVAL)
                #expect(lastError().contains("0...65535"))
            }
            let service = try host.start(name)
            #expect(sluice_stop(host.loop, service, -1) == -EINVAL)
            for number in [0, -1, .max, .min] as [CInt] {
                #expect(sluice_port(host.loop, number) == -ENOENT)
                #expect(sluice_stop(host.loop, number, 0) == -ENOENT)
            }
            #expect(sluice_port(host.loop, service) > 0)
            #expect(sluice_destroy(host.loop) == 0)
        }
    }

    @Test func `a name nobody registered, and a host that is none, are refused`() async throws {
        try await onHostThread {
            let host = try CHost()
            #expect(sluice_start(host.loop, "nobody's", "127.0.0.1", 0) == -ENOENT)
            #expect(lastError() == "no service is registered as \"nobody's\"")
            let name = registered(echo)
            for wrong in ["", String(repeating: "x", count: 300)] {
                #expect(sluice_start(host.loop, name, wrong, 0) == -EHOSTUNREACH)
                #expect(!lastError().isEmpty)
            }
            // Not UTF-8, and not a host either.
            let garbage: [CChar] = [-1, -2, 0]
            #expect(sluice_start(host.loop, garbage, "127.0.0.1", 0) == -ENOENT)
            #expect(sluice_destroy(host.loop) == 0)
        }
    }

    @Test func `another thread is refused, and may ask for the descriptor`() async throws {
        try await onHostThread {
            let host = try CHost()
            #expect(sluice_turn(host.loop, 0) == 0)
            let (loop, answers) = (host.address, Shared<[CInt]>([]))
            let thread = Task(executorPreference: ThreadOfItsOwn()) {
                let loop = OpaquePointer(bitPattern: loop)
                answers.append(sluice_turn(loop, 0))
                answers.append(sluice_stop(loop, 1, 0))
                answers.append(sluice_destroy(loop))
                answers.append(sluice_descriptor(loop))
            }
            answers.block { $0.count == 4 }
            #expect(answers.value == [-EPERM, -EPERM, -EPERM, sluice_descriptor(host.loop)])
            #expect(sluice_destroy(host.loop) == 0)
            _ = thread
        }
    }

    @Test func `a service's own code is refused a turn`() async throws {
        try await onHostThread {
            let host = try CHost()
            let (loop, answers) = (host.address, Shared<[CInt]>([]))
            let name = registered { own, address, port in
                let loop = OpaquePointer(bitPattern: loop)
                answers.append(sluice_turn(loop, 0))
                answers.append(sluice_destroy(loop))
                return try await echo(own, address, port)
            }
            _ = try host.start(name)
            #expect(answers.value == [-EDEADLK, -EDEADLK])
            #expect(sluice_destroy(host.loop) == 0)
        }
    }

    @Test func `each thread has an error text of its own, which lasts until the next`() async throws
    {
        try await onHostThread {
            #expect(lastError().isEmpty)
            #expect(sluice_turn(nil, 0) == -EINVAL)
            let text = sluice_error()
            let (before, seen) = (lastError(), Shared<[String]>([]))
            Task(executorPreference: ThreadOfItsOwn()) {
                let first = lastError()
                _ = sluice_port(nil, 1)
                seen.withLock { $0 = [first, lastError()] }
            }
            seen.block { !$0.isEmpty }
            #expect(seen.value.first?.isEmpty == true)
            #expect(seen.value.last?.hasPrefix("sluice_port") == true)
            let host = try CHost()
            #expect(sluice_destroy(host.loop) == 0)
            #expect(sluice_error() == text)
            #expect(lastError() == before && before.hasPrefix("sluice_turn"))
        }
    }
}
