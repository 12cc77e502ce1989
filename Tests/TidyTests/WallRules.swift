// Rules of walls: what a floor may know of the others.

/// The floors, by module.
private let floors = [
    "CEpoll": 0, "SluiceReactor": 1, "SluiceStreams": 2, "SluicePackets": 3, "Sluice": 4,
    "SluiceC": 5,
]

let wallRules: [Rule] = [
    Rule(
        name: "a floor imports lower ones only",
        covers: { floor(of: $0) != nil },
        check: { file in
            imports(in: file).compactMap { line, module in
                guard let own = floor(of: file), let other = floors[module], other >= own,
                    module != file.module
                else { return nil }
                return (line, "\(module) lies above")
            }
        },
        sample: .init(
            path: "Sources/SluiceReactor/A.swift",
            text: "// A.\n\n@_exported public import SluiceStreams\n", line: 3)),
    Rule(
        name: "a floor does not name a higher one",
        covers: { floor(of: $0) != nil },
        check: { file in
            guard let own = floor(of: file) else { return [] }
            let higher = floors.filter { $0.value > own && $0.value < 4 }.keys
            return higher.flatMap { name in
                file.lines(containing: name).map { ($0, "\(name) lies above") }
            }
        },
        sample: .init(
            path: "CEpoll/a.c", text: "// A.\n// SluiceReactor calls this.\n", line: 2)),
    Rule(
        name: "no floor imports Foundation or Dispatch",
        covers: { floor(of: $0) != nil },
        check: { file in
            imports(in: file).filter { ["Foundation", "Dispatch"].contains($0.module) }
                .map { ($0.line, "needs more than the toolchain's core") }
        },
        sample: .init(
            path: "Sources/SluiceStreams/A.swift",
            text: "// A.\n\ninternal import Foundation\n", line: 3)),
    Rule(
        name: "@unchecked Sendable comes with its proof",
        covers: { $0.isSwift && isProduct($0) },
        check: { file in
            file.lines(containing: "@unchecked Sendable").filter { index in
                let isUse = !file.lines[index].drop { $0 == " " }.hasPrefix("//")
                let around = file.lines[max(0, index - 6)..<min(index + 4, file.lines.count)]
                return isUse && !around.contains { $0.contains("// @unchecked Sendable") }
            }
            .map { ($0, "say beside it why nothing can race") }
        },
        sample: .init(
            path: "Sources/SluiceStreams/A.swift",
            text: "// A.\n\n/// A.\nfinal class A: @unchecked Sendable {}\n", line: 4)),
]

private func floor(of file: SourceFile) -> Int? {
    file.module.flatMap { floors[$0] }
}

private func imports(in file: SourceFile) -> [(line: Int, module: String)] {
    file.lines(containing: "import ").compactMap { index in
        file.lines[index].firstMatch(of: /^\s*(?:@\w+ )*(?:[a-z]+ )?import (?:[a-z]+ )?(\w+)/)
            .map { (index, String($0.1)) }
    }
}
