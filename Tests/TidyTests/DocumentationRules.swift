// Rules of documentation: headers of files, comments of public symbols.

let documentationRules: [Rule] = [
    Rule(
        name: "a file begins by saying what lives in it",
        covers: isCode,
        check: { file in
            let first = file.lines.first ?? ""
            return first.contains(/^\/\/ ?\S.*/) ? [] : [(0, "begin with a comment")]
        },
        sample: .init(
            path: "Tests/StreamsTests/A.swift", text: "import Testing\n// Late.\n", line: 1)),
    Rule(
        name: "a script says what it does",
        covers: { file in
            file.lines.first?.hasPrefix("#!") == true && !file.path.hasSuffix(".md")
        },
        check: { file in
            let second = file.lines.dropFirst().first ?? ""
            return second.hasPrefix("# ") || second.hasPrefix("\"\"\"") ? [] : [(1, "say it here")]
        },
        sample: .init(path: "Tests/run", text: "#!/usr/bin/env bash\nset -eu\n", line: 2)),
    Rule(
        name: "a public symbol is documented",
        covers: { $0.isSwift && $0.isUnder("Sources") },
        check: { file in
            file.lines(containing: "public ").filter { index in
                isPublicSymbol(file.lines[index]) && !isDocumented(index, in: file.lines)
            }
            .map { ($0, "write a comment of three slashes above it") }
        },
        sample: .init(
            path: "Sources/SluiceStreams/A.swift",
            text: "// A.\n\n/// Documented.\n@inlinable\npublic func a() {}\n\n"
                + "@inlinable\npublic nonisolated(nonsending) func b() async {}\n",
            line: 8)),
    Rule(
        name: "a public symbol of the shim is documented",
        covers: { $0.path.hasPrefix("CEpoll/include/") },
        check: { file in
            file.lines(containing: "ce_").filter { index in
                let isSymbol = file.lines[index].contains(/^(?:[a-z]\w* )+\**ce_\w+\(/)
                // One comment may stand for a row of functions, and for a struct and its function.
                let before = file.lines[..<index].last { !isDeclaration($0) }
                let isDocumented = before?.hasPrefix("//") == true || before == "};"
                return isSymbol && !isDocumented
            }
            .map { ($0, "write a comment above it") }
        },
        sample: .init(
            path: "CEpoll/include/A.h",
            text:
                "// A.\n\n// Both.\nint ce_a(void);\nint ce_b(void);\n\nint ce_c(void);\n",
            line: 7)),
]

private func isPublicSymbol(_ line: Substring) -> Bool {
    let words = line.split(separator: " ")
    guard let index = words.firstIndex(of: "public"), index + 1 < words.count else { return false }
    // What stands before it are attributes and modifiers, not a comment or code.
    let isDeclaration = words[..<index].allSatisfy {
        $0.wholeMatch(of: /@?[a-z_]\w*(\(.*\))?/) != nil
    }
    return isDeclaration && !["import", "extension"].contains(words[index + 1])
}

/// Whether the line above, attributes apart, is documentation.
private func isDocumented(_ index: Int, in lines: [Substring]) -> Bool {
    let above = lines[..<index].last { line in
        let words = line.drop { $0 == " " }
        return !words.hasPrefix("@") && !words.hasPrefix("// ")
    }
    return above?.drop(while: { $0 == " " }).hasPrefix("///") == true
}

private func isDeclaration(_ line: Substring) -> Bool {
    line.contains(/^(?:[a-z]\w* )+\**ce_\w+\(/) || (line.hasPrefix("  ") && line.hasSuffix(";"))
}
