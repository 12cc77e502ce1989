// docs/FROM-ASYNCIO.md: it names all of asyncio's streams, and nothing of ours that does not exist.

import Foundation
import Testing

@Suite struct FromAsyncioTests {
    private let root = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    private func text(_ path: String) throws -> String {
        try String(contentsOf: root.appending(path: path), encoding: .utf8)
    }

    /// The cells of each table's rows, headings left out.
    private func rows() throws -> [[Substring]] {
        try text("docs/FROM-ASYNCIO.md").split(separator: "\n")
            .filter { $0.hasPrefix("| ") && !$0.hasPrefix("| ---") && !$0.hasPrefix("| asyncio ") }
            .map { $0.dropFirst(2).dropLast(2).split(separator: " | ") }
    }

    private func names(_ cell: Substring) -> [Substring] {
        cell.matches(of: /`([^`]+)`/).map(\.1)
    }

    @Test(arguments: [
        // Functions and their keywords.
        "open_connection(", "start_server(", "open_unix_connection(", "start_unix_server(",
        "limit=", "loop=", "family=", "proto=", "flags=", "sock=", "local_addr=", "all_errors=",
        "happy_eyeballs_delay=", "interleave=", "backlog=", "reuse_address=", "reuse_port=",
        "keep_alive=", "start_serving=", "cleanup_socket=",
        // StreamReader.
        "exception()", "feed_eof()", "feed_data(", "set_exception(", "set_transport(", "read(",
        "readline()", "readexactly(", "readuntil(", "at_eof()", "async for",
        // StreamWriter.
        "`transport`", "`close()`", "`drain()`", "get_extra_info(", "`write(", "writelines(",
        "can_write_eof()", "write_eof()", "is_closing()", "wait_closed()", "transport.abort()",
        // StreamReaderProtocol.
        "connection_made(", "connection_lost(", "data_received(", "eof_received()",
        "pause_writing()", "resume_writing()",
        // Server.
        "`sockets`", "close_clients()", "abort_clients()", "serve_forever()", "is_serving()",
        "start_serving()", "get_loop()", "async with server",
        // Errors.
        "IncompleteReadError", "LimitOverrunError", "ConnectionResetError", "CancelledError",
    ])
    func `a name of asyncio's is in a table`(_ name: String) throws {
        let cells = try rows().compactMap(\.first)
        #expect(cells.contains { $0.contains(name) })
    }

    @Test func `every name of ours in the tables is declared in the sources`() throws {
        let words = try declarations()
        let rows = try rows()
        #expect(rows.count > 60 && rows.allSatisfy { $0.count == 3 || $0.count == 2 })
        var seen = 0
        for name in rows.compactMap({ $0.dropFirst().first }).flatMap(names) {
            // `Type.member(label:label:)`: each type, the member, its labels.
            for word in name.split(whereSeparator: { !$0.isLetter && $0 != "_" }) where word != "_"
            {
                let isDeclared = words.contains(String(word))
                #expect(isDeclared, "\(word) of \(name)")
                seen += 1
            }
        }
        #expect(seen > 100)
    }

    /// The words of all lines of the sources that declare something or continue its parameters.
    private func declarations() throws -> Set<String> {
        let folder = root.appending(path: "Sources")
        let keywords: Set<Substring> = ["func", "var", "let", "case", "class", "struct", "enum"]
        var words: Set<String> = []
        for path in try FileManager.default.subpathsOfDirectory(atPath: folder.path)
        where path.hasSuffix(".swift") {
            for line in try text("Sources/" + path).split(separator: "\n") {
                let code = line.drop { $0 == " " }
                if code.hasPrefix("//") { continue }
                let parts = code.split { !$0.isLetter && !$0.isNumber && $0 != "_" }
                // A parameter's line has a colon and no more than a name or two before it.
                let isParameter = code.split(separator: ":").first.map { $0.count < 40 } == true
                if isParameter || code.contains("init(") || parts.contains(where: keywords.contains)
                {
                    words.formUnion(parts.map(String.init))
                }
            }
        }
        return words
    }
}
