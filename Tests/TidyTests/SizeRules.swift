// Rules of size: lines, functions, files.

private let columns = 100
private let functionLines = 70
private let fileLines = 400

let sizeRules: [Rule] = [
    Rule(
        name: "a line has at most 100 columns",
        covers: isCode,
        check: { file in
            file.lines.enumerated().filter { $0.element.count > columns }
                .map { ($0.offset, "\($0.element.count) columns; at most \(columns)") }
        },
        sample: .init(
            path: "Sources/SluiceReactor/A.swift",
            text: "// A.\nlet a = 1  // " + String(repeating: "x", count: 100) + "\n", line: 2)),
    Rule(
        name: "a function has at most 70 lines",
        covers: { $0.isSwift },
        check: longFunctions,
        sample: .init(
            path: "Sources/SluiceReactor/A.swift",
            text: "// A.\n\n@inlinable\nfunc long(\n    a: Int\n) {\n"
                + String(repeating: "    work()\n", count: 70) + "}\n",
            line: 4)),
    Rule(
        name: "a C function has at most 70 lines",
        covers: { $0.isC && isCode($0) },
        check: longFunctions,
        sample: .init(
            path: "CEpoll/a.c",
            text: "// A.\nstatic int ce_long(int a,\n                   int b) {\n"
                + String(repeating: "    work();\n", count: 70) + "}\n",
            line: 2)),
    Rule(
        name: "a file has at most 400 lines, or says in its header why it has more than 400 lines",
        covers: isCode,
        check: { file in
            let hasReason = header(of: file).contains { $0.contains("400 lines") }
            guard file.lines.count - 1 > fileLines, !hasReason else { return [] }
            return [(0, "\(file.lines.count - 1) lines; split it by topic")]
        },
        sample: .init(
            path: "Tests/StreamsTests/A.swift",
            text: "// A.\n" + String(repeating: "let a = 1\n", count: 400), line: 1)),
]

@Sendable private func longFunctions(_ file: SourceFile) -> [(line: Int, message: String)] {
    functions(in: file).filter { $0.count > functionLines }
        .map { ($0.lowerBound, "a function of \($0.count) lines; at most \(functionLines)") }
}

/// The comment that a file begins with.
func header(of file: SourceFile) -> ArraySlice<Substring> {
    file.lines.prefix { $0.hasPrefix("//") || $0.hasPrefix("#") }
}

/// The lines of each function with a body, found by indentation: the formatter sees to that.
func functions(in file: SourceFile) -> [Range<Int>] {
    file.lines.indices.compactMap { start in
        let line = file.lines[start]
        let isStart = file.isC ? beginsCFunction(line) : beginsFunction(line)
        guard isStart, let body = bodyStart(from: start, in: file.lines) else { return nil }
        let margin = indentation(line)
        let end = file.lines[body...].firstIndex {
            indentation($0) == margin && $0.drop(while: { $0 == " " }).hasPrefix("}")
        }
        return end.map { start..<($0 + 1) }
    }
}

private func beginsFunction(_ line: Substring) -> Bool {
    guard line.hasSuffix("{") || line.hasSuffix("(") else { return false }
    for word in line.split(separator: " ") {
        if ["func", "deinit", "subscript"].contains(word) { return true }
        if word.hasPrefix("init") && word.contains("(") { return true }
        if word == "var" { return line.hasSuffix("{") }
        // What else may stand before them: attributes and modifiers, such as `private(set)`.
        guard word.first == "@" || word.allSatisfy({ $0.isLowercase || "()".contains($0) }) else {
            return false
        }
    }
    return false
}

private func beginsCFunction(_ line: Substring) -> Bool {
    line.prefixMatch(of: /[a-z_][\w ]*[ *]\w+\(/) != nil && !line.hasSuffix(";")
}

/// The line that opens the body of a declaration; `nil` if it is on one line or has none.
private func bodyStart(from start: Int, in lines: [Substring]) -> Int? {
    for index in lines[start...].indices.prefix(20) {
        if lines[index].hasSuffix("{") { return index + 1 }
        let isOver = lines[index].isEmpty || lines[index].hasSuffix("}")
        if isOver || lines[index].hasSuffix(";") { return nil }
    }
    return nil
}

private func indentation(_ line: Substring) -> Int {
    line.prefix { $0 == " " }.count
}
