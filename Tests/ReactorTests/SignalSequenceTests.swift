// Signals as a sequence, sent by kill(2) to this very process. Their dispositions are the
// process's, so these tests come one after the other, and no other test uses these signals.

import Glibc
import Sluice
import SluiceTestKit
import Testing

@Suite(.serialized) struct SignalSequenceTests {
    private static let usual: [Signal] = [.user1, .user2, .hangUp, .windowChange]

    // MARK: What arrives

    @Test func `each kind of signal arrives, and no other`() async throws {
        try await withLoop { _ in
            let sequence = try await signals(Self.usual)
            var iterator = sequence.makeAsyncIterator()
            for signal in Self.usual + Self.usual.reversed() {
                send(signal)
                #expect(await iterator.next() == signal)
            }
        }
    }

    @Test func `a for loop gets them until it breaks`() async throws {
        try await withLoop { _ in
            let seen = Shared<[Signal]>([])
            let task = await started {
                for await signal in try await signals(.user1, .user2) {
                    seen.append(signal)
                    if signal == .user2 { break }
                }
            }
            send(.user1)
            try await eventually("it is seen") { seen.value == [.user1] }
            send(.user2)
            try await task.value
            #expect(seen.value == [.user1, .user2])
        }
    }

    /// `raise` returns when the handler has run, so all thousand come before the first look.
    @Test func `a thousand arrivals before the first look are one`() async throws {
        try await withLoop { _ in
            let sequence = try await signals(.user1, .user2)
            var iterator = sequence.makeAsyncIterator()
            for _ in 0..<1_000 { raise(SIGUSR1) }
            #expect(await iterator.next() == .user1)
            raise(SIGUSR2)
            #expect(await iterator.next() == .user2)
        }
    }

    @Test func `a signal named twice comes once and takes one descriptor`() async throws {
        let faults = FaultTable()
        try await withLoop(faults: faults) { _ in
            let before = faults.ledger.open
            let sequence = try await signals(.user1, .user1)
            #expect(faults.ledger.open == before + 1)
            var iterator = sequence.makeAsyncIterator()
            raise(SIGUSR1)
            #expect(await iterator.next() == .user1)
            raise(SIGUSR1)
            #expect(await iterator.next() == .user1)
        }
    }

    @Test func `every sequence of a signal sees it, on whichever loop`() async throws {
        try await withLoop { loop in
            try await withLoop { other in
                let sequences = [
                    try await signals(.user1), try await signals(.user1, .user2, on: loop),
                    try await signals(.user1, on: other), try await signals([.user1], on: other),
                ]
                for _ in 0..<20 {
                    send(.user1)
                    for sequence in sequences {
                        var iterator = sequence.makeAsyncIterator()
                        #expect(await iterator.next() == .user1)
                    }
                }
            }
        }
    }

    @Test func `iterators of one sequence share its signals`() async throws {
        try await withLoop { loop in
            let sequence = try await signals(.user1, .user2)
            let tasks = (0..<2).map { _ in
                loop.spawn {
                    var iterator = sequence.makeAsyncIterator()
                    return await iterator.next()
                }
            }
            await settle()
            send(.user1)
            send(.user2)
            let seen = [try await tasks[0].value, try await tasks[1].value]
            #expect(Set(seen) == [.user1, .user2])
        }
    }

    @Test func `a task of another loop, of no loop and of the main actor may iterate`()
        async throws
    {
        try await withLoop { loop in
            let sequence = try await signals(.user1)
            try await withLoop { _ in
                #expect(await arrival(of: .user1, in: sequence) == .user1)
            }
            #expect(await Task { await arrival(of: .user1, in: sequence) }.value == .user1)
            #expect(await arrivalOnMain(of: .user1, in: sequence) == .user1)
            #expect(loop.isCurrent)
        }
    }

    /// The marker comes last: what was sent before it has arrived by then.
    @Test func `of a flood nothing is lost, and the loop goes on meanwhile`() async throws {
        let count = isLongRun ? 500_000 : 20_000
        try await withLoop { loop in
            let sequence = try await signals(.user1, .user2)
            let hasEnded = Shared(false)
            let turns = loop.spawn {
                var turns = 0
                while !hasEnded.value {
                    await EventLoop.yield()
                    turns += 1
                }
                return turns
            }
            let flood = Task {
                for _ in 0..<count { send(.user1) }
                send(.user2)
            }
            var seen = 0
            for await signal in sequence {
                if signal == .user2 { break }
                seen += 1
            }
            await flood.value
            hasEnded.set(true)
            #expect(seen > 0)
            #expect(try await turns.value > 0)
        }
    }

