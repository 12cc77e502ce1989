// DescriptorPass: one process accepts TCP connections, another one serves them. The sockets
// themselves are passed over a Unix socket; the front has nothing to do with what is said.
//
//   swift run DescriptorPass worker [path]          prints "waiting at /tmp/worker.sock"; serves
//                                                   what it is passed
//   swift run DescriptorPass front [port] [path]    prints "listening on 127.0.0.1:8891"
//   nc 127.0.0.1 8891                               type a line: it comes back with the number of
//                                                   the process that served it, the worker's
//
// A worker can be replaced while the front goes on: its connections live on in the old one.
// SIGTERM or Ctrl-C ends either; a worker's connections may finish, unless a second one comes.

import Glibc
import Sluice

/// What was read before the socket was passed on; beside it travels the socket.
let codec = FramedCodec(LengthPrefixFraming(UInt32.self, limit: 1 << 20), BytesSerializer())

typealias Passage = StreamEndpoint<[UInt8], [UInt8]>

// MARK: The front

/// Gives a client away, to whatever worker is there now.
func pass(_ reader: StreamReader, _ writer: StreamWriter, to path: String) async throws {
    let worker = try await openUnixConnection(path: path)
    let passage = Passage(worker.reader, worker.writer, codec)
    let client = try await writer.detach()
    defer { close(client.descriptor) }
    try await passage.send(client.unread, ancillary: Ancillary(descriptors: [client.descriptor]))
    await passage.close()
}

func runFront(port: Int, path: String) async throws -> Bool {
    let server = try await startServer(port: port) { reader, writer in
        try await pass(reader, writer, to: path)
    }
    print("listening on \(server.addresses[0])")
    fflush(nil)  // standard output may be a pipe
    return try await server.serveForever(until: [.terminate, .interrupt])?.allFinished != false
}

// MARK: The worker

/// Takes over the clients that a front passes. Whoever else can connect is not believed.
func takeOver(_ passage: Passage) async throws {
    let front: PeerCredentials = try passage.attribute(.peerCredentials)
    guard front.user == getuid() else { return }
    // At most one descriptor: a message with more is an error, and all of them are closed.
    while var passed = try await passage.receive(ancillaryCapacity: 1) {
        guard let socket = passed.ancillary.takeDescriptor() else { continue }
        let client = try await adoptSocket(socket)
        client.reader.unread(passed.packet)
        try await serve(client.reader, client.writer)
    }
}

/// One client; what it says comes back, with this process's number before each line.
func serve(_ reader: StreamReader, _ writer: StreamWriter) async throws {
    do {
        while let line = try await reader.readLine() {
            try await writer.send(Array("\(getpid()) ".utf8) + line)
        }
    } catch StreamError.reset {
        // A client that has gone is none of the front's business.
    }
    await writer.close()
}

func runWorker(path: String) async throws -> Bool {
    let server = try await startServer(.unix(path: path), codec: codec, handler: takeOver)
    print("waiting at \(server.addresses[0])")
    fflush(nil)
    return try await server.serveForever(until: [.terminate, .interrupt])?.allFinished != false
}

// MARK: Which of the two

let arguments = Array(CommandLine.arguments.dropFirst())
let standard = "/tmp/worker.sock"
switch (arguments.first, arguments.count) {
case ("worker", 1...2):
    exit(try await runWorker(path: arguments.dropFirst().first ?? standard) ? 0 : 1)
case ("front", 1...3):
    guard let port = Int(arguments.dropFirst().first ?? "8891") else { fallthrough }
    exit(try await runFront(port: port, path: arguments.dropFirst(2).first ?? standard) ? 0 : 1)
default:
    print("usage: DescriptorPass worker [path] | front [port] [path]")
    exit(2)
}
