// B36: every connection gives its descriptor back, however it ends. The call table's ledger counts.

import Sluice
import SluiceTestKit
import Testing

private struct Oops: Error {}

@Suite struct DescriptorTests {
    /// How a connection may end.
    private enum Ending: Int, CaseIterable {
        case clientCloses, clientAborts, serverReturns, serverThrows, serverAborts, clientDrops
        case bothClose
    }

    @Test func `B36: after many connections, ended in every way, no descriptor is left`()
        async throws
    {
        let faults = FaultTable()
        try await withLoop(faults: faults, deadline: .seconds(300)) { _ in
            var options = ServerOptions()
            options.report = { _ in }
            let server = try await startServer(port: 0, options: options) { reader, writer in
                guard let first = try await reader.read(upTo: 1) else { return }
                switch Ending(rawValue: Int(first[0])) {
                case .serverReturns: return try await writer.send("bye")
                case .serverThrows: throw Oops()
                case .serverAborts: return await writer.abort()
                case .bothClose: return await writer.close()
                default: _ = try await reader.read()
                }
            }
            let before = faults.ledger.open
            for round in 0..<(isLongRun ? 10_000 : 56) {
                try await Self.connectAndEnd(
                    port: server.port, Ending.allCases[round % Ending.allCases.count])
            }
            try await eventually("the server's connections are over") {
                await server.statistics().current == 0
            }
            try await eventually("the clients' descriptors are closed") {
                faults.ledger.open == before
            }
            #expect(await server.statistics().acceptPauses == 0)
            await server.close()
        }
        #expect(faults.ledger.double_closes == 0)
        #expect(faults.ledger.bad_descriptors == 0)
    }

    private static func connectAndEnd(port: Int, _ ending: Ending) async throws {
        let end = StreamEnd(try await openConnection(host: "127.0.0.1", port: port))
        try await end.writer.send([UInt8(ending.rawValue)])
        switch ending {
        case .clientCloses, .bothClose:
            await end.writer.close()
        case .clientAborts:
            await end.writer.abort()
        case .clientDrops:
            break
        case .serverReturns, .serverThrows, .serverAborts:
            while let _ = try? await end.reader.read() {}
            await end.writer.close()
        }
    }

    @Test func `B36: a refused connection leaves nothing`() async throws {
        let faults = FaultTable()
        try await withLoop(faults: faults) { _ in
            let server = try await startServer(port: 0) { (_: StreamReader, _: StreamWriter) in }
            let port = server.port
            await server.close()
            for _ in 0..<10 {
                await #expect(throws: StreamError.self) {
                    _ = try await openConnection(host: "127.0.0.1", port: port)
                }
            }
        }
    }
}
