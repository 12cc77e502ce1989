// How the examples end when the operator says so: by real signals to real programs.

import Sluice
import Testing

@Suite(.timeLimit(.minutes(2))) struct ExampleSignalTests {
    @Test(arguments: ["EchoServer", "LineChat", "TCPProxy", "FileReceiver", "MiniRedis"])
    func `SIGTERM and SIGINT end an example with 0 though a client is connected`(
        _ name: String
    ) async throws {
        // TCPProxy takes its target, FileReceiver its folder, which it would make.
        let argument = name == "FileReceiver" ? "/tmp" : "127.0.0.1:1"
        for signal in [Signal.terminate, .interrupt] {
            try await RunningExample.run(name, argument) { server in
                let client = try server.start(
                    python: """
                        import socket, sys
                        s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20)
                        print("connected")
                        while s.recv(100): pass
                        print("end")
                        """)
                defer { client.stop() }
                _ = try await client.line()
                server.program.send(signal)
                #expect(try await server.program.end().status == 0)
                #expect(try await client.line() == "end")
            }
        }
    }

    /// The rest of the line is sent when nobody can connect any more: then the drain has begun.
    @Test func `after SIGTERM the request in flight gets its reply, and the end is 0`()
        async throws
    {
        try await RunningExample.run("EchoServer") { server in
            let client = try server.start(python: Self.inFlight + "print(replies.read())\n")
            defer { client.stop() }
            #expect(try await client.line() == "b'first\\n'")
            server.program.send(.terminate)
            #expect(try await client.line() == "refused")
            #expect(try await client.end().output == "b'second\\n'\n")
            #expect(try await server.program.end().output == "")
            #expect(try await server.program.end().status == 0)
        }
    }

    @Test func `a second SIGTERM ends it with 1 though a client is stuck`() async throws {
        try await RunningExample.run("EchoServer") { server in
            let stuck = Self.inFlight.replacing("s.sendall(b\"ond\\n\")", with: "")
            let client = try server.start(
                python: stuck + """

                    try: print(replies.read())
                    except ConnectionResetError: print("reset")
                    """)
            defer { client.stop() }
            #expect(try await client.line() == "b'first\\n'")
            server.program.send(.terminate)
            #expect(try await client.line() == "refused")
            server.program.send(.terminate)
            #expect(try await server.program.end().status == 1)
            #expect(try await client.line() == "reset")
        }
    }

    private static let inFlight = """
        import socket, sys, time
        address = "127.0.0.1", int(sys.argv[1])
        s = socket.create_connection(address, 20)
        replies = s.makefile("rb")
        s.sendall(b"first\\nsec")
        print(replies.readline())
        while True:
            try: socket.create_connection(address, 20).close()
            except OSError: break
            time.sleep(0.01)
        print("refused")
        s.sendall(b"ond\\n")

        """
}
