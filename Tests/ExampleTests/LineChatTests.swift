// LineChat as its first lines describe it, spoken to by several clients of one script.

import Testing

@Suite(.timeLimit(.minutes(2))) struct LineChatTests {
    /// What every script begins with.
    private static let client = """
        import socket, sys
        class Client:
            def __init__(self, name, receive_buffer=0):
                self.socket = socket.socket()
                if receive_buffer:
                    self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
                self.socket.settimeout(20)
                self.socket.connect(("127.0.0.1", int(sys.argv[1])))
                self.lines = self.socket.makefile("rb")
                self.expect("nickname?")
                self.say(name)
            def say(self, text):
                self.socket.sendall(text.encode() + b"\\n")
            def line(self):
                return self.lines.readline().decode().rstrip("\\n")
            def expect(self, *wanted):
                for text in wanted:
                    got = self.line()
                    assert got == text, f"{got!r} instead of {text!r}"

        """

    private func expectOK(_ script: String) async throws {
        try await RunningExample.run("LineChat") { server in
            let client = try await server.client(python: Self.client + script + "\nprint('ok')\n")
            #expect(client.output == "ok\n")
        }
    }

    @Test func `everybody in the room hears a line, and who comes and goes`() async throws {
        try await expectOK(
            """
            ann = Client("ann")
            ann.expect("* ann joined")
            bob = Client("bob")
            bob.expect("* bob joined")
            ann.expect("* bob joined")
            ann.say("hello")
            ann.expect("ann: hello")
            bob.expect("ann: hello")
            bob.say("/quit")
            bob.expect("")
            ann.expect("* bob left")
            ann.socket.shutdown(socket.SHUT_WR)
            ann.expect("")
            """)
    }

    @Test func `two rooms do not hear each other`() async throws {
        try await expectOK(
            """
            ann, bob = Client("ann"), Client("bob")
            ann.expect("* ann joined", "* bob joined")
            bob.expect("* bob joined")
            bob.say("/join north")
            ann.expect("* bob left for north")
            bob.expect("* bob left for north", "* bob joined")
            ann.say("anybody?")
            ann.expect("ann: anybody?")
            bob.say("/who")
            bob.expect("* in north: bob")
            bob.say("/join lobby")
            bob.expect("* bob left for lobby", "* bob joined")
            ann.expect("* bob joined")
            ann.say("/who")
            ann.expect("* in lobby: ann, bob")
            """)
    }

    @Test func `a taken or empty nickname is refused`() async throws {
        try await expectOK(
            """
            ann = Client("ann")
            ann.expect("* ann joined")
            for name in "ann", "":
                Client(name).expect("* that nickname is taken or empty", "")
            ann.socket.close(), ann.lines.close()
            while True:  # the name is free again as soon as the server has seen the end
                again = Client("ann")
                if again.line() == "* ann joined": break
            """)
    }

    // Ann and Bob go on in lock step while the mute client's queues fill.
    @Test func `a client that never reads delays nobody and is dropped`() async throws {
        try await expectOK(
            """
            mute = Client("mute", receive_buffer=4096)
            ann, bob = Client("ann"), Client("bob")
            ann.expect("* ann joined", "* bob joined")
            bob.expect("* bob joined")
            notice, seen = "* mute was dropped: it does not read", set()
            for turn in range(100000):
                text = f"{turn} " + "x" * 1000
                ann.say(text)
                for client in ann, bob:
                    line = client.line()
                    if line == notice:
                        seen.add(client)
                        line = client.line()
                    assert line == "ann: " + text, line
                if len(seen) == 2: break
            assert len(seen) == 2, "never dropped"
            """)
    }
}
