// JSONLines as its first lines describe it, spoken to by Python and by its own client.

import Testing

@Suite(.timeLimit(.minutes(2))) struct JSONLinesTests {
    @Test func `requests in one packet and in pieces are answered in order`() async throws {
        try await RunningExample.run("JSONLines") { server in
            let client = try await server.client(
                python: """
                    import json, socket, sys
                    s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20)
                    replies = s.makefile("rb")
                    def line(**request):
                        return json.dumps(request).encode() + b"\\n"
                    s.sendall(b"".join(
                        line(id=n, operation="sum", numbers=[n, 0.5]) for n in range(1000)))
                    for n in range(1000):
                        assert json.loads(replies.readline()) == {"id": n, "result": n + 0.5}, n
                    pieces = '{"id": 7, "operation":', '"largest", "numbers": [3,', "9]}\\r\\n"
                    for piece in pieces:
                        s.sendall(piece.encode())
                    assert json.loads(replies.readline()) == {"id": 7, "result": 9}
                    s.sendall(line(id=8, operation="product", numbers=[]))
                    s.shutdown(socket.SHUT_WR)
                    print(replies.read())
                    """)
            #expect(client.output == "b'{\"id\":8,\"result\":1}\\n'\n")
        }
    }

    @Test func `what is no request is answered by an error, and the next line counts`()
        async throws
    {
        try await RunningExample.run("JSONLines") { server in
            let client = try await server.client(
                python: """
                    import json, socket, sys
                    s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20)
                    replies = s.makefile("rb")
                    bad = [
                        b"", b"{", b"not JSON", b"[1]", b"9" * 5000, b"[" * 50000, b"x" * 70000,
                        b"\\xff", b"\\0[\\0[", b'{"id": 1, "operation": "none", "numbers": []}',
                        b'{"id": 99999999999999999999, "operation": "sum", "numbers": []}',
                        b'{"id": 1, "operation": "sum", "numbers": [1e999]}',
                        b'{"id": 1, "operation": "largest", "numbers": []}',
                    ]
                    for line in bad:
                        s.sendall(line + b"\\n")
                        answer = json.loads(replies.readline())
                        assert list(answer)[-1] == "error" or "error" in answer, (line, answer)
                        print(answer["error"])
                    s.sendall(b'{"id": 2, "operation": "sum", "numbers": [1, 2]}\\n')
                    print(replies.readline())
                    """)
            let lines = client.output.split(separator: "\n")
            #expect(lines.count == 14)
            #expect(lines.last == "b'{\"id\":2,\"result\":3}\\n'")
            #expect(lines.contains("JSON nested deeper than 128"))
            #expect(lines.contains("too long"))
        }
    }

    @Test func `its own client prints the answer`() async throws {
        try await RunningExample.run("JSONLines") { server in
            for (words, line) in [
                (["product", "6", "7"], "product = 42.0\n"), (["largest"], "largest = no result\n"),
            ] {
                let asking = try Program.built("JSONLines", ["ask", server.port] + words)
                let end = try await asking.end()
                #expect(end.output == line)
                #expect(end.status == 0)
            }
        }
    }

    @Test func `a port that is no number ends it with its usage`() async throws {
        let end = try await Program.built("JSONLines", ["many"]).end()
        #expect(end.output.hasPrefix("usage: JSONLines [port]"))
        #expect(end.status == 2)
    }
}
