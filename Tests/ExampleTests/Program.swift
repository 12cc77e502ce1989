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
    /// Its number, for kill(2) and proc(5), until it has ended.
    let processIdentifier: pid_t
    /// Its end, once waitpid(2) has told it.
    private var status: Int32?
    /// Closed in the end, which a program started by `built` takes for its own end.
    private let input: Int32
    private let output: Int32
    private var unread: [UInt8] = []

    /// Starts a program by its path. (Foundation's `Process` is not used: it learns of a program's
    /// end by a run loop, which a waiting thread of Swift's pool may hold up for ever.)
    init(_ path: String, _ arguments: [String] = []) throws {
        let (toIt, fromIt) = (try Self.makePipe(), try Self.makePipe())
        defer { close(toIt.read); close(fromIt.write) }
        var actions = posix_spawn_file_actions_t()
        var attributes = posix_spawnattr_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawnattr_init(&attributes)
        defer {
            posix_spawn_file_actions_destroy(&actions)
            posix_spawnattr_destroy(&attributes)
        }
        for (fd, copy) in [(toIt.read, 0), (fromIt.write, 1), (fromIt.write, 2)] as [(Int32, Int32)]
        {
            posix_spawn_file_actions_adddup2(&actions, fd, copy)
        }
        // What other tests have open is no business of the program's; nor are their signal masks.
        for name in try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd") {
            if let fd = Int32(name), fd > 2 { posix_spawn_file_actions_addclose(&actions, fd) }
        }
        var (none, all) = (sigset_t(), sigset_t())
        sigemptyset(&none)
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setflags(
            &attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
        var words: [UnsafeMutablePointer<CChar>?] = ([path] + arguments).map { strdup($0) } + [nil]
        defer { for word in words { free(word) } }
        var number = pid_t()
        let result = posix_spawn(&number, path, &actions, &attributes, &words, environ)
        (processIdentifier, input, output) = (number, toIt.write, fromIt.read)
        guard result == 0 else {
            status = -1
            throw SystemError(call: "posix_spawn of \(path)", errno: result)
        }
    }

    deinit {
        close(input)
        close(output)
        stop()
    }

    private static func makePipe() throws -> (read: Int32, write: Int32) {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { throw SystemError(call: "pipe", errno: errno) }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        return (ends[0], ends[1])
    }

    /// One of the package's executables: they are built beside the test bundle.
    static func built(_ name: String, _ arguments: [String] = []) throws -> Program {
        let runner = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        let path = runner.deletingLastPathComponent().path + "/" + name
        return try Program("/usr/bin/env", ["bash", "-c", endsWithTest, path] + arguments)
    }

    /// Becomes the program given, and ends it when standard input does: a server must not live on
    /// after a test run that was interrupted.
    private static let endsWithTest = """
        exec 3<&0
        (
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
            let status = self.wait()
            // As a shell says it: 128 and more for a signal.
            return (self.rest(), Int(status & 0x7F == 0 ? status >> 8 & 0xFF : 128 + status & 0x7F))
        }
    }

    /// Sends it a signal.
    func send(_ signal: Signal) { kill(processIdentifier, signal.rawValue) }

    /// Kills it, if it still runs.
    func stop() {
        guard status == nil else { return }
        kill(processIdentifier, SIGKILL)
        _ = wait()
    }

    /// Blocks until it has ended; its status as waitpid(2) gives it.
    private func wait() -> Int32 {
        if let status { return status }
        var status: Int32 = 0
        while waitpid(processIdentifier, &status, 0) < 0, errno == EINTR {}
        self.status = status
        return status
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
        let left = max(.zero, end - .now).components
        var poller = pollfd(fd: output, events: Int16(POLLIN), revents: 0)
        let milliseconds = left.seconds * 1_000 + left.attoseconds / 1_000_000_000_000_000
        guard poll(&poller, 1, Int32(milliseconds)) > 0 else {
            stop()
            throw ProgramError(description: "killed after its deadline; output: \(rest())")
        }
        var chunk = [UInt8](repeating: 0, count: 4_096)
        let count = read(output, &chunk, chunk.count)
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
