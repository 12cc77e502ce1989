// Signal: a signal's number, with the names of the usual ones. Floor 1; a plain value, any thread.

internal import Glibc

/// A signal, signal(7).
public struct Signal: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    /// The signal's number, 1 to 64 on Linux.
    public let rawValue: Int32

    /// Makes a signal from its number; whether there is such a one shows when it is watched.
    public init(rawValue: Int32) {
        self.rawValue = rawValue
    }

    /// SIGTERM: a service is asked to end.
    public static let terminate = Signal(rawValue: SIGTERM)
    /// SIGINT: Ctrl-C at the terminal.
    public static let interrupt = Signal(rawValue: SIGINT)
    /// SIGHUP: the terminal has gone; to services, by custom: read your settings again.
    public static let hangUp = Signal(rawValue: SIGHUP)
    /// SIGQUIT: Ctrl-\ at the terminal.
    public static let quit = Signal(rawValue: SIGQUIT)
    /// SIGUSR1: what the program says it means.
    public static let user1 = Signal(rawValue: SIGUSR1)
    /// SIGUSR2: what the program says it means.
    public static let user2 = Signal(rawValue: SIGUSR2)
    /// SIGCHLD: a child process has ended or stopped.
    public static let child = Signal(rawValue: SIGCHLD)
    /// SIGWINCH: the terminal's size has changed.
    public static let windowChange = Signal(rawValue: SIGWINCH)
    /// SIGCONT: the process goes on after a stop.
    public static let resume = Signal(rawValue: SIGCONT)
    /// SIGALRM: a timer of alarm(2) or setitimer(2).
    public static let alarm = Signal(rawValue: SIGALRM)

    /// For example `SIGTERM`; `signal 40` for those without a name here.
    public var description: String {
        Self.names[rawValue] ?? "signal \(rawValue)"
    }

    /// Whether it follows from the instruction that a thread runs: a handler that returns goes back
    /// to that instruction, for ever. (SIGTRAP is how a Swift program stops itself on ARM.)
    var isFault: Bool {
        [SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP].contains(rawValue)
    }

    private static let names: [Int32: String] = [
        SIGTERM: "SIGTERM", SIGINT: "SIGINT", SIGHUP: "SIGHUP", SIGQUIT: "SIGQUIT",
        SIGUSR1: "SIGUSR1", SIGUSR2: "SIGUSR2", SIGCHLD: "SIGCHLD", SIGWINCH: "SIGWINCH",
        SIGCONT: "SIGCONT", SIGALRM: "SIGALRM", SIGKILL: "SIGKILL", SIGSTOP: "SIGSTOP",
        SIGTSTP: "SIGTSTP", SIGTTIN: "SIGTTIN", SIGTTOU: "SIGTTOU", SIGPIPE: "SIGPIPE",
        SIGURG: "SIGURG", SIGABRT: "SIGABRT", SIGTRAP: "SIGTRAP", SIGSEGV: "SIGSEGV",
        SIGBUS: "SIGBUS", SIGFPE: "SIGFPE", SIGILL: "SIGILL", SIGSYS: "SIGSYS",
    ]
}
