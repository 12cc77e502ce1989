// MiniRedis as its first lines describe it: spoken to by Redis's own tools, and by scripts that say
// what those never would.

import Glibc
import Testing

private let hasRedisTools =
    system("command -v redis-cli redis-benchmark >/dev/null") == 0

@Suite(.timeLimit(.minutes(2))) struct MiniRedisTests {
    /// What every script begins with.
    private static let client = """
        import socket, sys, threading, time
        def connect():
            global s, replies
            s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20)
            replies = s.makefile("rb")
        connect()
        def bulk(data): return b"$%d\\r\\n%s\\r\\n" % (len(data), data)
        def request(*words): return b"*%d\\r\\n" % len(words) + b"".join(map(bulk, words))
        def expect(sent, wanted):
            s.sendall(sent)
            got = replies.read(len(wanted))
            assert got == wanted, f"{got[:100]!r} instead of {wanted[:100]!r}"

        """

    private func expectOK(_ script: String) async throws {
        try await RunningExample.run("MiniRedis") { server in
            let client = try await server.client(python: Self.client + script + "\nprint('ok')\n")
            #expect(client.output == "ok\n")
        }
    }

    @Test(.enabled(if: hasRedisTools))
    func `redis-cli gets what Redis would answer`() async throws {
        try await RunningExample.run("MiniRedis") { server in
            let client = try await server.client(
                shell: """
                    printf '%s\\n' PING 'ECHO "a b"' 'SET k "some words"' 'GET k' 'GET none' \\
                        'INCR n' 'incr n' 'INCR k' 'EXPIRE n 100' 'EXPIRE none 1' \\
                        'DEL k n none' 'GET n' 'CONFIG GET save' 'FLY me' 'GET' \\
                    | redis-cli -p "$1" --no-raw
                    """)
            #expect(
                client.output == """
                    PONG
                    "a b"
                    OK
                    "some words"
                    (nil)
                    (integer) 1
                    (integer) 2
                    (error) ERR value is not an integer or out of range
                    (integer) 1
                    (integer) 0
                    (integer) 2
                    (nil)
                    (empty array)
                    (error) ERR unknown command or wrong number of arguments: FLY
                    (error) ERR unknown command or wrong number of arguments: GET

                    """)
        }
    }

    @Test(.enabled(if: hasRedisTools))
    func `redis-benchmark with a pipeline of 16 completes`() async throws {
        try await RunningExample.run("MiniRedis") { server in
            let benchmark = try await server.client(
                shell: #"redis-benchmark -p "$1" -P 16 -t ping,set,get -n 20000 --csv"#)
            #expect(benchmark.status == 0)
            for test in ["PING_INLINE", "PING_MBULK", "SET", "GET"] {
                #expect(benchmark.output.contains("\n\"\(test)\",\""), "\(benchmark.output)")
            }
            #expect(!benchmark.output.contains("rror"))
        }
    }

    @Test func `pipelined requests are answered in order, however they are cut`() async throws {
        try await expectOK(
            """
            sent = (b"PING\\r\\nping again\\n\\r\\n" + request(b"SET", b"k", b"v") + b"GET k\\r\\n"
                    + request(b"GET", b"none") + b"*0\\r\\n*-1\\r\\n" + request(b"Incr", b"n"))
            wanted = b"+PONG\\r\\n$5\\r\\nagain\\r\\n+OK\\r\\n$1\\r\\nv\\r\\n$-1\\r\\n:1\\r\\n"
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for size in 1, 2, 3, 7, len(sent):
                for start in range(0, len(sent), size): s.sendall(sent[start:start + size])
                expect(b"DEL n\\n", wanted + b":1\\r\\n")
            """)
    }

    @Test func `keys and values are any bytes, up to 512 KiB`() async throws {
        try await expectOK(
            """
            key = bytes(range(256))
            for value in b"", b"\\r\\n", b"$3\\r\\n*1\\r\\n\\0", bytes(range(256)) * 2048:
                expect(request(b"SET", key, value), b"+OK\\r\\n")
                expect(request(b"GET", key), bulk(value))
                expect(request(b"ECHO", value), bulk(value))
            expect(request(b"DEL", *[b"%d" % n for n in range(1022)], key), b":1\\r\\n")
            """)
    }

    @Test func `malformed input gets an error and a close, after the replies before it`()
        async throws
    {
        try await expectOK(
            """
            for text in (
                b"*x\\r\\n", b"*\\r\\n", b"*1025\\r\\n", b"*99999999999999999999\\r\\n",
                b"*1\\r\\nPING\\r\\n", b"*1\\r\\n$x\\r\\n", b"*1\\r\\n$\\r\\n",
                b"*1\\r\\n$-1\\r\\n",
                b"*1\\r\\n$524289\\r\\n", b"*1\\r\\n$9223372036854775807\\r\\n",
                b"*1\\r\\n$+4\\r\\nPING\\r\\n", b"*1\\r\\n$3\\r\\nPING\\r\\n",
                b"*1\\r\\n$4\\r\\nPINGxx",
            ):
                connect()
                expect(b"PING\\n" + text + b"PING\\n" * 100, b"+PONG\\r\\n-ERR Protocol error: ")
                rest = replies.read()
                assert rest.endswith(b"\\r\\n") and rest.count(b"\\n") == 1, rest
            """)
    }

    @Test func `what is too long is refused before it is gathered`() async throws {
        try await expectOK(
            """
            for text in (
                b"x" * 70_000, b"*" + b"1" * 70_000, b"*1\\r\\n$" + b"0" * 70_000,
                b"x " * 1025 + b"\\n", b"*3\\r\\n" + bulk(bytes(524288)) * 2 + b"$100\\r\\n",
            ):
                connect()
                expect(text, b"-ERR Protocol error: ")
                replies.read()
            """)
    }

    @Test func `a request that is no good gets an error, and the next one its reply`()
        async throws
    {
        try await expectOK(
            """
            number = b"-ERR value is not an integer or out of range\\r\\n"
            expect(b"SET n 9223372036854775807\\nINCR n\\nGET n\\n",
                   b"+OK\\r\\n" + number + bulk(b"9223372036854775807"))
            for time in b"EX 1x", b"XX 1", b"EX 99999999999999", b"PX -9223372036854775808":
                expect(b"SET t 1 " + time + b"\\nGET t\\n", number + b"$-1\\r\\n")
            expect(b"EXPIRE n soon\\n", number)
            expect(request(b"\\xff\\r\\n", b"x") + b"PING\\n",
                   b"-ERR unknown command or wrong number of arguments: \\r\\n+PONG\\r\\n")
            """)
    }

    @Test func `a key is gone when its time is over, and stays without one`() async throws {
        try await expectOK(
            """
            expect(b"SET a 1 PX 20\\nSET b 1 px 20\\nSET b 2\\nSET c 1 EX 1000\\nSET d 1\\n",
                   b"+OK\\r\\n" * 5)
            def value(key):
                s.sendall(b"GET %s\\n" % key)
                return None if replies.readline() == b"$-1\\r\\n" else replies.readline()
            end = time.monotonic() + 20
            while value(b"a") and time.monotonic() < end: time.sleep(0.005)
            assert [value(key) for key in (b"a", b"b", b"c")] == [None, b"2\\r\\n", b"1\\r\\n"]
            expect(b"EXPIRE c 0\\nGET c\\nEXPIRE d -5\\nGET d\\n", b":1\\r\\n$-1\\r\\n" * 2)
            """)
    }

    /// 100 MB of replies are more than any buffer holds: the requests wait with the client.
    @Test func `a client that reads late gets all replies`() async throws {
        try await expectOK(
            """
            value = b"x" * 524288
            expect(request(b"SET", b"k", value), b"+OK\\r\\n")
            sender = threading.Thread(target=lambda: s.sendall(b"GET k\\r\\n" * 200))
            sender.start()
            sender.join()
            expect(b"PING\\n", bulk(value) * 200 + b"+PONG\\r\\n")
            """)
    }
}
