// Descriptors that leave with datagrams: in the order of what is sent, kept while they have to
// wait, bounded, and refused without harm. Numbers of ENDPOINTS 6.

import Glibc
import Sluice
import SluiceTestKit
import Testing

@Suite struct PassingSendTests {
    /// The order is that of the calls, and the caller's descriptors are its own again at once.
    @Test(arguments: [true, false])
    func `28, 56: descriptors that have to wait keep their place, and are the caller's again`(
        _ isConnected: Bool
    ) async throws {
        try await withPassing(.abstract) { server, client in
            let other = try await bindDatagramSocket(.automatic)
            let sender = isConnected ? client : other
            let address = isConnected ? nil : server.localAddress
            let pipe = try WatchedPipe()
            let count = try await clog(sender, to: address)
            try sender.write(bytes("two"), to: address, ancillary: repeated(pipe, 2))
            try sender.write(bytes("none"), to: address)
            try sender.write(bytes("three"), to: address, ancillary: repeated(pipe, 3))
            pipe.closeWriting()
            #expect(pipe.isOpen)
            try await unclog(server, count)
            for (text, count) in [("two", 2), ("none", 0), ("three", 3)] {
                try await #expect(passed(server) == Passed(text: text, descriptors: count))
            }
            #expect(pipe.isForgotten)
            await other.close()
        }
    }

    @Test func `22: a cancelled send has queued all of it, and a close forgets it`() async throws {
        var options = passingOptions()
        options.highWaterMark = 0
        try await withPassing(.abstract, options) { server, client in
            let (sent, dropped) = (try WatchedPipe(), try WatchedPipe())
            let count = try await clog(client)
            let sending = await started {
                try await client.send(bytes("whole"), ancillary: repeated(sent, 1))
            }
            sending.cancel()
            await #expect(throws: StreamError.cancelled) { try await sending.value }
            sent.closeWriting()
            try await unclog(server, count)
            try await #expect(passed(server) == Passed(text: "whole", descriptors: 1))
            #expect(sent.isForgotten)

            _ = try await clog(client)
            try client.write(bytes("lost"), ancillary: repeated(dropped, 1))
            dropped.closeWriting()
            #expect(dropped.isOpen)
            await client.close()
            #expect(dropped.isForgotten)
        }
    }

    @Test(arguments: [true, false])
    func `what waits for a peer that goes away is closed, and told`(
        _ isConnected: Bool
    ) async throws {
        try await withPassing(.abstract) { server, client in
            let other = try await bindDatagramSocket(.automatic)
            let sender = isConnected ? client : other
            let address = isConnected ? nil : server.localAddress
            let pipe = try WatchedPipe()
            _ = try await clog(sender, to: address)
            try sender.write(bytes("lost"), to: address, ancillary: repeated(pipe, 3))
            pipe.closeWriting()
            #expect(pipe.isOpen)
            await server.close()
            try await waitUntil { await sender.statistics().queued == 0 }
            #expect(pipe.isForgotten)
            let told = await streamError { try await sender.send([1], to: address) }
            guard case .peerFailed? = told else { throw SystemError(call: "send", errno: 0) }
            await other.close()
        }
    }

