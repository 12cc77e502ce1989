// Descriptors beside the packets of datagram endpoints and servers. Numbers of ENDPOINTS 6.

import Glibc
import Sluice
import SluiceTestKit
import Testing

@Suite struct PassingPacketTests {
    private typealias TextEndpoint = DatagramEndpoint<String, String>

    private func count(_ far: TextEndpoint) async throws -> Passed {
        let received = try await far.receiveWithAncillary()
        return Passed(
            text: received.packet, descriptors: received.ancillary.count,
            credentials: received.ancillary.credentials)
    }

    @Test(arguments: [DatagramKind.unixPath, .abstract])
    func `24: descriptors go both ways beside packets`(_ kind: DatagramKind) async throws {
        try await withPassing(kind) { server, client in
            let near = TextEndpoint(client, TextSerializer())
            let far = TextEndpoint(server, TextSerializer())
            let pipe = try WatchedPipe()
            for (text, number) in [("hello", 3), ("", 1), ("none", 0)] {
                try await near.send(text, ancillary: repeated(pipe, number))
                let received = try await far.receiveWithAncillary()
                #expect(received.packet == text && received.source == client.localAddress)
                let descriptors = received.ancillary.count
                #expect(descriptors == number)
                try far.write(text, to: received.source, ancillary: repeated(pipe, number))
                try await #expect(self.count(near) == Passed(text: text, descriptors: number))
            }
            try await near.send("plain", ancillary: repeated(pipe, 2))
            #expect(try await far.receive() == "plain")
            pipe.closeWriting()
            #expect(pipe.isForgotten)
        }
    }

    @Test func `31, 62: a datagram that makes no packet takes its descriptors along`() async throws
    {
        try await withPassing { server, client in
            let far = TextEndpoint(server, TextSerializer())
            let pipe = try WatchedPipe()
            try await client.send([0xFF], ancillary: repeated(pipe, 2))
            try await client.send(bytes("fine"), ancillary: repeated(pipe, 9))
            try await client.send(bytes("fine"), ancillary: repeated(pipe, 1))
            pipe.closeWriting()
            let malformed = PacketError.malformedDatagram(
                from: client.localAddress, reason: "not UTF-8")
            await #expect(throws: malformed) { try await self.count(far) }
            await #expect(throws: PacketError.stream(.ancillaryTruncated)) {
                try await self.count(far)
            }
            try await #expect(self.count(far) == Passed(text: "fine", descriptors: 1))
            #expect(pipe.isForgotten)
        }
    }

    @Test func `29: with UDP it is unsupported, and the endpoint goes on`() async throws {
        try await withDatagrams { server, client in
            let near = TextEndpoint(client, TextSerializer())
            let far = TextEndpoint(server, TextSerializer())
            let pipe = try WatchedPipe()
            let none = PacketError.stream(
                .unsupported("ancillary data passes through Unix sockets only"))
            await #expect(throws: none) {
                try await near.send("with", ancillary: repeated(pipe, 1))
            }
            #expect(throws: none) { try near.write("with", ancillary: Ancillary()) }
            await #expect(throws: none) { try await self.count(far) }
            try await near.send("without")
            #expect(try await far.receive() == "without")
        }
    }

    @Test func `15: a second receive is refused, and the first one is unharmed`() async throws {
        try await withPassing { server, client in
            let far = TextEndpoint(server, TextSerializer())
            let pipe = try WatchedPipe()
            let waiting = await started { try await self.count(far) }
            await #expect(throws: PacketError.busy) { try await self.count(far) }
            try await client.send(bytes("x"), ancillary: repeated(pipe, 1))
            #expect(try await waiting.value == Passed(text: "x", descriptors: 1))
        }
    }

    @Test func `calls from other threads do the right thing`() async throws {
        let address = DatagramKind.abstract.makeAddress()
        let socket = try await bindDatagramSocket(address, options: passingOptions())
        let loop = try EventLoop.start()
        let peer = try await connectDatagramSocket(to: address, on: loop)
        let near = TextEndpoint(peer, TextSerializer())
        let far = TextEndpoint(socket, TextSerializer())
        let pipe = try WatchedPipe()
        for round in 0..<50 {
            try await near.send("\(round)", ancillary: repeated(pipe, 2))
            try await #expect(count(far) == Passed(text: "\(round)", descriptors: 2))
        }
        await near.close()
        await far.close()
        await loop.stop()
        pipe.closeWriting()
        #expect(pipe.isForgotten)
    }
}

@Suite struct PassingServerTests {
    private func options(_ change: (inout DatagramServerOptions) -> Void = { _ in })
        -> DatagramServerOptions
    {
        var options = DatagramServerOptions()
        options.socket = passingOptions()
        change(&options)
        return options
    }

    private func client(_ server: DatagramServer) async throws -> DatagramSocket {
        try await connectDatagramSocket(to: server.address.place, options: passingOptions())
    }