    // MARK: The end

    @Test func `cancellation ends the iteration, and the next one gets what came`() async throws {
        try await withLoop { loop in
            let sequence = try await signals(.user1)
            let task = await started {
                for await _ in sequence { return false }
                return Task.isCancelled
            }
            task.cancel()
            #expect(try await task.value)
            raise(SIGUSR1)
            let late = loop.spawn {
                for await _ in sequence { return false }
                return true
            }
            late.cancel()
            #expect(try await late.value, "cancelled before its first look")
            var iterator = sequence.makeAsyncIterator()
            #expect(await iterator.next() == .user1)
        }
    }

    @Test func `the deadline of withTimeout ends the iteration`() async throws {
        try await withLoop { _ in
            let sequence = try await signals(.user1)
            try await withTimeout(.milliseconds(1)) {
                for await signal in sequence { Issue.record("\(signal) came") }
            }
            raise(SIGUSR1)
            var iterator = sequence.makeAsyncIterator()
            #expect(await iterator.next() == .user1)
        }
    }

    @Test func `the end of the loop ends the iteration and the watch`() async throws {
        let loop = try EventLoop.start()
        let sequence = try await signals(.user1, on: loop)
        #expect(disposition(of: .user1) == .handler)
        let waiting = Task {
            for await _ in sequence { return false }
            return true
        }
        let inside = loop.spawn {
            for await _ in sequence { return false }
            return true
        }
        try await withDeadline {
            await loop.stop()
            let hasEnded = try await inside.value
            #expect(hasEnded)
            #expect(await waiting.value)
        }
        #expect(disposition(of: .user1) == .standard)
        await #expect(throws: ReactorError.stopped) { try await signals(.user1, on: loop) }
        var iterator = sequence.makeAsyncIterator()
        #expect(await iterator.next() == nil, "also later")
    }

    @Test func `the disposition from before comes back with the last sequence`() async throws {
        try await withLoop { _ in
            signal(SIGWINCH, SIG_IGN)
            defer { signal(SIGWINCH, SIG_DFL) }
            var sequences = [try await signals(.windowChange), try await signals(.windowChange)]
            _ = sequences.removeLast()
            await settle()
            #expect(disposition(of: .windowChange) == .handler)
            sequences = []
            try await eventually("restored") { disposition(of: .windowChange) == .ignored }
        }
    }

    @Test func `a sequence dropped on another thread is gone soon`() async throws {
        try await withLoop { loop in
            await Task {
                let sequence = try? await signals(.user1, on: loop)
                #expect(sequence != nil)
                #expect(disposition(of: .user1) == .handler)
            }.value
            try await eventually("restored") { disposition(of: .user1) == .standard }
        }
    }

    // MARK: What is refused

