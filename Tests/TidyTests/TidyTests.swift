// Reads our own sources against the rules; and each rule against a sample that breaks it, because a
// check that nobody has seen fail is no check.

import Testing

@Suite struct TidyTests {
    @Test(arguments: Rule.all) func `the tree keeps the rule`(_ rule: Rule) throws {
        let findings = try SourceTree.files.get().flatMap { rule.findings(in: $0) }
        #expect(findings.isEmpty, "\n\(findings.map(\.description).joined(separator: "\n"))")
    }

    @Test(arguments: Rule.all) func `a sample that breaks the rule is found`(_ rule: Rule) {
        let sample = SourceFile(path: rule.sample.path, text: rule.sample.text)
        #expect(rule.findings(in: sample).map(\.line) == [rule.sample.line])
    }

    @Test func `a tidy file breaks no rule`() {
        let text = """
            // Tidy: nothing to find here. Floor 1.

            internal import CEpoll

            /// A counter.
            // @unchecked Sendable: a constant.
            public final class Counter: @unchecked Sendable {
                /// The count. TODO(#12): more of them.
                public let count = 0

                /// Counts on.
                @inlinable
                public func next(
                    by step: Int
                ) -> Int {
                    count + step  // not try!
                }
            }

            """
        let file = SourceFile(path: "Sources/SluiceReactor/Counter.swift", text: text)
        #expect(Rule.all.flatMap { $0.findings(in: file) } == [])
    }

    @Test func `the tree is all there`() throws {
        let paths = Set(try SourceTree.files.get().map(\.path))
        let some = [
            "Package.swift", "README.md", "CEpoll/include/CEpoll.h", "Tests/run",
            "Sources/SluiceReactor/EventLoop.swift", "Examples/EchoServer/main.swift",
        ]
        #expect(paths.isSuperset(of: some))
    }

    @Test func `every function of a file is found`() {
        let text = """
            // Functions.
            protocol P { func none() }
            struct S {
                init?() { return nil }
                private static func one(
                    a: Int
                ) async throws(E) -> Int {
                    2
                }
                var computed: Int {
                    3
                }
                deinit {
                }
            }
            """
        let file = SourceFile(path: "Sources/SluiceReactor/S.swift", text: text)
        #expect(functions(in: file) == [4..<9, 9..<12, 12..<14])
    }

    /// A table that names tests is worth nothing once they are renamed.
    @Test(arguments: [
        "docs/RELIABILITY-TESTS.md", "docs/ENDPOINTS-TESTS.md", "docs/PACKETS-TESTS.md",
    ])
    func `every test and script that a table names is there`(_ path: String) throws {
        let files = try SourceTree.files.get()
        let table = try #require(files.first { $0.path == path })
        let scripts = files.filter { $0.isUnder("Tests/Acceptance") }
        let tests = files.filter { $0.isSwift && $0.isUnder("Tests") }
        var named = 0
        for line in table.lines where line.hasPrefix("| ") {
            // What shows it, the last cell; between backticks is every second piece.
            let cell = line.split(separator: " | ").last ?? ""
            let pieces = cell.split(separator: "`", omittingEmptySubsequences: false)
            for name in pieces.enumerated().filter({ $0.offset % 2 == 1 }).map(\.element) {
                named += 1
                let isThere =
                    scripts.contains { $0.path.hasSuffix("/\(name)") }
                    || tests.contains { !$0.lines(containing: "func `\(name)`").isEmpty }
                #expect(isThere, "\(name)")
            }
        }
        #expect(named > 50)
    }
}
