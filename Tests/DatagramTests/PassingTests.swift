// Descriptors and credentials beside the datagrams of Unix sockets: what comes, and what becomes of
// it if nobody takes it. What was passed is a pipe whose reading end tells whether anybody still
// has it. Numbers of ENDPOINTS 6; 5 rows 12 and 14.

import Glibc
import Sluice
import SluiceTestKit
import Testing

@Suite struct PassingTests {
    @Test func `24: three descriptors come with their datagram, close-on-exec`() async throws {
        try await withPassing { server, _ in
            let raw = try rawPeer(of: server)
            let pipes = [try WatchedPipe(), try WatchedPipe(), try WatchedPipe()]
            try raw.send(bytes("hi"), descriptors: pipes.map(\.writing))
            var received = try await server.receiveWithAncillary()
            #expect(received.datagram.bytes == bytes("hi"))
            #expect(received.ancillary.count == 3 && received.ancillary.credentials == nil)
            for pipe in pipes {
                let descriptor = try takeNumber(&received.ancillary)
                #expect(fileIdentity(descriptor) == fileIdentity(pipe.writing))
                #expect(fcntl(descriptor, F_GETFD) & FD_CLOEXEC != 0)
                pipe.closeWriting()
                #expect(pipe.isOpen)
                closing(OwnedDescriptor(taking: descriptor))
                #expect(pipe.isForgotten)
            }
            let isEmpty = received.ancillary.isEmpty
            #expect(isEmpty)
        }
    }

    @Test(arguments: [DatagramKind.unixPath, .abstract])
    func `24: they go both ways, with and without an address, the empty datagram's too`(
        _ kind: DatagramKind
    ) async throws {
        try await withPassing(kind) { server, client in
            let pipe = try WatchedPipe()
            for (text, count) in [("hi", 3), ("", 1), ("none", 0)] {
                try await client.send(bytes(text), ancillary: repeated(pipe, count))
                try await #expect(passed(server) == Passed(text: text, descriptors: count))
                try server.write(
                    bytes(text), to: client.localAddress, ancillary: repeated(pipe, count))
                try await #expect(passed(client) == Passed(text: text, descriptors: count))
            }
            pipe.closeWriting()
            #expect(pipe.isForgotten)
        }
    }

    @Test func `26: each datagram of a batch keeps its own descriptors`() async throws {
        let faults = FaultTable()
        try await withPassing(.abstract, faults: faults) { server, client in
            let pipe = try WatchedPipe()
            for round in 0..<10 {
                for number in 0..<8 {
                    let text = bytes("\(round) \(number)")
                    if number % 4 == 3 {
                        try client.write(text)
                    } else {
                        try client.write(text, ancillary: repeated(pipe, number))
                    }
                }
                try await client.flush()
                faults.resetCounts()
                for number in 0..<8 {
                    let count = number % 4 == 3 ? 0 : number
                    let expected = Passed(text: "\(round) \(number)", descriptors: count)
                    try await #expect(passed(server) == expected)
                }
                #expect(faults.calls(CF_RECVMMSG) == 1)
            }
            pipe.closeWriting()
            #expect(pipe.isForgotten)
        }
    }

    // MARK: Nobody takes them

    @Test func `31: descriptors that nobody asked for, or takes, are closed`() async throws {
        try await withLoop { _ in
            let server = try await bindDatagramSocket(
                DatagramKind.unixPath.makeAddress(), options: passingOptions())
            let plain = try await bindDatagramSocket(DatagramKind.unixPath.makeAddress())
            let (raw, other) = (try rawPeer(of: server), try rawPeer(of: plain))
            let pipe = try WatchedPipe()
            try raw.send(bytes("plain"), descriptors: [pipe.writing])
            #expect(try await server.receive().bytes == bytes("plain"))
            // Without the option the kernel closes them; the datagram is a whole one.
            try other.send(bytes("not asked for"), descriptors: [pipe.writing])
            #expect(try await plain.receive().bytes == bytes("not asked for"))
            try raw.send(bytes("not taken"), descriptors: [pipe.writing])
            try await #expect(passed(server) == Passed(text: "not taken", descriptors: 1))
            pipe.closeWriting()
            #expect(pipe.isForgotten)
            for socket in [server, plain] { await socket.close() }
        }
    }

