// Stage: what a scenario of the fault sweep runs on: a loop over a failing call table, and accounts
// of the tasks it started, the descriptors it made itself, and what it saw that must not be.

import Glibc
import Sluice
import SluiceTestKit

/// One example of use, run over and over while its system calls fail one after the other.
struct Scenario: Sendable {
    let name: String
    let body: @Sendable (Stage) async throws -> Void
}

/// Something a scenario read that nobody sent, or another thing that no failing call excuses.
struct WrongResult: Error, CustomStringConvertible {
    let description: String
}

/// One run of a scenario.
final class Stage: Sendable {
    let loop: EventLoop
    let faults: FaultTable
    private let handlersRunning = Shared(0)
    private let complaints = Shared<[String]>([])
    private let foreign = Shared<[ForeignDescriptor]>([])

    init(loop: EventLoop, faults: FaultTable) {
        self.loop = loop
        self.faults = faults
    }

    /// Long past every deadline of the product's own: who still waits then would wait for ever.
    static let patience = Duration.seconds(600)

    /// What is left although the scenario is over. Descriptors among it are closed.
    func takeLeftovers() -> [String] {
        var all = complaints.value
        if handlersRunning.value != 0 { all.append("\(handlersRunning.value) handlers run") }
        for descriptor in foreign.value where descriptor.isOpen {
            all.append("descriptor \(descriptor.fd), adopted, is open")
            close(descriptor.fd)
        }
        return all
    }

    // MARK: Servers

    /// Options that print nothing.
    static func quiet(_ change: (inout ServerOptions) -> Void = { _ in }) -> ServerOptions {
        var options = ServerOptions()
        options.report = { _ in }
        change(&options)
        return options
    }

    /// Runs a server and its clients, then shuts the server down and looks at its books.
    func serve(
        _ address: ListenAddress = .host("127.0.0.1", port: 0),
        options: ServerOptions = Stage.quiet(), handler: @escaping ClientHandler,
        clients: @Sendable (Server) async throws -> Void
    ) async throws {
        let server = try await startServer(address, options: options) { reader, writer in
            try await self.counted { try await handler(reader, writer) }
        }
        let result: Result<Void, any Error>
        do {
            result = .success(try await withTimeout(Self.patience) { try await clients(server) })
        } catch {
            result = .failure(error)
        }
        // In a task of its own: the deadline of a scenario around this one may be over.
        let counts = try await loop.spawn { await server.shutdown(grace: .seconds(2)) }.value
        if counts.aborted != 0 { complaints.append("handlers that could not be ended: \(counts)") }
        try await withTimeout(Self.patience) { try await server.waitClosed() }
        let books = await server.statistics()
        if books.accepted != books.closed + books.current || books.current != 0 {
            complaints.append("the books do not balance: \(books)")
        }
        let listed = await server.connections()
        if !listed.isEmpty { complaints.append("\(listed.count) connections are listed") }
        try result.get()
    }

    /// Counts a handler while it runs.
    private func counted(_ body: () async throws -> Void) async throws {
        handlersRunning.withLock { $0 += 1 }
        defer { handlersRunning.withLock { $0 -= 1 } }
        try await body()
    }

    // MARK: Descriptors from elsewhere

    /// Both ends of a pipe, to be adopted.
    func pipe() throws -> (reading: Int32, writing: Int32) {
        var descriptors: [Int32] = [-1, -1]
        guard Glibc.pipe(&descriptors) == 0 else {
            throw WrongResult(description: "no pipe: \(errno)")
        }
        for descriptor in descriptors { note(descriptor) }
        return (descriptors[0], descriptors[1])
    }

    /// A connected pair of Unix sockets, to be adopted.
    func socketPair() throws -> (Int32, Int32) {
        var descriptors: [Int32] = [-1, -1]
        let kind = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
        guard socketpair(AF_UNIX, kind, 0, &descriptors) == 0 else {
            throw WrongResult(description: "no socketpair: \(errno)")
        }
        for descriptor in descriptors { note(descriptor) }
        return (descriptors[0], descriptors[1])
    }

