// The project's own files, as the tidy rules see them.

import Foundation

/// A file, split into lines.
struct SourceFile: Sendable {
    /// Relative to the repository, for example `Sources/SluiceReactor/EventLoop.swift`.
    let path: String
    let lines: [Substring]
    private let text: String

    init(path: String, text: String) {
        self.path = path
        self.text = text
        lines = text.split(separator: "\n", omittingEmptySubsequences: false)
    }

    var isSwift: Bool { path.hasSuffix(".swift") }
    var isC: Bool { path.hasSuffix(".c") || path.hasSuffix(".h") }

    func isUnder(_ folders: String...) -> Bool {
        folders.contains { path.hasPrefix($0 + "/") }
    }

    /// The lines that hold the words, counted from 0. Most files have none, which is seen at once.
    func lines(containing words: String) -> [Int] {
        guard strstr(text, words) != nil else { return [] }
        return lines.indices.filter { lines[$0].contains(words) }
    }

    /// The module that a file of the floors belongs to.
    var module: String? {
        let parts = path.split(separator: "/").map(String.init)
        if parts.first == "CEpoll" { return "CEpoll" }
        return parts.first == "Sources" && parts.count > 2 ? parts[1] : nil
    }
}

/// What a rule has found.
struct Finding: Equatable, CustomStringConvertible {
    let path: String
    let line: Int
    let message: String

    var description: String { "\(path):\(line): \(message)" }
}

enum SourceTree {
    private static let folders = [
        "CEpoll", "Sources", "Tests", "Examples", "Benchmarks", "docs", ".ci",
    ]
    private static let endings = ["swift", "c", "h", "md", "sh", "py", "js", ""]

    /// Everything written by hand in the repository, this test included.
    static let files = Result { try read() }

    private static func read() throws -> [SourceFile] {
        let root = URL(fileURLWithPath: #filePath).resolvingSymlinksInPath()
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        var files = try ["Package.swift", "README.md"].map { try file($0, in: root) }
        for folder in folders {
            let url = root.appending(path: folder)
            for path in try FileManager.default.subpathsOfDirectory(atPath: url.path).sorted()
            where isWritten(path) && !isDirectory(url.appending(path: path)) {
                files.append(try file("\(folder)/\(path)", in: root))
            }
        }
        return files
    }

    private static func isWritten(_ path: String) -> Bool {
        let parts = path.split(separator: "/")
        let isBuilt = parts.contains { $0.hasPrefix(".") || $0 == "__pycache__" }
        return !isBuilt && endings.contains((path as NSString).pathExtension)
    }

    private static func isDirectory(_ url: URL) -> Bool {
        (try? url.resourceValues(forKeys: [.isDirectoryKey]).isDirectory) ?? true
    }

    private static func file(_ path: String, in root: URL) throws -> SourceFile {
        let text = try String(contentsOf: root.appending(path: path), encoding: .utf8)
        return SourceFile(path: path, text: text)
    }
}