    @Test func `31: those of datagrams that were not received are closed with the socket`()
        async throws
    {
        try await withPassing { server, _ in
            let raw = try rawPeer(of: server)
            let pipe = try WatchedPipe()
            for text in ["one", "two", "three"] {
                try raw.send(bytes(text), descriptors: [pipe.writing, pipe.writing])
            }
            pipe.closeWriting()
            try await #expect(passed(server) == Passed(text: "one", descriptors: 2))
            #expect(await server.statistics().waitingDescriptors == 4)
            #expect(pipe.isOpen)
            await server.close()
            #expect(pipe.isForgotten)
            #expect(await server.statistics().waitingDescriptors == 0)
        }
    }

    @Test func `31: those of a datagram that a full queue drops are closed`() async throws {
        var options = passingOptions(overflow: .dropOldest)
        options.queueCount = 2
        try await withPassing(.unixPath, options) { server, _ in
            let raw = try rawPeer(of: server)
            let (old, new) = (try WatchedPipe(), try WatchedPipe())
            try raw.send(bytes("old"), descriptors: [old.writing])
            try await waitUntil { await server.statistics().received == 1 }
            old.closeWriting()
            #expect(old.isOpen)
            for _ in 0..<2 { try raw.send(bytes("new"), descriptors: [new.writing]) }
            try await waitUntil { await server.statistics().dropped == 1 }
            #expect(old.isForgotten)
            #expect(await server.statistics().waitingDescriptors == 2)
            for _ in 0..<2 {
                try await #expect(passed(server) == Passed(text: "new", descriptors: 1))
            }
        }
    }

    // ENDPOINTS 66.
    @Test func `66: descriptors that wait are bounded, however many datagrams may`() async throws {
        for overflow in [DatagramOverflow.dropOldest, .dropNewest] {
            try await withPassing(.abstract, passingOptions(253, overflow: overflow)) {
                server, client in
                let pipe = try WatchedPipe()
                let sending = await started {
                    for _ in 0..<40 {
                        try await client.send(bytes("x"), ancillary: repeated(pipe, 253))
                        try await client.flush()
                        #expect(await server.statistics().waitingDescriptors <= 1_012)
                    }
                }
                if overflow == .dropNewest {
                    for _ in 0..<40 {
                        try await #expect(passed(server) == Passed(text: "x", descriptors: 253))
                        #expect(await server.statistics().waitingDescriptors <= 1_012)
                    }
                }
                try await sending.value
                if overflow == .dropOldest {
                    try await waitUntil { await server.statistics().received == 40 }
                    #expect(await server.statistics().waiting == 4)
                }
                await server.close()
                pipe.closeWriting()
                #expect(pipe.isForgotten)
            }
        }
    }

    // MARK: Too many, too long

    /// Also where the kernel puts one more into the padding.
    @Test(arguments: [0, 1, 2, 3, 252])
    func `more descriptors than the capacity: an error, all closed, and the next one comes`(
        _ capacity: Int
    ) async throws {
        try await withPassing(.unixPath, passingOptions(capacity)) { server, _ in
            let raw = try rawPeer(of: server)
            let pipe = try WatchedPipe()
            func send(_ text: String, _ count: Int) throws {
                try raw.send(bytes(text), descriptors: repeated(pipe, count).descriptors)
            }
            for count in [capacity + 1, 253] { try send("too many", count) }
            try send("right", capacity)
            try send("too many", capacity + 1)
            for _ in 0..<2 {
                await #expect(throws: StreamError.ancillaryTruncated) { try await passed(server) }
            }
            try await #expect(passed(server) == Passed(text: "right", descriptors: capacity))
            await #expect(throws: StreamError.ancillaryTruncated) { try await server.receive() }
            #expect(await server.statistics().ancillaryTruncated == 3)
            pipe.closeWriting()
            #expect(pipe.isForgotten)
        }
    }

    @Test func `a datagram that is too long takes its descriptors along`() async throws {
        var options = passingOptions()
        options.maxReceiveSize = 4
        try await withPassing(.unixPath, options) { server, _ in
            let raw = try rawPeer(of: server)
            let pipe = try WatchedPipe()
            try raw.send(bytes("long one"), descriptors: [pipe.writing])
            try raw.send(bytes("fine"), descriptors: [pipe.writing])
            pipe.closeWriting()
            do throws(StreamError) {
                _ = try await server.receiveWithAncillary()
                Issue.record("it was received")
            } catch {
                guard case .datagramTruncated(8, limit: 4, _) = error else { throw error }
            }
            #expect(pipe.isOpen)
            try await #expect(passed(server) == Passed(text: "fine", descriptors: 1))
            #expect(pipe.isForgotten)
        }
    }

    // MARK: Credentials