    /// A socket that listens on a port of 127.0.0.1, to be adopted.
    func listeningSocket() throws -> Int32 {
        let (fd, _) = try boundSocket()
        note(fd)
        guard listen(fd, 16) == 0 else { throw WrongResult(description: "no listener: \(errno)") }
        return fd
    }

    /// An address of 127.0.0.1 where nobody listens.
    func unusedAddress() throws -> SocketAddress {
        let (fd, port) = try boundSocket()
        close(fd)
        guard let address = SocketAddress("127.0.0.1", port: port) else {
            throw WrongResult(description: "no address")
        }
        return address
    }

    private func boundSocket() throws -> (fd: Int32, port: Int) {
        let fd = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = in_addr_t(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafeMutableBytes(of: &address) { raw in
            let pointer = raw.baseAddress?.assumingMemoryBound(to: sockaddr.self)
            return bind(fd, pointer, length) == 0 && getsockname(fd, pointer, &length) == 0
        }
        guard result else { throw WrongResult(description: "no port: \(errno)") }
        return (fd, Int(UInt16(bigEndian: address.sin_port)))
    }

    private func note(_ fd: Int32) {
        foreign.append(ForeignDescriptor(fd))
    }

    /// Adopts a socket. Refused before it was taken over, it is still ours to close.
    func adopt(socket fd: Int32) async throws -> StreamEnd {
        do throws(StreamError) {
            return StreamEnd(try await adoptSocket(fd))
        } catch {
            if case .invalidOption = error { closeOwn(fd) }
            throw error
        }
    }

    /// Closes a descriptor that no stream has, or has any more.
    func closeOwn(_ fd: Int32) {
        cf_release(faults.state, fd)
        close(fd)
    }
}

/// A descriptor that the call table's ledger did not see being made; known by its inode, since its
/// number may be another's by now.
private struct ForeignDescriptor: Sendable {
    let fd: Int32
    private let inode: UInt64

    init(_ fd: Int32) {
        self.fd = fd
        inode = Self.inode(of: fd)
    }

    var isOpen: Bool { Self.inode(of: fd) == inode }

    private static func inode(of fd: Int32) -> UInt64 {
        var status = stat()
        return fstat(fd, &status) == 0 ? UInt64(status.st_ino) : 0
    }
}

// MARK: What clients do

extension StreamEnd {
    /// Sends a line and expects the same line back. An end instead of it is the peer's fault.
    func exchange(_ text: String) async throws {
        try await writer.send(text + "\n")
        try await expect(text)
    }

    /// Expects a line.
    func expect(_ text: String) async throws {
        guard let line = try await reader.readLine() else {
            throw StreamError.truncated(received: [], expected: nil)
        }
        guard line == bytes(text + "\n") else {
            // The beginning of it and then the end is what a connection that broke looks like.
            if bytes(text + "\n").starts(with: line) {
                throw StreamError.truncated(received: line, expected: nil)
            }
            throw WrongResult(description: "read \(line) instead of \(text)")
        }
    }
}

extension Stage {
    /// Runs the body with streams and ends them: in order, or with an abort after an error.
    func using(_ ends: StreamEnd..., body: () async throws -> Void) async throws {
        do {
            try await body()
        } catch {
            for end in ends { await end.writer.abort() }
            throw error
        }
        for end in ends { end.writer.startClosing() }
        for end in ends { try await end.writer.waitClosed() }
    }

    /// Connects to a server over TCP, runs the body and ends the connection.
    func connect(_ server: Server, body: (StreamEnd) async throws -> Void) async throws {
        let host = server.addresses.first?.host ?? "127.0.0.1"
        let end = StreamEnd(try await openConnection(host: host, port: server.port))
        try await using(end) { try await body(end) }
    }
}

/// Runs all bodies at the same time; the first that throws ends the others.
func together(_ bodies: [@Sendable () async throws -> Void]) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
        for body in bodies { group.addTask { try await body() } }
        while try await group.next() != nil {}
    }
}

/// Answers each line with itself.
let echoLines: ClientHandler = { reader, writer in
    while let line = try await reader.readLine() { try await writer.send(line) }
}
