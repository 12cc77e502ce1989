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
                if let index = self.unread.firstIndex(of: UInt8(ascii: "\n")) {
                    let line = String(decoding: self.unread[..<index], as: UTF8.self)
                    self.unread.removeSubrange(...index)
                    if !Self.isAboutMachine(line) { return line }
                    continue
                }
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

    /// Sends it a signal.
    func send(_ signal: Signal) { kill(process.processIdentifier, signal.rawValue) }

    /// Its number, for kill(2) and proc(5), until it has ended.
    var processIdentifier: Int32 { process.processIdentifier }

    /// Kills it, if it still runs.
    func stop() {
        guard process.isRunning else { return }
        kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
    }

    private func rest() -> String {
        String(decoding: unread, as: UTF8.self).split(
            separator: "\n", omittingEmptySubsequences: false
        )
        .filter { !Self.isAboutMachine($0) }.joined(separator: "\n")
    }

    /// A report of a turn that took long says that the machine was busy.
    private static func isAboutMachine(_ line: some StringProtocol) -> Bool {
        line.hasPrefix("sluice: turn-too-long:")
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
        _ name: String, _ arguments: String..., body: (RunningExample) async throws -> Void
    ) async throws {
        let program = try Program.built(name, ["0"] + arguments)
        defer { program.stop() }
        let line = try await program.line()
        guard line.hasPrefix("listening on 127.0.0.1:"), let port = line.split(separator: ":").last
        else { throw ProgramError(description: "printed \(line)") }
        try await body(RunningExample(program: program, port: String(port)))
    }

    /// Runs a script, given the port as its first argument, and returns its output and exit status.
    func client(
        python script: String, _ arguments: String...
    ) async throws -> (output: String, status: Int) {
        try await Program("/usr/bin/env", ["python3", "-c", script, port] + arguments).end()
    }

    func client(shell script: String) async throws -> (output: String, status: Int) {
        try await Program("/bin/sh", ["-c", script, "sh", port]).end()
    }

    /// Starts a script that goes on while the test does something else.
    func start(python script: String) throws -> Program {
        try Program("/usr/bin/env", ["python3", "-uc", script, port])
    }
}
