// Services as types: the life of a connection, event by event. The numbers are those of the
// behaviours an endpoint must show.

import Sluice
import SluiceTestKit
import Testing

/// Asks for a password first; then echoes, and adds up what `add` and a second packet say.
private struct Diary: PacketHandler {
    let events = Shared<[String]>([])
    var startFails = false

    struct NotToday: Error {}
    struct WrongPassword: Error {}

    func serviceStarted(_ server: Server) async throws {
        events.append("started on a port: \(server.port > 0)")
        // Long enough for a client to come: it has to wait.
        try await sleep(for: .milliseconds(5))
        if startFails { throw NotToday() }
        events.append("ready")
    }

    func connected(_ connection: StreamEndpoint<String, String>) async throws -> String {
        try await connection.send("password?")
        let password = try await withTimeout(.seconds(20)) { try await connection.receive() }
        guard let password else { return "nobody" }
        if password == "wrong" { throw WrongPassword() }
        events.append("\(password) came")
        return password
    }

    func handle(
        _ packet: String, _ connection: StreamEndpoint<String, String>, _ session: inout String
    ) async throws {
        switch packet {
        case "rename": session = try await connection.receive() ?? "gone"
        case "close": await connection.close()
        case "abort": await connection.abort()
        case "throw": throw NotToday()
        case "wait":
            do {
                _ = try await withTimeout(.milliseconds(5)) { try await connection.receive() }
            } catch PacketError.stream(.timedOut) {
                try await connection.send("too late")
            }
        default: try await connection.send("\(session): \(packet)")
        }
    }

    func handle(
        _ error: PacketError, _ connection: StreamEndpoint<String, String>,
        _ session: inout String
    ) async throws {
        try await connection.send("what? \(error)")
    }

    func disconnected(
        _ connection: StreamEndpoint<String, String>, _ session: String, _ error: (any Error)?
    ) async {
        events.append("\(session) left: \(error.map { "\($0)" } ?? "in order")")
    }
}

/// Another task ends the connection while the login waits.
private struct ClosingDoor: PacketHandler {
    let closes: Bool
    let events = Shared<[String]>([])

    func connected(_ connection: StreamEndpoint<String, String>) async throws {
        events.append("let in")
        let ending = connection.loop.spawn {
            await settle()
            if closes { await connection.close() } else { await connection.abort() }
        }
        defer { ending.cancel() }
        _ = try await connection.receive()
        events.append("received")
    }

    func handle(
        _ packet: String, _ connection: StreamEndpoint<String, String>, _ session: inout Void
    ) async throws {
        events.append("handled")
    }

    func disconnected(
        _ connection: StreamEndpoint<String, String>, _ session: Void, _ error: (any Error)?
    ) async {
        events.append("left")
    }
}

@Suite struct PacketHandlerTests {
    private func serving(
        _ diary: Diary, report: @escaping @Sendable (Report) -> Void = { _ in },
        _ body: @escaping @Sendable (Server) async throws -> Void
    ) async throws {
        try await withLoop { _ in
            var options = ServerOptions()
            options.report = report
            let server = try await startServer(
                port: 0, codec: LineCodec.lines(limit: 100), options: options, service: diary)
            try await body(server)
            await server.shutdown(grace: .seconds(10))
        }
    }

    private func connect(_ server: Server) async throws -> LineEndpoint {
        try await openConnection(host: "127.0.0.1", port: server.port, codec: LineCodec.lines())
    }

