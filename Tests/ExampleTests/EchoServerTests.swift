// EchoServer as its first lines describe it, spoken to by nc and by a socket script.

import Glibc
import Testing

@Suite(.timeLimit(.minutes(2))) struct EchoServerTests {
    @Test(.enabled(if: system("nc -h 2>&1 | grep -q OpenBSD") == 0))
    func `nc gets its lines back`() async throws {
        try await RunningExample.run("EchoServer") { server in
            let nc = try await server.client(
                shell: #"printf 'hello\nagain\n' | nc -N 127.0.0.1 "$1""#)
            #expect(nc.output == "hello\nagain\n")
            #expect(nc.status == 0)
        }
    }

    @Test func `lines in pieces and an unfinished last line come back`() async throws {
        try await RunningExample.run("EchoServer") { server in
            let client = try await server.client(
                python: """
                    import socket, sys
                    s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20)
                    replies = s.makefile("rb")
                    for piece in b"fir", b"st\\nsecond\\nthi":
                        s.sendall(piece)
                    print(replies.readline(), replies.readline())
                    s.shutdown(socket.SHUT_WR)
                    print(replies.read())
                    """)
            #expect(client.output == "b'first\\n' b'second\\n'\nb'thi'\n")
        }
    }

    @Test func `a client that resets leaves the server serving`() async throws {
        try await RunningExample.run("EchoServer") { server in
            let client = try await server.client(
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

    @Test func `a port that is no number ends it with its usage`() async throws {
        let program = try Program.built("EchoServer", ["many"])
        let end = try await program.end()
        #expect(end.output == "usage: EchoServer [port]\n")
        #expect(end.status == 2)
    }
}
