// PacketProxy as its first lines describe it, in front of GameServer.

import Sluice
import Testing

@Suite(.timeLimit(.minutes(2))) struct PacketProxyTests {
    private func withProxy(
        _ body: (_ server: RunningExample, _ proxy: RunningExample) async throws -> Void
    ) async throws {
        try await RunningExample.run("GameServer") { server in
            try await RunningExample.run("PacketProxy", server.port) { proxy in
                try await body(server, proxy)
            }
        }
    }

    /// What a player does, without waiting, and the four packets that it gets.
    private static let session = """
        ann = Player("ann", version)
        ann.socket.sendall(frame(0x77, b"not known to anybody"))
        ann.send("say", b"hello")
        ann.send("move", struct.pack(">iii", 1, 2, 3)[:4 * (version + 1)])
        for _ in range(4):
            print(ann.receive().hex())
        """

    @Test(arguments: [1, 2])
    func `a player gets the same bytes through it`(version: Int) async throws {
        let script = gameClient + "version = \(version)\n" + Self.session
        var (direct, passedOn) = ("", "")
        try await RunningExample.run("GameServer") { server in
            direct = try await server.client(python: script).output
        }
        try await withProxy { _, proxy in
            passedOn = try await proxy.client(python: script).output
        }
        #expect(direct.split(separator: "\n").count == 4)
        #expect(passedOn == direct)
    }

    @Test func `it prints each packet with its name and fields, in the player's version`()
        async throws
    {
        try await withProxy { server, proxy in
            let client = try await proxy.client(
                python: gameClient + """
                    ann = Player("ann", 2, welcome=1)
                    ann.expect("joined", number(1) + text("ann"))
                    ann.send("move", struct.pack(">iii", 1, -2, 3))
                    ann.expect("moved", number(1) + struct.pack(">iii", 1, -2, 3))
                    ann.socket.sendall(frame(0x77, b"?"))
                    ann.send("say", b"hello")
                    ann.expect("said", number(1) + b"hello")
                    """)
            #expect(client.output == "")
            for wanted in [
                "> Hello(version: 2)", "> Login(name: \"ann\")", "< Welcome(player: 1)",
                "< Joined(player: 1, name: \"ann\")",
                "> Move(position: (x: 1, y: -2, z: 3))",
                "< Moved(player: 1, position: (x: 1, y: -2, z: 3))",
            ] {
                #expect(try await proxy.program.line() == wanted)
            }
            // From here on the two directions may cross.
            var lines: Set<String> = []
            for _ in 0..<3 { lines.insert(try await proxy.program.line()) }
            #expect(lines.contains("> Say(text: \"hello\")"))
            #expect(lines.contains("< Said(player: 1, text: \"hello\")"))
            #expect(lines.contains { $0.hasPrefix("> UnknownPacket(") })
        }
    }

    @Test func `when the server dies the player's connection ends, and the other way round`()
        async throws
    {
        try await withProxy { server, proxy in
            let leaving = try await proxy.client(
                python: gameClient + """
                    ann = Player("ann", 2, welcome=1)
                    ann.expect("joined", number(1) + text("ann"))
                    bob = Player("bob", 2, welcome=2, port=int(sys.argv[2]))
                    bob.expect("joined", number(1) + text("ann"))
                    bob.expect("joined", number(2) + text("bob"))
                    linger = struct.pack("ii", 1, 0)
                    ann.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    ann.file.close(), ann.socket.close()
                    bob.expect("left", number(1))
                    """, server.port)
            #expect(leaving.output == "")
            let staying = try proxy.start(
                python: gameClient + """
                    cid = Player("cid", 1)
                    cid.receive(), cid.receive()
                    print("in")
                    try:
                        while cid.receive(): pass
                    except ConnectionResetError: pass
                    print("out")
                    """)
            #expect(try await staying.line() == "in")
            server.program.stop()
            #expect(try await staying.line() == "out")
        }
    }

    @Test(arguments: [["x"], ["0", "x"], ["0", "0"], ["0", "65536"]])
    func `arguments that are none end it with its usage`(_ arguments: [String]) async throws {
        let end = try await Program.built("PacketProxy", arguments).end()
        #expect(end.output == "usage: PacketProxy [port] [server's port]\n")
        #expect(end.status == 2)
    }
}
