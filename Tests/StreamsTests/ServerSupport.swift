// What the tests of servers share: a server on a loop with a counting call table, and clients.

import Sluice
import SluiceTestKit
import Testing

/// Answers each line with itself.
let echoLines: ClientHandler = { reader, writer in
    while let line = try await reader.readLine() { try await writer.send(line) }
}

/// Runs a server and `client` on one loop, and shuts the server down afterwards; then the loop is
/// audited for what is left, descriptors included.
///
/// - Parameters:
///   - isVirtual: the loop's clock is virtual, so that deadlines pass when nothing else can happen.
///   - reports: gets what the server reports.
func withServer(
    faults: FaultTable = FaultTable(), isVirtual: Bool = false, options: ServerOptions = .init(),
    reports: Shared<[Report]> = Shared([]), sourceLocation: SourceLocation = #_sourceLocation,
    handler: @escaping ClientHandler,
    client: @escaping @Sendable (Server) async throws -> Void
) async throws {
    if isVirtual { faults.setClock(nanoseconds: 1_000_000_000) }
    var options = options
    options.report = { reports.append($0) }
    try await withLoop(faults: faults, sourceLocation: sourceLocation) { [options] _ in
        let server = try await startServer(port: 0, options: options, handler: handler)
        do {
            try await client(server)
        } catch {
            await server.shutdown(grace: .zero)
            throw error
        }
        await server.shutdown(grace: .zero)
        let counts = await server.statistics()
        #expect(counts.isBalanced, "\(counts)", sourceLocation: sourceLocation)
    }
}

extension ServerStatistics {
    /// Whether each connection accepted is either still there or has ended for one reason.
    var isBalanced: Bool {
        accepted == closed + current && closed == closedBy.values.reduce(0, +)
    }
}

/// The same with a server that echoes lines.
func withEchoServer(
    faults: FaultTable = FaultTable(), isVirtual: Bool = false, options: ServerOptions = .init(),
    reports: Shared<[Report]> = Shared([]), sourceLocation: SourceLocation = #_sourceLocation,
    client: @escaping @Sendable (Server) async throws -> Void
) async throws {
    try await withServer(
        faults: faults, isVirtual: isVirtual, options: options, reports: reports,
        sourceLocation: sourceLocation, handler: echoLines, client: client)
}

/// Each of ten ports was taken by somebody.
private struct EachPortTaken: Error {}

/// What connecting to a server says that was shut down, and the address. Somebody else on this
/// machine may have taken the port meanwhile, though hardly ten times.
func connectToClosedServer(host: String) async throws -> (StreamError, SocketAddress) {
    for _ in 0..<10 {
        let server = try await startServer(host: host, port: 0, handler: echoLines)
        let counts = await server.shutdown(grace: .seconds(10))
        #expect(counts.all == [0, 0, 0])
        do throws(StreamError) {
            let (_, writer) = try await openConnection(host: host, port: server.port)
            await writer.abort()
        } catch {
            return (error, try #require(server.addresses.first))
        }
    }
    throw EachPortTaken()
}

extension Server {
    /// A new client's end, on the loop of the caller.
    func connect(options: StreamOptions = .init()) async throws -> StreamEnd {
        let address = try #require(addresses.first)
        let host = try #require(address.host)
        return StreamEnd(try await openConnection(host: host, port: port, options: options))
    }
}

extension ShutdownCounts {
    /// Finished, cancelled, aborted.
    var all: [Int] { [finished, cancelled, aborted] }
}

extension StreamEnd {
    /// Sends a line and expects the same line back.
    func echo(_ text: String, sourceLocation: SourceLocation = #_sourceLocation) async throws {
        try await writer.send(text + "\n")
        let answer = try await reader.readLine()
        #expect(answer == bytes(text + "\n"), sourceLocation: sourceLocation)
    }
}
