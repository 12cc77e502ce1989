// FileReceiver as its first lines describe it: what is sent lies in the folder, and nothing else.

import Foundation
import Testing

@Suite(.timeLimit(.minutes(2))) struct FileReceiverTests {
    private func withReceiver(
        _ body: (RunningExample, _ folder: String) async throws -> Void
    ) async throws {
        let folder = FileManager.default.temporaryDirectory
            .appending(path: "sluice-received-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try await RunningExample.run("FileReceiver", folder) { try await body($0, folder) }
    }

    private func names(in folder: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
    }

    @Test(.enabled(if: system("nc -h 2>&1 | grep -q OpenBSD") == 0))
    func `nc sends a file and is told its name`() async throws {
        try await withReceiver { receiver, folder in
            let nc = try await receiver.client(
                shell: #"printf '\0\0\0\0\0\0\0\5hello' | nc -N 127.0.0.1 "$1""#)
            #expect(nc.output == "1 5\n")
            #expect(try String(contentsOfFile: folder + "/1", encoding: .utf8) == "hello")
            #expect(try names(in: folder) == ["1"])
        }
    }

    @Test func `20 MB, an empty file and a small one arrive whole, by their SHA-256`()
        async throws
    {
        try await withReceiver { receiver, folder in
            let client = try await receiver.client(
                python: """
                    import hashlib, random, socket, struct, sys
                    s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20)
                    replies = s.makefile("rb")
                    files = [random.randbytes(20_000_000), b"", b"small"]
                    stream = b"".join(struct.pack(">Q", len(f)) + f for f in files)
                    while stream:
                        piece = random.choice([1, 7, 1000, 3_000_000])
                        s.sendall(stream[:piece])
                        stream = stream[piece:]
                    for number, file in enumerate(files, 1):
                        assert replies.readline() == b"%d %d\\n" % (number, len(file))
                        with open(f"{sys.argv[2]}/{number}", "rb") as stored:
                            got = hashlib.sha256(stored.read()).hexdigest()
                        assert got == hashlib.sha256(file).hexdigest(), number
                    print("ok")
                    """, folder)
            #expect(client.output == "ok\n")
            #expect(try names(in: folder) == ["1", "2", "3"])
        }
    }

    @Test func `what a receiver before this one has stored stays`() async throws {
        try await withReceiver { receiver, folder in
            try "old".write(toFile: folder + "/1", atomically: true, encoding: .utf8)
            let client = try await receiver.client(
                python: """
                    import socket, sys
                    s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20)
                    s.sendall(bytes(7) + b"\\3new")
                    print(s.makefile("rb").readline())
                    """)
            #expect(client.output == "b'2 3\\n'\n")
            #expect(try String(contentsOfFile: folder + "/1", encoding: .utf8) == "old")
        }
    }

    @Test func `a file whose sender goes in the middle leaves nothing`() async throws {
        try await withReceiver { receiver, folder in
            let client = try await receiver.client(
                python: """
                    import os, socket, struct, sys, time
                    address = "127.0.0.1", int(sys.argv[1])
                    s = socket.create_connection(address, 20)
                    s.sendall(struct.pack(">Q", 1_000_000) + bytes(500_000))
                    while not os.listdir(sys.argv[2]): time.sleep(0.01)
                    s.shutdown(socket.SHUT_WR)
                    try: assert s.recv(1) == b""
                    except ConnectionResetError: pass
                    print("gone")
                    """, folder)
            #expect(client.output == "gone\n")
            #expect(try await receiver.program.line().contains("237856 of 262144 bytes"))
            let next = try await receiver.client(
                python: """
                    import os, socket, sys, time
                    s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20)
                    s.sendall(bytes(7) + b"\\3abc")
                    print(s.makefile("rb").readline())
                    end = time.monotonic() + 20
                    while os.listdir(sys.argv[2]) != ["2"] and time.monotonic() < end:
                        time.sleep(0.01)
                    """, folder)
            #expect(next.output == "b'2 3\\n'\n")
            #expect(try names(in: folder) == ["2"])
        }
    }

    @Test(arguments: ["\\0\\0\\0\\1\\0\\0\\0\\1", "\\377\\377\\377\\377\\377\\377\\377\\377"])
    func `a length over the limit is refused, not believed`(_ length: String) async throws {
        try await withReceiver { receiver, folder in
            let client = try await receiver.client(
                shell: "printf '\(length)x' | nc -N 127.0.0.1 \"$1\"")
            #expect(client.output.hasPrefix("too long: "))
            #expect(try names(in: folder) == [])
        }
    }
}