    @Test func `46, 50: a login first, then packets, some of them several in one call`()
        async throws
    {
        let diary = Diary()
        try await serving(diary) { server in
            let client = try await connect(server)
            #expect(try await client.receive() == "password?")
            for packet in ["anna", "hello", "rename", "berta", "hello"] {
                try await client.send(packet)
            }
            #expect(try await client.receive() == "anna: hello")
            #expect(try await client.receive() == "berta: hello")
            await client.close()
            try await waitUntil { diary.events.value.count == 4 }
        }
        #expect(
            diary.events.value == [
                "started on a port: true", "ready", "anna came", "berta left: in order",
            ])
    }

    @Test func `48, 49: a read's deadline is the handler's to answer, and a close ends in order`()
        async throws
    {
        let diary = Diary()
        try await serving(diary) { server in
            let client = try await connect(server)
            for packet in ["anna", "wait"] { try await client.send(packet) }
            #expect(try await client.receive() == "password?")
            #expect(try await client.receive() == "too late")
            try await client.send("close")
            #expect(try await client.receive() == nil)
            await client.close()
            try await waitUntil { diary.events.value.last == "anna left: in order" }
        }
    }

    @Test func `62: what makes no sense is the handler's to answer, and the next one is handled`()
        async throws
    {
        let diary = Diary()
        try await serving(diary) { server in
            let client = try await connect(server)
            try await client.send("anna")
            #expect(try await client.receive() == "password?")
            try await client.writer.send([0xFF, 10])
            #expect(try await client.receive() == "what? malformed packet: not UTF-8")
            try await client.send(String(repeating: "x", count: 101))
            #expect(
                try await client.receive()
                    == "what? a packet is longer than its limit of 100 bytes")
            try await client.send("well")
            #expect(try await client.receive() == "anna: well")
            await client.close()
        }
    }

    @Test func `47: what a method throws closes that connection, is told once, and the rest lives`()
        async throws
    {
        let (diary, reports) = (Diary(), Shared<[Report]>([]))
        try await serving(diary, report: { reports.append($0) }) { server in
            let (first, second) = (try await connect(server), try await connect(server))
            for (client, name) in [(first, "anna"), (second, "berta")] {
                #expect(try await client.receive() == "password?")
                try await client.send(name)
            }
            try await first.send("throw")
            await #expect(throws: Never.self) {
                // The end, or a reset if the close meets unread bytes.
                _ = try? await first.receive()
            }
            try await second.send("still")
            #expect(try await second.receive() == "berta: still")
            await second.close()
            await first.abort()
            try await waitUntil { diary.events.value.contains("anna left: NotToday()") }
        }
        #expect(reports.value.count == 1)
    }

    @Test func `a connection that its service aborts is over, and reported to nobody`()
        async throws
    {
        let (diary, reports) = (Diary(), Shared<[Report]>([]))
        try await serving(diary, report: { reports.append($0) }) { server in
            let client = try await connect(server)
            for packet in ["anna", "abort"] { try await client.send(packet) }
            try await waitUntil { diary.events.value.last == "anna left: in order" }
            try await waitUntil { await server.statistics().closed == 1 }
            await client.abort()
        }
        #expect(reports.value.isEmpty)
    }

    @Test(arguments: [true, false])
    func `a login that ends because this side closes or aborts is reported to nobody`(
        _ closes: Bool
    ) async throws {
        let reports = Shared<[Report]>([])
        let door = ClosingDoor(closes: closes)
        try await withLoop { _ in
            var options = ServerOptions()
            options.report = { reports.append($0) }
            let server = try await startServer(
                port: 0, codec: LineCodec.lines(), options: options, service: door)
            let client = try await connect(server)
            _ = try? await client.receive()
            try await waitUntil { await server.statistics().closed == 1 }
            await client.close()
            await server.shutdown(grace: .seconds(10))
        }
        #expect(reports.value.isEmpty && door.events.value == ["let in"])
    }

    @Test func `a login that throws calls nothing else`() async throws {
        let (diary, reports) = (Diary(), Shared<[Report]>([]))
        try await serving(diary, report: { reports.append($0) }) { server in
            let client = try await connect(server)
            try await client.send("wrong")
            try await waitUntil { reports.value.count == 1 }
            await client.abort()
        }
        #expect(diary.events.value == ["started on a port: true", "ready"])
    }

    @Test func `51, 52: a peer that resets, at once, in the login or idle, is reported to nobody`()
        async throws
    {
        let (diary, reports) = (Diary(), Shared<[Report]>([]))
        try await serving(diary, report: { reports.append($0) }) { server in
            let atOnce = try await openConnection(host: "127.0.0.1", port: server.port)
            await atOnce.writer.abort()
            let inLogin = try await connect(server)
            #expect(try await inLogin.receive() == "password?")
            await inLogin.abort()
            let idle = try await connect(server)
            #expect(try await idle.receive() == "password?")
            try await idle.send("anna")
            try await idle.send("hello")
            #expect(try await idle.receive() == "anna: hello")
            await idle.abort()
            try await waitUntil { await server.statistics().closed == 3 }
            let client = try await connect(server)
            #expect(try await client.receive() == "password?")
            await client.close()
        }
        #expect(reports.value.isEmpty)
    }

    @Test func `54: a service that cannot start ends its server, and nobody was served`()
        async throws
    {
        try await withLoop { _ in
            var diary = Diary()
            diary.startFails = true
            let events = diary.events
            await #expect(throws: Diary.NotToday.self) {
                try await startServer(port: 0, codec: LineCodec.lines(), service: diary)
            }
            #expect(events.value == ["started on a port: true"])
        }
    }

    @Test func `54: a shutdown ends handlers that wait`()
        async throws
    {
        let diary = Diary()
        try await serving(diary) { server in
            let client = try await connect(server)
            try await client.send("anna")
            #expect(try await client.receive() == "password?")
            // In the middle of a packet: not idle.
            try await client.writer.send("hal")
            try await waitUntil { await server.connections().first?.bytesIn == 8 }
            let counts = await server.shutdown(grace: .milliseconds(1))
            #expect(counts.cancelled == 1)
            #expect(diary.events.value.last?.hasPrefix("anna left: ") == true)
            #expect(await server.statistics().accepted == 1)
            await client.abort()
        }
    }

    @Test func `55: a server that stops listening serves those who are there to their end`()
        async throws
    {
        let diary = Diary()
        try await serving(diary) { server in
            let client = try await connect(server)
            try await client.send("anna")
            #expect(try await client.receive() == "password?")
            await server.close()
            try await client.send("still there?")
            #expect(try await client.receive() == "anna: still there?")
            #expect(await server.statistics().accepted == 1)
            let ending = await started { try await server.waitClosed() }
            await client.close()
            try await ending.value
        }
    }
}
