// DescriptorPass as its first lines describe it: a front, a worker, and clients; and Python as the
// other side of passing descriptors, both ways. ENDPOINTS 24.

import Glibc
import Sluice
import SluiceTestKit
import Testing

@Suite(.timeLimit(.minutes(2))) struct DescriptorPassTests {
    @Test func `a client of the front is served by the worker`() async throws {
        try await withPassage { front, worker, _ in
            let client = try await front.client(python: Self.client)
            #expect(
                client.output == String(repeating: "\(worker.processIdentifier) ", count: 3) + "\n")
        }
    }

    /// A hundred at once, and the worker replaced in between: old connections live on in the old
    /// one until it ends.
    @Test func `many clients, and a worker that is replaced`() async throws {
        try await withPassage { front, worker, path in
            let clients = try await front.client(
                python: """
                    import socket, sys
                    to = "127.0.0.1", int(sys.argv[1])
                    clients = [socket.create_connection(to, 20) for _ in range(100)]
                    for c in clients: c.sendall(b"one\\ntwo\\n")
                    for c in clients: c.shutdown(socket.SHUT_WR)
                    print(len({c.makefile("rb").read() for c in clients}))
                    """)
            #expect(clients.output == "1\n")
            worker.send(.terminate)
            #expect(try await worker.end().status == 0)
            let next = try Program.built("DescriptorPass", ["worker", path])
            defer { next.stop() }
            _ = try await next.line()
            let client = try await front.client(python: Self.client)
            #expect(
                client.output == String(repeating: "\(next.processIdentifier) ", count: 3) + "\n")
        }
    }

    @Test func `without a worker the front closes the client and lives`() async throws {
        try await withPassage { front, worker, path in
            worker.stop()
            let client = try await front.client(
                python: """
                    import socket, sys
                    s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20)
                    try: print(s.recv(1))
                    except ConnectionResetError: print(b"")
                    """)
            #expect(client.output == "b''\n")
            let next = try Program.built("DescriptorPass", ["worker", path])
            defer { next.stop() }
            _ = try await next.line()
            #expect(try await front.client(python: Self.client).status == 0)
        }
    }

    @Test(arguments: [[], ["back"], ["front", "x"], ["worker", "a", "b"]])
    func `arguments that are none end it with its usage`(_ arguments: [String]) async throws {
        let end = try await Program.built("DescriptorPass", arguments).end()
        #expect(end.output == "usage: DescriptorPass worker [path] | front [port] [path]\n")
        #expect(end.status == 2)
    }

    /// Three lines in pieces; prints the numbers before the replies.
    private static let client = """
        import socket, sys
        s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20)
        replies = s.makefile("rb")
        for piece in b"fir", b"st\\nsecond\\nthird\\n": s.sendall(piece)
        for line in b"first", b"second", b"third":
            number, text = replies.readline().split()
            assert text == line
            print(number.decode(), end=" ")
        print()
        s.shutdown(socket.SHUT_WR)
        assert replies.read() == b""
        """

    private func withPassage(
        _ body: (RunningExample, _ worker: Program, _ path: String) async throws -> Void
    ) async throws {
        let path = "/tmp/sluice-\(getpid())-\(UInt64.random(in: 0 ... .max)).sock"
        defer { unlink(path) }
        let worker = try Program.built("DescriptorPass", ["worker", path])
        defer { worker.stop() }
        #expect(try await worker.line() == "waiting at \(path)")
        let front = try Program.built("DescriptorPass", ["front", "0", path])
        defer { front.stop() }
        let line = try await front.line()
        let port = try #require(line.split(separator: ":").last)
        #expect(line == "listening on 127.0.0.1:\(port)")
        try await body(RunningExample(program: front, port: String(port)), worker, path)
    }
}

@Suite(.timeLimit(.minutes(2))) struct PythonPassingTests {
    /// socket.send_fds of Python: the reading ends of three pipes with `hi`, whose texts come here;
    /// then recv_fds gets three writing ends.
    @Test func `24: Python sends three descriptors, and gets three`() async throws {
        let path = "/tmp/sluice-\(getpid())-\(UInt64.random(in: 0 ... .max)).sock"
        let accepted = Handover<StreamEndpoint<String, String>>()
        try await withLoop { _ in
            let server = try await startServer(.unix(path: path), codec: LineCodec.lines()) {
                accepted.give($0)
                try await $0.writer.waitClosed()
            }
            let python = try Program("/usr/bin/env", ["python3", "-c", Self.peer, path])
            try await eventually("Python connects") { accepted.hasValue }
            let endpoint = accepted.take()
            guard var received = try await endpoint.receive(ancillaryCapacity: 3) else {
                throw ProgramError(description: "no packet")
            }
            #expect(received.packet == "hi")
            for number in 0..<3 {
                guard let descriptor = received.ancillary.takeDescriptor() else {
                    throw ProgramError(description: "descriptor \(number) is missing")
                }
                let reader = try await adoptPipe(reading: descriptor.take())
                #expect(try await reader.readToEnd() == bytes("pipe \(number)"))
            }
            let pipes = try (0..<3).map { _ in try WatchedPipe() }
            try await endpoint.send(
                "there", ancillary: Ancillary(descriptors: pipes.map(\.writing)))
            for pipe in pipes { pipe.closeWriting() }
            let end = try await python.end()
            #expect(end.output == "b'there\\n' [1, 1, 1]\n")
            #expect(pipes.allSatisfy { $0.isForgotten })
            await endpoint.close()
            await server.close()
        }
    }

    private static let peer = """
        import os, socket, sys
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(20)
        s.connect(sys.argv[1])
        readers = []
        for number in range(3):
            reader, writer = os.pipe()
            os.write(writer, b"pipe %d" % number)
            os.close(writer)
            readers.append(reader)
        socket.send_fds(s, [b"hi\\n"], readers)
        for reader in readers: os.close(reader)
        data, fds, flags, address = socket.recv_fds(s, 100, 3)
        print(data, [os.write(fd, b"x") for fd in fds])
        """
}
