// Program: a child process of a test. Its output is read line by line; every wait has a deadline.

import Foundation
import Sluice

/// What a child process did instead of what the test waited for.
struct ProgramError: Error, CustomStringConvertible {
    let description: String
}

/// A started program. Its standard output and error come together.
// @unchecked Sendable: one test uses it, one call at a time; `offload` carries it to another
// thread.
final class Program: @unchecked Sendable {
    private let process = Process()
    private let input = Pipe()
    private let output = Pipe()
    private var unread: [UInt8] = []

    init(_ path: String, _ arguments: [String] = []) throws {
        process.executableURL = URL(fileURLWithPath: path)
        process.arguments = arguments
        process.standardInput = input
        process.standardOutput = output
        process.standardError = output
        try process.run()
        try output.fileHandleForWriting.close()
        try input.fileHandleForReading.close()
    }

    /// One of the package's executables: they are built beside the test bundle.
    static func built(_ name: String, _ arguments: [String] = []) throws -> Program {
        let runner = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        let path = runner.deletingLastPathComponent().path + "/" + name
        return try Program("/usr/bin/env", ["bash", "-c", endsWithTest, path] + arguments)
    }

    /// Becomes the program given, and ends it when standard input does: a server must not live on
    /// after a test run that was interrupted. The watcher keeps standard input alone: `Process`
    /// learns of a program's end by a socket that every process started from it holds open, so a
    /// watcher with a copy of it would make the program seem to run on, and `waitUntilExit` spin.
    private static let endsWithTest = """
        exec 3<&0
        (
            for path in /proc/$BASHPID/fd/*; do
                fd=${path##*/}
                [[ $fd -le 3 ]] || eval "exec $fd>&-"
            done
            cat <&3
            kill -9 $$
        ) >/dev/null 2>&1 &
        exec "$0" "$@" 3<&- </dev/null
        """

    /// The next line of its output, without LF.
    func line(within duration: Duration = .seconds(20)) async throws -> String {
        try await offload {
            let end = ContinuousClock.now + duration
            while true {
                if let line = self.takeLine() { return line }
                guard try self.readMore(before: end) else {
                    throw ProgramError(description: "it ended without the line: \(self.rest())")
                }
            }
        }
    }

    /// Waits for its end: the rest of its output and its exit status.
    func end(within duration: Duration = .seconds(30)) async throws -> (output: String, status: Int)
    {
        try await offload {
            let end = ContinuousClock.now + duration
            while try self.readMore(before: end) {}
            self.process.waitUntilExit()
            return (self.rest(), Int(self.process.terminationStatus))
        }
    }

    /// Its number, for kill(2) and proc(5), until it has ended.
    var processIdentifier: Int32 { process.processIdentifier }

    /// Kills it, if it still runs.
    func stop() {
        guard process.isRunning else { return }
        kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
    }

    /// What a loop reports when the machine is busy belongs to no test.
    private func isAboutTheMachine(_ line: some StringProtocol) -> Bool {
        line.hasPrefix("sluice: turn-too-long: ")
    }

    private func takeLine() -> String? {
        while let index = unread.firstIndex(of: UInt8(ascii: "\n")) {
            let line = String(decoding: unread[..<index], as: UTF8.self)
            unread.removeSubrange(...index)
            if !isAboutTheMachine(line) { return line }
        }
        return nil
    }

    private func rest() -> String {
        let text = String(decoding: unread, as: UTF8.self)
        return text.split(separator: "\n", omittingEmptySubsequences: false)
            .filter { !isAboutTheMachine($0) }.joined(separator: "\n")
    }

    /// Blocks for more output; false at its end.
    private func readMore(before end: ContinuousClock.Instant) throws -> Bool {
        let fd = output.fileHandleForReading.fileDescriptor
        let left = max(.zero, end - .now).components
        var poller = pollfd(fd: fd, events: Int16(POLLIN), revents: 0)
        let milliseconds = left.seconds * 1_000 + left.attoseconds / 1_000_000_000_000_000
        guard poll(&poller, 1, Int32(milliseconds)) > 0 else {
            stop()
            throw ProgramError(description: "killed after its deadline; output: \(rest())")
        }
        var chunk = [UInt8](repeating: 0, count: 4_096)
        let count = read(fd, &chunk, chunk.count)
        guard count > 0 else { return false }
        unread += chunk.prefix(count)
        return true
    }
}

/// A running example server and the port from the line it printed.
struct RunningExample {
    let program: Program
    let port: String

    /// Runs `body` against the example on a port of its own, then kills it.
    static func run(
        _ name: String, _ arguments: [String] = ["0"],
        _ body: (RunningExample) async throws -> Void
    ) async throws {
        let program = try Program.built(name, arguments)
        defer { program.stop() }
        let line = try await program.line()
        guard line.hasPrefix("listening on 127.0.0.1:"), let port = line.split(separator: ":").last
        else { throw ProgramError(description: "printed \(line)") }
        try await body(RunningExample(program: program, port: String(port)))
    }

    /// Runs a script, given the port as its argument, and returns its output and exit status.
    func client(python script: String) async throws -> (output: String, status: Int) {
        try await Program("/usr/bin/env", ["python3", "-c", script, port]).end()
    }

    func client(shell script: String) async throws -> (output: String, status: Int) {
        try await Program("/bin/sh", ["-c", script, "sh", port]).end()
    }
}
