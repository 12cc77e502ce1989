// What README promises, held against the example that this package builds and the tests run.

import Foundation
import Testing

@Suite struct ReadmeTests {
    private let root = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    private func lines(_ path: String) throws -> [String] {
        try String(contentsOf: root.appending(path: path), encoding: .utf8)
            .components(separatedBy: "\n")
    }

    /// README's first Swift block.
    private func snippet() throws -> [String] {
        let readme = try lines("README.md")
        let start = try #require(readme.firstIndex(of: "```swift")) + 1
        let end = try #require(readme[start...].firstIndex(of: "```"))
        return Array(readme[start..<end])
    }

    @Test func `README's server stands in EchoServer, line by line`() throws {
        var example = try lines("Examples/EchoServer/main.swift")[...]
        for line in try snippet() {
            let wanted = line.replacing("port: 8888", with: "port: port")
                .replacing("try await server.serve", with: "let counts = try await server.serve")
            let place = try #require(example.firstIndex(of: wanted), "not there: \(wanted)")
            example = example[(place + 1)...]
        }
    }

    @Test func `README's server has at most ten lines`() throws {
        #expect(try snippet().count <= 10)
    }

    @Test(arguments: [
        ("EchoServer", 100), ("LineChat", 100), ("TCPProxy", 100), ("FileReceiver", 100),
        ("MiniRedis", 151), ("GameServer", 100), ("PacketProxy", 100),
    ])
    func `an example has fewer than 100 lines, MiniRedis 150, and begins with how to run it`(
        _ name: String, count: Int
    ) throws {
        let example = try lines("Examples/\(name)/main.swift")
        #expect(example.count <= count)
        #expect(example.first?.hasPrefix("// \(name):") == true)
        #expect(example.prefix(4).contains { $0.contains("swift run \(name) [port]") })
    }
}