    @Test func `30: credentials name the sender, and pid 0 stands for this process`() async throws {
        try await withPassing(.unixPath, passingOptions(4, credentials: true)) { server, client in
            let pipe = try WatchedPipe()
            let raw = try rawPeer(of: server)
            try raw.send(bytes("raw"))
            try await #expect(passed(server) == Passed(text: "raw", credentials: .own))
            try await client.send(bytes("plain"))
            try await client.send(bytes("me"), ancillary: Ancillary(credentials: .own))
            var both = repeated(pipe, 2)
            both.credentials = PeerCredentials(process: 0)
            try await client.send(bytes("both"), ancillary: both)
            for (text, count) in [("plain", 0), ("me", 0), ("both", 2)] {
                let expected = Passed(text: text, descriptors: count, credentials: .own)
                try await #expect(passed(server) == expected)
            }
        }
    }

    @Test func `credentials come only to who asked for them`() async throws {
        try await withPassing { server, client in
            try await client.send(bytes("me"), ancillary: Ancillary(credentials: .own))
            try await #expect(passed(server) == Passed(text: "me"))
        }
    }

    // MARK: Refused

    @Test(arguments: DatagramKind.internet)
    func `29: on a UDP socket it is unsupported, and the socket goes on`(
        _ kind: DatagramKind
    ) async throws {
        let none = StreamError.unsupported("ancillary data passes through Unix sockets only")
        try await withDatagrams(kind) { server, client in
            let pipe = try WatchedPipe()
            for ancillary in [repeated(pipe, 1), Ancillary()] {
                await #expect(throws: none) {
                    try await client.send([1], ancillary: ancillary)
                }
            }
            await #expect(throws: none) { try await passed(server) }
            await #expect(throws: none) {
                try await bindDatagramSocket(kind.makeAddress(), options: passingOptions())
            }
            await #expect(throws: none) {
                try await connectDatagramSocket(
                    to: server.localAddress.place, options: passingOptions(0))
            }
            try await client.send([2])
            #expect(try await server.receive().bytes == [2])
        }
    }

    @Test func `29: without the option there is nothing to receive with`() async throws {
        try await withDatagrams(.abstract) { server, client in
            guard case .unsupported? = await streamError({ try await passed(server) }) else {
                throw SystemError(call: "receiveWithAncillary", errno: 0)
            }
            try await client.send([2])
            #expect(try await server.receive().bytes == [2])
        }
    }

    @Test func `options out of their range are refused`() async throws {
        for capacity in [-1, 254, .max] {
            let found = await refusedOption {
                try await bindDatagramSocket(.automatic, options: passingOptions(capacity))
            }
            #expect(found == "ancillaryCapacity")
        }
        var options = DatagramOptions()
        options.receivesCredentials = true
        let found = await refusedOption {
            try await bindDatagramSocket(.automatic, options: options)
        }
        #expect(found == "receivesCredentials")
    }

    // MARK: Python

    @Test func `24: Python sends three descriptors, and gets three`() async throws {
        try await withPassing(.unixPath, passingOptions(3)) { server, _ in
            let path = try #require(server.localAddress.path)
            let python = await started { try await runPython(Self.peer(path)) }
            var received = try await server.receiveWithAncillary()
            #expect(received.datagram.bytes == bytes("hi"))
            let peer = received.datagram.source
            for number in 0..<3 {
                let descriptor = try takeNumber(&received.ancillary)
                let reader = try await adoptPipe(reading: descriptor)
                #expect(try await reader.readToEnd() == bytes("pipe \(number)"))
            }
            let pipes = try (0..<3).map { _ in try WatchedPipe() }
            try await server.send(
                bytes("there"), to: peer, ancillary: Ancillary(descriptors: pipes.map(\.writing)))
            for pipe in pipes { pipe.closeWriting() }
            #expect(try await python.value == 0)
            #expect(pipes.allSatisfy { $0.isForgotten })
        }
    }

    private static func peer(_ path: String) -> String {
        """
        import os, socket, stat
        s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        s.settimeout(20)
        s.bind(b"")
        s.connect("\(path)")
        readers = []
        for number in range(3):
            reader, writer = os.pipe()
            os.write(writer, b"pipe %d" % number)
            os.close(writer)
            readers.append(reader)
        socket.send_fds(s, [b"hi"], readers)
        for reader in readers: os.close(reader)
        data, fds, flags, address = socket.recv_fds(s, 100, 3)
        assert data == b"there", data
        assert len(fds) == 3 and flags & socket.MSG_CTRUNC == 0, (fds, flags)
        assert all(stat.S_ISFIFO(os.fstat(fd).st_mode) for fd in fds)
        """
    }
}