    @Test func `only so many descriptors are kept for a peer that receives nothing`() async throws {
        try await withPassing(.abstract, passingOptions(253)) { server, client in
            let pipe = try WatchedPipe()
            let count = try await clog(client)
            for _ in 0..<4 { try client.write(bytes("x"), ancillary: repeated(pipe, 253)) }
            #expect(throws: StreamError.tooManyDescriptors(1_265, limit: 1_012)) {
                try client.write(bytes("x"), ancillary: repeated(pipe, 253))
            }
            // Those that left make room.
            try await unclog(server, count)
            try await #expect(passed(server) == Passed(text: "x", descriptors: 253))
            try await client.flush()
            try client.write(bytes("x"), ancillary: repeated(pipe, 253))
            for _ in 0..<4 {
                try await #expect(passed(server) == Passed(text: "x", descriptors: 253))
            }
            pipe.closeWriting()
            #expect(pipe.isForgotten)
        }
    }

    @Test func `56: many tasks of many threads send, each datagram has its own`() async throws {
        try await withPassing(.abstract) { server, client in
            let pipes = try (0..<50).map { _ in try WatchedPipe() }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for (number, pipe) in pipes.enumerated() {
                    group.addTask {
                        try await client.send([UInt8(number)], ancillary: repeated(pipe, 1))
                    }
                }
                for _ in 0..<50 {
                    var received = try await server.receiveWithAncillary()
                    let number = Int(received.datagram.bytes[0])
                    let descriptor = try takeNumber(&received.ancillary)
                    #expect(fileIdentity(descriptor) == fileIdentity(pipes[number].writing))
                    close(descriptor)
                }
                try await group.waitForAll()
            }
        }
    }

    // MARK: Refused

    @Test func `28: a 254th descriptor is refused before anything is sent`() async throws {
        try await withPassing(.abstract, passingOptions(253)) { server, client in
            let pipe = try WatchedPipe()
            #expect(throws: StreamError.tooManyDescriptors(254, limit: 253)) {
                try client.write(bytes("x"), ancillary: repeated(pipe, 254))
            }
            try await client.send(bytes("y"), ancillary: repeated(pipe, 253))
            try await #expect(passed(server) == Passed(text: "y", descriptors: 253))
        }
    }

    @Test func `what the kernel refuses is told, not sent, and the socket goes on`() async throws {
        try await withPassing(.abstract) { server, client in
            let pipe = try WatchedPipe()
            let unset: Int32 = 1_000_000
            let refused = StreamError.system(SystemError(call: "sendmmsg", errno: EBADF))
            try client.write(bytes("one"))
            #expect(throws: refused) {
                try client.write(bytes("bad"), ancillary: Ancillary(descriptors: [unset]))
            }
            // Nobody has this process number: kernel.pid_max is at most 2^22.
            let untrue = PeerCredentials(process: .max, user: 0, group: 0)
            #expect(throws: StreamError.self) {
                try client.write(bytes("lie"), ancillary: Ancillary(credentials: untrue))
            }
            try await client.send(bytes("two"), ancillary: repeated(pipe, 1))
            for (text, count) in [("one", 0), ("two", 1)] {
                try await #expect(passed(server) == Passed(text: text, descriptors: count))
            }
            #expect(await client.statistics().notSent == 0)
            // Also if it has to wait: then it is the duplicating that fails.
            let count = try await clog(client)
            #expect(throws: StreamError.system(SystemError(call: "fcntl", errno: EBADF))) {
                try client.write(
                    bytes("bad"), ancillary: Ancillary(descriptors: [pipe.writing, unset]))
            }
            try await unclog(server, count)
            try await client.send(bytes("three"))
            try await #expect(passed(server) == Passed(text: "three"))
            pipe.closeWriting()
            #expect(pipe.isForgotten)
        }
    }

    @Test(arguments: [true, false])
    func `what cannot be kept is told, and nothing else is lost`(_ isConnected: Bool) async throws {
        let faults = FaultTable()
        try await withPassing(.abstract, faults: faults) { server, client in
            let other = try await bindDatagramSocket(.automatic)
            let sender = isConnected ? client : other
            let address = isConnected ? nil : server.localAddress
            let pipe = try WatchedPipe()
            let count = try await clog(sender, to: address)
            try sender.write(bytes("kept"), to: address, ancillary: repeated(pipe, 2))
            let queued = await sender.statistics().queued
            faults.fail(CF_FCNTL, with: EMFILE, at: 2)
            #expect(throws: StreamError.system(SystemError(call: "fcntl", errno: EMFILE))) {
                try sender.write(bytes("many"), to: address, ancillary: repeated(pipe, 2))
            }
            #expect(await sender.statistics().queued == queued)
            pipe.closeWriting()
            try sender.write(bytes("last"), to: address)
            try await unclog(server, count)
            try await #expect(passed(server) == Passed(text: "kept", descriptors: 2))
            try await #expect(passed(server) == Passed(text: "last"))
            #expect(pipe.isForgotten)
            await other.close()
        }
    }
}
