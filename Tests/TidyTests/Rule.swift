// A tidy rule: what it demands, where, how it is checked, and a sample that breaks it.

import Testing

struct Rule: Sendable, CustomTestStringConvertible {
    let name: String
    /// Which files it looks at.
    let covers: @Sendable (SourceFile) -> Bool
    /// The lines that break it, counted from 0, each with what is wrong.
    let check: @Sendable (SourceFile) -> [(line: Int, message: String)]
    /// A file that breaks it once, in the line given, counted from 1.
    let sample: Sample

    struct Sample: Sendable {
        let path: String
        let text: String
        let line: Int
    }

    var testDescription: String { name }

    func findings(in file: SourceFile) -> [Finding] {
        guard covers(file) else { return [] }
        return check(file).map { Finding(path: file.path, line: $0.line + 1, message: $0.message) }
    }

    static let all = sizeRules + wordRules + wallRules + documentationRules
}

/// Code of ours in Swift and C. The benchmark's C tools are older than the rules: the figures of
/// other servers were made with them, so they stay as they are.
@Sendable func isCode(_ file: SourceFile) -> Bool {
    (file.isSwift || file.isC) && !file.isUnder("Benchmarks/tools")
}

/// Code that users get.
@Sendable func isProduct(_ file: SourceFile) -> Bool {
    (file.isSwift || file.isC) && file.isUnder("Sources", "CEpoll")
}
