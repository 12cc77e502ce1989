// A program in C that uses floor 0 and nothing else, built as part of the package.

import Glibc
import Testing

@Suite struct ShimProgramTests {
    @Test func `a C program can use the shim alone`() throws {
        let pipe = try #require(popen("'\(try buildDirectory())/ShimProgram' 2>&1", "re"))
        var lines: [String] = []
        var line = [CChar](repeating: 0, count: 512)
        while fgets(&line, Int32(line.count), pipe) != nil {
            let bytes = line.prefix { $0 != 0 && $0 != 10 }.map { UInt8(bitPattern: $0) }
            lines.append(String(decoding: bytes, as: UTF8.self))
        }
        let status = pclose(pipe)
        #expect(status == 0, "\(lines)")
        #expect(
            lines == [
                "ok TCP echo, 1048576 bytes", "ok Unix echo, 1048576 bytes",
                "ok woken by a thread", "ok path taken, kept, replaced and removed",
                "ok pipe adopted, read and written", "ok signals counted",
                "ok no descriptor left open",
            ])
    }

    /// Executables are built beside the test bundle.
    private func buildDirectory() throws -> String {
        var path = [CChar](repeating: 0, count: 4_096)
        let length = readlink("/proc/self/exe", &path, path.count)
        try #require(length > 0 && length < path.count)
        let bytes = path.prefix(length).map { UInt8(bitPattern: $0) }
        let end = try #require(bytes.lastIndex(of: UInt8(ascii: "/")))
        return String(decoding: bytes[..<end], as: UTF8.self)
    }
}