    @Test(arguments: [
        SIGKILL, SIGSTOP, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, 0, -1, 32, 65, .max, .min,
    ])
    func `what cannot be watched is refused, and the others with it`(number: Int32) async throws {
        let faults = FaultTable()
        try await withLoop(faults: faults) { _ in
            let before = faults.ledger.open
            let refused = Signal(rawValue: number)
            await #expect(throws: ReactorError.unwatchable(refused)) {
                try await signals(.user1, refused, .user2)
            }
            #expect(disposition(of: .user1) == .standard)
            #expect(faults.ledger.open == before)
        }
    }

    @Test func `the ninth sequence of a signal is refused until one has gone`() async throws {
        try await withLoop { _ in
            var sequences: [SignalSequence] = []
            for _ in 0..<8 { sequences.append(try await signals(.user1)) }
            let error = SystemError(call: "sigaction", errno: EUSERS)
            await #expect(throws: ReactorError.system(error)) { try await signals(.user1) }
            _ = sequences.removeFirst()
            try await eventually("there is room") {
                (try? await signals(.user1)).map { sequences.append($0) } != nil
            }
            raise(SIGUSR1)
            for sequence in sequences {
                var iterator = sequence.makeAsyncIterator()
                #expect(await iterator.next() == .user1)
            }
        }
    }

    @Test(arguments: [
        (CF_EVENTFD.rawValue, 1, EMFILE, "eventfd"), (CF_EVENTFD.rawValue, 2, ENFILE, "eventfd"),
        (CF_EPOLL_CTL.rawValue, 1, ENOSPC, "epoll_ctl"),
        (CF_EPOLL_CTL.rawValue, 2, ENOMEM, "epoll_ctl"),
    ])
    func `a failing call leaves no descriptor and no handler`(
        call: UInt32, n: UInt64, errno: Int32, name: String
    ) async throws {
        let faults = FaultTable()
        try await withLoop(faults: faults) { _ in
            faults.fail(cf_call(call), with: errno, at: n)
            let error = SystemError(call: name, errno: errno)
            await #expect(throws: ReactorError.system(error)) {
                try await signals(.user1, .user2)
            }
            for signal in [Signal.user1, .user2] { #expect(disposition(of: signal) == .standard) }
        }
    }

    @Test func `a read of the counter that fails is tried again`() async throws {
        let faults = FaultTable()
        try await withLoop(faults: faults) { _ in
            let sequence = try await signals(.user1)
            faults.fail(CF_READ, with: EIO, times: 3)
            raise(SIGUSR1)
            var iterator = sequence.makeAsyncIterator()
            #expect(await iterator.next() == .user1)
            #expect(faults.calls(CF_READ) == 4)
        }
    }

    // MARK: In a program of its own

    @Test func `once nobody watches, the signal ends the program as ever`() async {
        await #expect(processExitsWith: .signal(SIGUSR1)) {
            do {
                var iterator = try await signals(.user1).makeAsyncIterator()
                kill(getpid(), SIGUSR1)
                guard await iterator.next() == .user1 else { exit(2) }
            }
            try await eventually("restored") { disposition(of: .user1) == .standard }
            await MainActor.run { withAllSignals { _ = kill(getpid(), SIGUSR1) } }
            exit(3)
        }
    }

    /// A program started by a thread that blocks a signal blocks it, too.
    @Test func `a signal that every other thread blocks arrives all the same`() async {
        await #expect(processExitsWith: .exitCode(42)) {
            await MainActor.run {
                var all = sigset_t()
                sigfillset(&all)
                pthread_sigmask(SIG_BLOCK, &all, nil)
            }
            let first = try await signals(.terminate, .hangUp)
            try await withDeadline {
                for round in 0..<3 {
                    // The second watch goes and takes nothing from the first.
                    _ = try await signals(.terminate)
                    await settle()
                    kill(getpid(), round == 1 ? SIGHUP : SIGTERM)
                    var iterator = first.makeAsyncIterator()
                    guard await iterator.next() == (round == 1 ? .hangUp : .terminate) else {
                        exit(2)
                    }
                }
            }
            exit(42)
        }
    }

    @Test func `the names are those of signal(7)`() {
        #expect("\(Signal.terminate), \(Signal.interrupt)" == "SIGTERM, SIGINT")
        #expect("\([Signal.hangUp, .quit, .child])" == "[SIGHUP, SIGQUIT, SIGCHLD]")
        #expect("\(Signal(rawValue: 40))" == "signal 40")
        #expect("\(ReactorError.unwatchable(Signal(rawValue: 9)))" == "SIGKILL cannot be watched")
    }
}

private func send(_ signal: Signal) { kill(getpid(), signal.rawValue) }

private func arrival(of signal: Signal, in sequence: SignalSequence) async -> Signal? {
    send(signal)
    for await signal in sequence { return signal }
    return nil
}

@MainActor
private func arrivalOnMain(of signal: Signal, in sequence: SignalSequence) async -> Signal? {
    send(signal)
    for await signal in sequence {
        MainActor.assertIsolated()
        return signal
    }
    return nil
}

private enum Disposition { case standard, ignored, handler }

private func disposition(of signal: Signal) -> Disposition {
    var action = sigaction()
    sigaction(signal.rawValue, nil, &action)
    let handler = withUnsafeBytes(of: &action.__sigaction_handler) { $0.load(as: Int.self) }
    return handler == 0 ? .standard : handler == 1 ? .ignored : .handler
}

/// Runs the body on a thread that blocks no signal.
private func withAllSignals(_ body: () -> Void) {
    var (none, before) = (sigset_t(), sigset_t())
    sigemptyset(&none)
    pthread_sigmask(SIG_SETMASK, &none, &before)
    defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
    body()
}
