// Giving a descriptor away, and noticing a peer that hangs up while nobody reads.

import Glibc
import Sluice
import SluiceTestKit
import Testing

/// What one read(2) gives.
private func receive(_ descriptor: Int32) -> [UInt8] {
    var buffer = [UInt8](repeating: 0, count: 256)
    let count = read(descriptor, &buffer, buffer.count)
    return Array(buffer.prefix(max(0, count)))
}

@Suite struct DetachTests {
    @Test func `detach gives the descriptor and the bytes not read, and the peer goes on`()
        async throws
    {
        try await withLoop { _ in
            let (near, far) = try await PairKind.tcp.makePair()
            try await releasing(near, far) {
                try await far.say("line\nrest")
                #expect(try await near.reader.readLine() == bytes("line\n"))
                try near.writer.write("before ")
                let detached = try await near.writer.detach()
                defer { close(detached.descriptor) }
                #expect(detached.unread == bytes("rest"))
                #expect(fcntl(detached.descriptor, F_GETFL) & O_NONBLOCK != 0)
                #expect(fcntl(detached.descriptor, F_GETFD) & FD_CLOEXEC != 0)
                #expect(write(detached.descriptor, "after", 5) == 5)
                #expect(try await far.reader.readExactly(12) == bytes("before after"))
                try await far.say("more")
                #expect(receive(detached.descriptor) == bytes("more"))
            }
        }
    }

    @Test func `after a detach both halves are closed, and the descriptor may be adopted again`()
        async throws
    {
        try await withLoop { _ in
            let (near, far) = try await AdoptedKind.socketPair.makePair()
            try await releasing(near, far) {
                let detached = try await near.writer.detach()
                #expect(throws: StreamError.closed) { try near.writer.write("x") }
                await #expect(throws: StreamError.closed) { try await near.reader.read() }
                await #expect(throws: StreamError.closed) { _ = try await near.writer.detach() }
                try await near.writer.waitClosed()
                let again = StreamEnd(try await adoptSocket(detached.descriptor))
                again.reader.unread(detached.unread)
                try await far.writer.send("x")
                #expect(try await again.reader.read() == bytes("x"))
                await again.writer.abort()
            }
        }
    }

    @Test func `detach is refused while a task reads, and for streams without a descriptor`()
        async throws
    {
        try await withPair(.tcp) { near, far in
            let reading = await started { try await near.reader.read() }
            await #expect(throws: StreamError.busy) { _ = try await near.writer.detach() }
            try await far.writer.send("x")
            #expect(try await reading.value == bytes("x"))
        }
        try await withPair(.memory) { near, _ in
            await #expect(throws: StreamError.closed) { _ = try await near.writer.detach() }
            #expect(!near.writer.isClosing)
        }
    }

    @Test func `a handler may detach: its server counts the connection as over`() async throws {
        let given = Handover<DetachedStream>()
        try await withLoop { _ in
            let server = try await startServer(port: 0) { reader, writer in
                _ = try await reader.readLine()
                given.give(try await writer.detach())
            }
            let client = try await server.connect()
            try await client.writer.send("go\nrest")
            try await eventually("the connection is over") {
                await server.statistics().closed == 1
            }
            let detached = given.take()
            #expect(detached.unread == bytes("rest"))
            #expect(write(detached.descriptor, "still here", 10) == 10)
            #expect(try await client.reader.readExactly(10) == bytes("still here"))
            close(detached.descriptor)
            #expect(try await client.reader.read() == nil)
            await client.writer.close()
            await server.shutdown(grace: .zero)
        }
    }
}

@Suite struct PeerClosedTests {
    @Test(arguments: PairKind.allCases)
    func `waitPeerClosed ends at the peer's end, and bytes before it stay to be read`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            let waiting = await started { try await near.writer.waitPeerClosed() }
            try await far.say("last words")
            try far.writer.finishWriting()
            try await waiting.value
            try await near.writer.waitPeerClosed()
            #expect(try await near.reader.readToEnd() == bytes("last words"))
            try await near.writer.send("answer")
            #expect(try await far.reader.readExactly(6) == bytes("answer"))
        }
    }

    @Test(arguments: PairKind.allCases)
    func `waitPeerClosed ends when the peer breaks the connection`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            let waiting = await started { try await near.writer.waitPeerClosed() }
            await far.writer.abort()
            try await waiting.value
        }
    }

    @Test(arguments: PairKind.allCases)
    func `waitPeerClosed ends with its error when cancelled, late, or aborted here`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, _ in
            let cancelled = await started { try await near.writer.waitPeerClosed() }
            cancelled.cancel()
            await #expect(throws: StreamError.cancelled) { try await cancelled.value }
            await #expect(throws: StreamError.timedOut) {
                try await withTimeout(.milliseconds(2)) {
                    try await near.writer.waitPeerClosed()
                }
            }
            let aborted = await started { try await near.writer.waitPeerClosed() }
            near.writer.startAborting()
            await #expect(throws: StreamError.aborted) { try await aborted.value }
        }
    }

    @Test(arguments: PairKind.allCases)
    func `onPeerClosed calls once on the loop, and may abort the stream`(
        _ kind: PairKind
    ) async throws {
        try await withPair(kind) { near, far in
            let calls = Shared(0)
            near.writer.onPeerClosed {
                #expect(near.writer.loop.isCurrent)
                calls.withLock { $0 += 1 }
                near.writer.startAborting()
            }
            await settle()
            #expect(calls.value == 0)
            await far.writer.close()
            try await near.writer.waitClosed()
            await settle()
            #expect(calls.value == 1)
            #expect(near.writer.closeReason == .aborted)
        }
    }

    @Test(arguments: PairKind.allCases)
    func `onPeerClosed stays silent when this side aborts first`(_ kind: PairKind) async throws {
        try await withPair(kind) { near, far in
            near.writer.onPeerClosed { Issue.record("called") }
            await settle()
            near.writer.startAborting()
            await far.writer.close()
            await settle()
        }
    }
}
