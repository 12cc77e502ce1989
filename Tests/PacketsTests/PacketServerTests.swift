// Servers and connections with a codec: the handler gets an endpoint.

import Sluice
import SluiceTestKit
import Testing

@Suite struct PacketServerTests {
    @Test func `44, 45: a handler answers packets until it closes`() async throws {
        try await withLoop { _ in
            let server = try await startServer(port: 0, codec: LineCodec.lines()) { endpoint in
                guard let request = try await endpoint.receive() else { return }
                try await endpoint.send("echo \(request)")
            }
            let client = try await openConnection(
                host: "127.0.0.1", port: server.port, codec: LineCodec.lines())
            try await client.sender.writer.send("hello")
            await settle()
            try await client.sender.writer.send(", world!\nnever handled\n")
            #expect(try await client.receive() == "echo hello, world!")
            #expect(try await client.receive() == nil)
            await client.close()
            await server.shutdown(grace: .seconds(10))
        }
    }

    @Test func `47: what a handler throws is counted, reported once, and the server lives`()
        async throws
    {
        let reports = Shared<[Report]>([])
        try await withLoop { _ in
            var options = ServerOptions()
            options.report = { reports.append($0) }
            let server = try await startServer(
                port: 0, codec: FramedCodec(LengthPrefixFraming(UInt8.self), TextSerializer()),
                options: options
            ) { endpoint in
                for try await packet in endpoint.packets { try await endpoint.send(packet) }
            }
            for bytes in [[1, 0xFF], [5, 65], [2, 66, 67]] as [[UInt8]] {
                let (reader, writer) = try await openConnection(
                    host: "127.0.0.1", port: server.port)
                try await writer.send(bytes)
                try writer.finishWriting()
                let answer = try await reader.readToEnd()
                #expect(answer == (bytes.count == 3 ? bytes : []))
                await writer.close()
            }
            try await waitUntil { await server.statistics().closed == 3 }
            #expect(
                await server.statistics().closedBy
                    == [.handlerThrew: 1, .truncated: 1, .peerEnd: 1])
            await server.shutdown(grace: .seconds(10))
        }
        #expect(reports.value.count == 2)
    }

    @Test func `a cancelled packet handler is reported to nobody`() async throws {
        let reports = Shared<[Report]>([])
        try await withLoop { _ in
            var options = ServerOptions()
            options.report = { reports.append($0) }
            let server = try await startServer(
                port: 0, codec: LineCodec.lines(), options: options
            ) { endpoint in
                while try await endpoint.receive() != nil {}
            }
            let client = try await openConnection(
                host: "127.0.0.1", port: server.port, codec: LineCodec.lines())
            // Half a packet: not idle, so the shutdown has to cancel.
            try await client.writer.send("half")
            try await waitUntil { await server.connections().first?.bytesIn == 4 }
            let counts = await server.shutdown(grace: .milliseconds(10))
            #expect(counts.cancelled == 1)
            #expect(await server.statistics().closedBy == [.cancelled: 1])
            await client.abort()
        }
        #expect(reports.value.isEmpty)
    }
}
