// UDPTime as its first lines describe it, spoken to by clients of one script.

import Sluice
import Testing

@Suite(.timeLimit(.minutes(2))) struct UDPTimeTests {
    private static let client = """
        import re, socket, sys, time
        server = ("127.0.0.1", int(sys.argv[1]))
        class Client:
            def __init__(self):
                self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                self.socket.settimeout(20)
                self.socket.bind(("127.0.0.1", 0))
            def say(self, text):
                self.socket.sendto(text, server)
            def ask(self, text):
                self.say(text.ljust(20))
                answer, source = self.socket.recvfrom(100)
                assert source == server, source
                return answer.decode()

        """

    private func expectOK(_ script: String) async throws {
        try await RunningExample.run("UDPTime") { server in
            let client = try await server.client(python: Self.client + script + "\nprint('ok')\n")
            #expect(client.output == "ok\n")
        }
    }

    @Test func `questions are answered`() async throws {
        try await expectOK(
            """
            ann = Client()
            assert re.fullmatch(r"\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\dZ", ann.ask(b"utc"))
            assert abs(int(ann.ask(b"unix")) - time.time()) < 100
            """)
    }

    // ENDPOINTS 46, 60: the conversation keeps its state, and answers come in the order of the
    // questions.
    @Test func `each client has a conversation of its own`() async throws {
        try await expectOK(
            """
            ann, bob = Client(), Client()
            assert [ann.ask(b"count") for _ in range(3)] == ["1", "2", "3"]
            assert bob.ask(b"count") == "1"
            for _ in range(20): ann.say(b"count")
            answers = [ann.socket.recv(100).decode() for _ in range(20)]
            assert answers == [str(n) for n in range(4, 24)], answers
            """)
    }

    // ENDPOINTS 62. Whatever is wrong comes before a question that is answered: had it been
    // answered, that would have come first.
    @Test func `what is no question is not answered`() async throws {
        try await expectOK(
            """
            stranger, ann = Client(), Client()
            for bad in b"", b"UTC", b"\\xff\\xfe", b"x" * 60000:
                stranger.say(bad)
            assert stranger.ask(b"count") == "1"
            for bad in b"", b"UTC", b"\\xff\\xfe", b"x" * 60000:
                stranger.say(bad)
            assert stranger.ask(b"count") == "2"
            assert ann.ask(b"count") == "1"
            """)
    }

    // Each question that is too short is counted, and comes before one that is answered: had it
    // been answered, that would have come first.
    @Test func `an answer is never longer than its question`() async throws {
        try await expectOK(
            """
            forger = Client()
            for short in b"unix", b"unix     ", b"utc", b"utc".ljust(19):
                forger.say(short)
            assert forger.ask(b"count") == "5"
            for exact in b"unix".ljust(10), b"utc".ljust(20), b"count":
                forger.say(exact)
                answer = forger.socket.recv(100)
                assert 0 < len(answer) <= len(exact), (exact, answer)
            for bad in b" utc".ljust(20), b"utc\\0".ljust(20), b"utc utc".ljust(20):
                forger.say(bad)
            assert forger.ask(b"count") == "9"
            """)
    }

    @Test func `a client that is gone before its answers harms nobody`() async throws {
        try await expectOK(
            """
            gone, ann = Client(), Client()
            for _ in range(10): gone.say(b"utc".ljust(20))
            gone.socket.close()
            assert [ann.ask(b"count") for _ in range(3)] == ["1", "2", "3"]
            """)
    }

    @Test func `SIGTERM ends it`() async throws {
        try await RunningExample.run("UDPTime") { server in
            let client = try await server.client(
                python: Self.client + "assert Client().ask(b'count') == '1'\nprint('ok')\n")
            #expect(client.output == "ok\n")
            server.program.send(.terminate)
            #expect(try await server.program.end().status == 0)
        }
    }
}