    @Test func `24: a handler that asks gets its peer's descriptors, and answers with some`()
        async throws
    {
        try await withTextServer(.abstract, options: options()) { peer in
            while true {
                guard var received = try await peer.receiveWithAncillary() else { return }
                let descriptors = received.ancillary.takeAll()
                try await peer.send(
                    received.packet + "!", ancillary: Ancillary(descriptors: descriptors))
                for descriptor in descriptors { close(descriptor) }
            }
        } body: { server in
            let pipe = try WatchedPipe()
            let (ann, bob) = (try await client(server), try await client(server))
            for number in 0..<5 {
                try await ann.send(bytes("ann"), ancillary: repeated(pipe, number))
                try await bob.send(bytes("bob"), ancillary: repeated(pipe, 8 - number))
                try await #expect(passed(ann) == Passed(text: "ann!", descriptors: number))
                try await #expect(passed(bob) == Passed(text: "bob!", descriptors: 8 - number))
            }
            for socket in [ann, bob] { await socket.close() }
            pipe.closeWriting()
            #expect(pipe.isForgotten)
        }
    }

    @Test func `31: what a handler did not ask for is closed`() async throws {
        let reports = Shared<[String]>([])
        let limits = options { $0.report = { reports.append($0.message) } }
        try await withTextServer(.abstract, options: limits, handler: echoPackets) { server in
            let pipe = try WatchedPipe()
            let ann = try await client(server)
            for count in 0..<8 {
                try await ann.send(bytes("x"), ancillary: repeated(pipe, count))
                try await #expect(passed(ann) == Passed(text: "x"))
            }
            // One with too many is lost, and so is one that makes no packet; it goes on.
            try await ann.send(bytes("many"), ancillary: repeated(pipe, 9))
            try await ann.send(bytes("next"))
            try await #expect(passed(ann) == Passed(text: "next"))
            let bob = try await client(server)
            try await bob.send([0xFF], ancillary: repeated(pipe, 1))
            try await waitUntil { await server.statistics().malformed == 1 }
            #expect(await server.statistics().socket.ancillaryTruncated == 1)
            #expect(reports.value == [])
            pipe.closeWriting()
            #expect(pipe.isForgotten)
            for socket in [ann, bob] { await socket.close() }
        }
    }

    @Test func `31: what a handler leaves behind is kept for the next one, or closed at the end`()
        async throws
    {
        let counts = Shared<[Int]>([])
        let pipe = try WatchedPipe()
        try await withTextServer(.abstract, options: options()) { peer in
            guard let received = try await peer.receiveWithAncillary() else { return }
            counts.append(received.ancillary.count)
            if counts.value.count == 3 { try await sleep(for: .seconds(1_000)) }
        } body: { server in
            let ann = try await client(server)
            for number in 1...5 { try ann.write(bytes("x"), ancillary: repeated(pipe, number)) }
            try await ann.flush()
            try await waitUntil { counts.value.count == 3 }
            try await waitUntil { await server.statistics().socket.received == 5 }
            #expect(counts.value == [1, 2, 3])
            pipe.closeWriting()
            #expect(pipe.isOpen)
            await ann.close()
        }
        #expect(pipe.isForgotten)
    }

    // ENDPOINTS 66; 5 row 13.
    @Test(arguments: [DatagramOverflow.dropNewest, .dropOldest])
    func `66: descriptors that wait for handlers are bounded, all peers together`(
        _ overflow: DatagramOverflow
    ) async throws {
        let pipe = try WatchedPipe()
        let limits = options {
            $0.socket.ancillaryCapacity = 253
            $0.overflow = overflow
        }
        let isFree = Shared(false)
        let got = Shared(0)
        try await withTextServer(.abstract, options: limits) { peer in
            try await waitUntil(deadline: .seconds(60)) { isFree.value }
            while let received = try await peer.receiveWithAncillary() {
                let count = received.ancillary.count
                got.withLock { $0 += count }
            }
        } body: { server in
            let (ann, bob) = (try await client(server), try await client(server))
            for _ in 0..<6 {
                for socket in [ann, bob] {
                    try await socket.send(bytes("x"), ancillary: repeated(pipe, 253))
                    try await socket.flush()
                }
            }
            try await waitUntil { await server.statistics().socket.received == 12 }
            #expect(await server.statistics().dropped == 8)
            // Without descriptors there is room.
            try await ann.send(bytes("y"))
            try await waitUntil { await server.statistics().socket.received == 13 }
            #expect(await server.statistics().dropped == 8)
            isFree.set(true)
            try await waitUntil { got.value == 1_012 }
            // And there is again, now that these were received.
            try await ann.send(bytes("z"), ancillary: repeated(pipe, 253))
            try await waitUntil { got.value == 1_265 }
            for socket in [ann, bob] { await socket.close() }
        }
        pipe.closeWriting()
        #expect(pipe.isForgotten)
    }

    @Test func `29: a server without the option has none to give`() async throws {
        let found = Shared<PacketError?>(nil)
        try await withTextServer(.abstract) { peer in
            do { _ = try await peer.receiveWithAncillary() } catch let error as PacketError {
                found.set(error)
            }
            try await echoPackets(peer)
        } body: { server in
            let pipe = try WatchedPipe()
            let ann = try await client(server)
            try await ann.send(bytes("x"), ancillary: repeated(pipe, 1))
            try await #expect(passed(ann) == Passed(text: "x"))
            guard case .stream(.unsupported)? = found.value else {
                throw SystemError(call: "receiveWithAncillary", errno: 0)
            }
            pipe.closeWriting()
            #expect(pipe.isForgotten)
            await ann.close()
        }
    }
}
