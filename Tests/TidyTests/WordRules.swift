// Rules of words: calls and names that we do without, each with what to use instead.

/// What must not stand in code, where, and its substitute.
private struct Banned: Sendable {
    let words: String
    let instead: String
    var covers: @Sendable (SourceFile) -> Bool = isCode

    var rule: Rule {
        Rule(
            name: "no \(words)",
            covers: { covers($0) && !$0.isUnder("Tests/TidyTests") },
            check: { file in
                file.lines(containing: words).filter { contains(code(file.lines[$0])) }
                    .map { ($0, "\(words): \(instead)") }
            },
            sample: .init(
                path: "Sources/SluiceReactor/A.swift",
                text: "// A.\n\n    _ = " + words + "x)\n", line: 3))
    }

    /// Whether the words stand in the line, not as the end of longer ones.
    private func contains(_ line: Substring) -> Bool {
        line.ranges(of: words).contains { range in
            guard range.lowerBound > line.startIndex else { return true }
            let before = line[line.index(before: range.lowerBound)]
            return !(before.isLetter || before.isNumber || before == "_" || before == ".")
        }
    }
}

private let banned: [Banned] = [
    Banned(words: "try!", instead: "let it throw"),
    Banned(words: "fatalError(", instead: "preconditionFailure with the rule, or an error"),
    Banned(words: "FIXME", instead: "mend it, or a TODO with its number"),
    Banned(words: "print(", instead: "a Report", covers: isProduct),
    Banned(words: "Task.sleep(", instead: "sleep(for:)", covers: isProduct),
    Banned(words: "CheckedContinuation", instead: "UnsafeContinuation", covers: isProduct),
    Banned(
        words: "Mutex(", instead: "Locked, which the thread sanitizer sees",
        covers: { $0.isUnder("Sources", "Tests/ReactorTests") }),
    Banned(words: "DispatchQueue", instead: "EventLoop.spawn or offload"),
    Banned(words: "Thread.sleep(", instead: "a condition with a deadline"),
    Banned(words: "usleep(", instead: "a condition with a deadline"),
    Banned(words: "nanosleep(", instead: "a condition with a deadline"),
    Banned(words: "import XCTest", instead: "import Testing"),
]

let wordRules: [Rule] =
    banned.map(\.rule) + [
        Rule(
            name: "a TODO carries a number",
            covers: { isCode($0) && !$0.isUnder("Tests/TidyTests") },
            check: { file in
                file.lines(containing: "TODO")
                    .filter { file.lines[$0].contains(/\bTODO(?!\(#\d+\))/) }
                    .map { ($0, "write TODO(#number)") }
            },
            sample: .init(
                path: "Sources/SluiceReactor/A.swift", text: "// A.\n// TODO: x\n", line: 2)),
        Rule(
            name: "a type's name says what it is",
            covers: { $0.isSwift && !$0.isUnder("Tests/TidyTests") },
            check: { file in
                typeKinds.flatMap { file.lines(containing: $0 + " ") }.compactMap { index in
                    guard let name = declaredType(file.lines[index]) else { return nil }
                    return emptyWord(in: name).map { (index, "\($0) in \(name) says nothing") }
                }
            },
            sample: .init(
                path: "Sources/SluiceReactor/A.swift",
                text: "// A.\n\npublic final class BufferManager {}\n", line: 3)),
        Rule(
            name: "no path of one machine",
            covers: { !$0.isUnder("Tests/TidyTests") },
            check: { file in
                ["home", "root", "opt", "work", "Users"].flatMap {
                    file.lines(containing: "/\($0)/")
                }
                .filter { file.lines[$0].contains(/(?:^|[^\w.:\/])\/(?:[a-z]|Users)/) }
                .map { ($0, "a path that exists on one machine only") }
            },
            sample: .init(path: "README.md", text: "# A\n\nsee /home/me/notes\n", line: 3)),
    ]

/// The line without its comment.
private func code(_ line: Substring) -> Substring {
    if line.contains("FIXME") { return line }
    guard let comment = line.firstRange(of: "//") else { return line }
    return line[..<comment.lowerBound]
}

private let typeKinds = ["class", "struct", "enum", "actor", "protocol"]

private func declaredType(_ line: Substring) -> Substring? {
    let words = line.split(separator: " ")
    guard let kind = words.firstIndex(where: { typeKinds.contains(String($0)) }),
        kind + 1 < words.count, !line.contains("//")
    else { return nil }
    return words[kind + 1].prefix { $0.isLetter || $0.isNumber }
}

/// A word of a name that would fit every type.
private func emptyWord(in name: Substring) -> Substring? {
    let empty = [
        "Manager", "Helper", "Helpers", "Util", "Utils", "Utility", "Common", "Base", "Impl",
        "Wrapper", "Info", "Data", "Context", "Processor", "Engine", "Smart", "New", "2",
    ]
    // The name of an encoding is one word.
    return name.matches(of: /Base64|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+/).map(\.0)
        .first { empty.contains(String($0)) }
}
