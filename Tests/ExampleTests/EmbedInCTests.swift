// EmbedInC as its first lines describe it: a C program whose timer ticks while a Swift service in
// the same thread answers nc and a socket script.

import Foundation
import Glibc
import Testing

@Suite(.timeLimit(.minutes(2))) struct EmbedInCTests {
    /// Runs `body` while the program ticks each 20 ms.
    private func withHost(_ body: (RunningExample) async throws -> Void) async throws {
        try await RunningExample.run("EmbedInC", "20", body: body)
    }

    /// Reads output until a tick with a higher number than `tick`.
    private func nextTick(_ host: RunningExample, after tick: Int = 0) async throws -> Int {
        while true {
            let line = try await host.program.line()
            let number = try #require(Int(line.dropFirst(5)), "printed \(line)")
            #expect(line == "tick \(number)")
            if number > tick { return number }
        }
    }

    private func threads(of host: RunningExample) throws -> [String] {
        let folder = "/proc/\(host.program.processIdentifier)/task"
        return try FileManager.default.contentsOfDirectory(atPath: folder)
    }

    @Test(.enabled(if: system("nc -h 2>&1 | grep -q OpenBSD") == 0))
    func `nc gets its lines back with their numbers`() async throws {
        try await withHost { host in
            let nc = try await host.client(
                shell: #"printf 'hello\nagain\nunfinished' | nc -N 127.0.0.1 "$1""#)
            #expect(nc.output == "1 hello\n2 again\n3 unfinished\n")
            #expect(nc.status == 0)
        }
    }

    @Test func `the timer ticks on while a client is served, all in one thread`() async throws {
        try await withHost { host in
            var tick = try await nextTick(host)
            for _ in 0..<3 {
                let client = try await host.client(
                    python: """
                        import socket, sys
                        s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20)
                        replies = s.makefile("rb")
                        for number in range(1, 201):
                            s.sendall(b"line\\n")
                            assert replies.readline() == b"%d line\\n" % number
                        print("ok")
                        """)
                #expect(client.output == "ok\n")
                tick = try await nextTick(host, after: tick)
                let threads = try threads(of: host)
                #expect(threads == ["\(host.program.processIdentifier)"])
            }
        }
    }

    @Test(arguments: [SIGTERM, SIGINT]) func `a signal ends it, with a client connected`(
        _ number: Int32
    ) async throws {
        try await withHost { host in
            let client = try Program(
                "/usr/bin/env",
                [
                    "python3", "-c",
                    """
                    import socket, sys
                    s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20)
                    replies = s.makefile("rb")
                    s.sendall(b"line\\n")
                    print(replies.readline(), flush=True)
                    print(replies.readline())
                    """, host.port,
                ])
            defer { client.stop() }
            #expect(try await client.line() == #"b'1 line\n'"#)
            kill(host.program.processIdentifier, number)
            let end = try await host.program.end()
            #expect(end.status == 0)
            #expect(end.output.contains(/stopped after \d+ ticks\n$/))
            #expect(try await client.line() == "b''")
        }
    }

    @Test func `a port that is taken ends it with the reason`() async throws {
        try await withHost { host in
            let second = try Program.built("EmbedInC", [host.port])
            defer { second.stop() }
            let end = try await second.end()
            #expect(end.status == 1)
            #expect(end.output.hasPrefix("EmbedInC: no service: cannot listen on 127.0.0.1:"))
            #expect(end.output.contains("Address already in use"))
        }
    }

    @Test(arguments: ["main/main.c", "service/Lines.swift"])
    func `each half has fewer than 100 lines and begins with how to run it`(
        _ path: String
    ) throws {
        let root = URL(fileURLWithPath: #filePath)
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        let text = try String(
            contentsOf: root.appending(path: "Examples/EmbedInC/\(path)"), encoding: .utf8)
        let lines = text.components(separatedBy: "\n")
        #expect(lines.count <= 100)
        #expect(lines.first?.hasPrefix("// EmbedInC") == true)
        #expect(lines.prefix(4).contains { $0.contains("swift run EmbedInC [port") })
    }
}
