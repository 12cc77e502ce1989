// TCPProxy as its first lines describe it, in front of EchoServer.

import Glibc
import Testing

@Suite(.timeLimit(.minutes(2))) struct TCPProxyTests {
    private func withProxy(_ body: (RunningExample) async throws -> Void) async throws {
        try await RunningExample.run("EchoServer") { target in
            try await RunningExample.run("TCPProxy", "127.0.0.1:\(target.port)", body: body)
        }
    }

    @Test(.enabled(if: system("nc -h 2>&1 | grep -q OpenBSD") == 0))
    func `nc gets its lines back through the proxy`() async throws {
        try await withProxy { proxy in
            let nc = try await proxy.client(
                shell: #"printf 'hello\nagain\n' | nc -N 127.0.0.1 "$1""#)
            #expect(nc.output == "hello\nagain\n")
            #expect(nc.status == 0)
        }
    }

    /// The last line has no LF: its echo comes only after the end has gone through.
    @Test func `8 MB come back, the half-close goes through, and so does the end`() async throws {
        try await withProxy { proxy in
            let client = try await proxy.client(
                python: """
                    import random, socket, sys, threading
                    s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20)
                    sent = b"".join(random.randbytes(1000).replace(b"\\n", b"") + b"\\n"
                                    for _ in range(8000)) + b"last"
                    def send():
                        s.sendall(sent)
                        s.shutdown(socket.SHUT_WR)
                    threading.Thread(target=send).start()
                    print(s.makefile("rb").read() == sent)
                    """)
            #expect(client.output == "True\n")
        }
    }

    @Test func `a client that resets leaves the proxy serving`() async throws {
        try await withProxy { proxy in
            let client = try await proxy.client(
                python: """
                    import socket, struct, sys
                    for last in False, True:
                        s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20)
                        s.sendall(b"line\\n")
                        print(s.makefile("rb").readline())
                        linger = struct.pack("ii", 1, 0)
                        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                        s.close()
                    """)
            #expect(client.output == "b'line\\n'\nb'line\\n'\n")
        }
    }

    /// Port 1 of loopback has no server; the proxy says so on standard error and goes on.
    @Test func `without its target the proxy closes the client and lives`() async throws {
        try await RunningExample.run("TCPProxy", "127.0.0.1:1") { proxy in
            for _ in 0..<2 {
                let client = try await proxy.client(
                    python: """
                        import socket, sys
                        s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20)
                        try: print(s.recv(1))
                        except ConnectionResetError: print(b"")
                        """)
                #expect(client.output == "b''\n")
            }
            #expect(try await proxy.program.line().contains("Connection refused"))
        }
    }

    @Test(arguments: [
        ["x"], ["0", "nowhere"], ["0", "[::1]:0"], ["0", ":80"], ["0", "a:65536"],
    ])
    func `arguments that are none end it with its usage`(_ arguments: [String]) async throws {
        let end = try await Program.built("TCPProxy", arguments).end()
        #expect(end.output == "usage: TCPProxy [port] [host:port]\n")
        #expect(end.status == 2)
    }
}
