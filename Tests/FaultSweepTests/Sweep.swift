// Sweep: runs a scenario again and again while the n-th system call of each kind fails, and says
// what was left, wrong or waiting afterwards. The clock is virtual: no case waits for a deadline.

import Glibc
import Sluice
import SluiceTestKit
import Testing

/// The system call that fails.
struct Fault: Sendable, CustomStringConvertible {
    let call: cf_call
    let error: Int32
    /// Which one of its kind, from 1 on.
    let number: UInt64
    /// How many fail from there on.
    let times: UInt64

    var description: String {
        let row = times > 1 ? " and \(times - 1) more" : ""
        return "\(String(cString: cf_name(call))) number \(number)\(row) says "
            + String(cString: strerror(error))
    }
}

extension Fault {
    /// Whether the kernel keeps something from the product that nothing can replace, so that only a
    /// deadline ends the wait for it: the peer is not told of our end, or a connection is said to
    /// be still on its way and no edge comes.
    var withholds: Bool {
        call == CF_SHUTDOWN || (call == CF_GETPEERNAME && error == ENOTCONN)
    }
}

/// What came of one case.
struct Outcome: Sendable {
    /// Whether the scenario came to the call that was to fail.
    var wasTouched = false
    var calls: [cf_call] = []
    /// What the scenario threw.
    var error: (any Error)?
    var leaks: [String] = []
    var isHang = false
    /// Bytes that were wrong, an error without a type, a failure without a fault.
    var wrong: String?

    var isClean: Bool { leaks.isEmpty && !isHang && wrong == nil }
}

/// What a sweep found.
struct SweepReport: Sendable {
    var cases = 0
    var leaks = 0
    var hangs = 0
    var failures: [String] = []

    mutating func add(_ other: SweepReport) {
        cases += other.cases
        leaks += other.leaks
        hangs += other.hangs
        failures += other.failures
    }
}

/// Sweeps one scenario.
struct Sweep {
    let scenario: Scenario
    /// Each call with each error, once, three times and fifty times in a row. Otherwise each call
    /// fails once, with the errors by turns.
    let isFull: Bool
    private let tables = TablePool()
    private(set) var report = SweepReport()

    init(_ scenario: Scenario, isFull: Bool) {
        self.scenario = scenario
        self.isFull = isFull
    }

    mutating func run() async {
        let untouched = await outcome(failing: nil)
        note(untouched, nil)
        guard untouched.isClean else { return }
        for call in untouched.calls {
            let errors = plausibleErrors(of: call)
            guard !errors.isEmpty else { continue }
            if isFull {
                for error in errors {
                    for times: UInt64 in [1, 3, 50] { await fail(call, times) { _ in error } }
                }
            } else {
                await fail(call, 1) { errors[Int($0 - 1) % errors.count] }
            }
        }
    }

    /// Lets the first call fail, then the second one, until the scenario is over before.
    private mutating func fail(
        _ call: cf_call, _ times: UInt64, with error: (UInt64) -> Int32
    ) async {
        for number in UInt64(1)... {
            let fault = Fault(call: call, error: error(number), number: number, times: times)
            var outcome = await outcome(failing: fault)
            // The virtual clock runs ahead if the kernel is late with what it has promised, as it
            // may be on a busy machine. What is wrong with us is wrong again.
            if !outcome.isClean { outcome = await self.outcome(failing: fault) }
            note(outcome, fault)
            if !outcome.wasTouched || report.failures.count >= 5 { return }
        }
    }

    private mutating func note(_ outcome: Outcome, _ fault: Fault?) {
        report.cases += 1
        if !outcome.leaks.isEmpty { report.leaks += 1 }
        if outcome.isHang { report.hangs += 1 }
        guard !outcome.isClean else { return }
        let how = fault.map(\.description) ?? "no call fails"
        let ended = outcome.error.map { "; it threw \($0)" } ?? ""
        var findings = outcome.leaks
        if outcome.isHang { findings.append("somebody waits for ever") }
        if let wrong = outcome.wrong { findings.append(wrong) }
        report.failures.append(
            "\(scenario.name), \(how): \(findings.joined(separator: "; "))\(ended)")
    }

    /// One run of the scenario, on a loop of its own.
    private func outcome(failing fault: Fault?) async -> Outcome {
        trace("\(scenario.name): \(fault?.description ?? "untouched")")
        let table = tables.take()
        table.setClock(nanoseconds: 1_000_000_000)
        if let fault {
            table.fail(fault.call, with: fault.error, at: fault.number, times: fault.times)
        }

        var outcome = Outcome()
        do {
            let (result, stage) = try await withLoop(faults: table, deadline: .seconds(10)) {
                [scenario] loop in
                let stage = Stage(loop: loop, faults: table)
                let result: Result<Void, any Error>
                do {
                    result = .success(try await scenario.body(stage))
                } catch {
                    result = .failure(error)
                }
                return (result, stage)
            }
            outcome.leaks += stage.takeLeftovers()
            try result.get()
        } catch {
            outcome.note(error, fault)
        }
        outcome.wasTouched = table.counts(CF_ANY).injected > 0
        if !outcome.wasTouched, let error = outcome.error, outcome.isClean {
            outcome.wrong = "it failed although no call did: \(error)"
        }
        outcome.calls = (0..<CF_CALLS.rawValue).map { cf_call($0) }.filter { table.calls($0) > 0 }
        if await !isReleased(table) { outcome.leaks.append("the loop lives on: \(table)") }
        if outcome.isClean { tables.give(table) }
        return outcome
    }

    /// Whether the loop has gone, and its own descriptors with it.
    private func isReleased(_ table: FaultTable) async -> Bool {
        let wait: Void? = try? await eventually("the loop is released", within: .seconds(5)) {
            table.ledger.open == 0
        }
        return wait != nil
    }
}

extension Outcome {
    /// Sorts what a run threw.
    fileprivate mutating func note(_ error: any Error, _ fault: Fault?) {
        self.error = error
        switch error {
        case is LoopNotEmpty: leaks.append("\(error)")
        case is DeadlinePassed: isHang = true
        case StreamError.timedOut, ReactorError.timedOut:
            isHang = !(fault?.withholds ?? false)
        case is StreamError, is ReactorError, is SystemError: break
        default: wrong = "\(error)"
        }
    }
}

/// Call tables to be used again, the oldest first: whoever closed the last descriptor of one may
/// still be on its way out of it.
private final class TablePool: Sendable {
    private let tables = Shared<[FaultTable]>([])

    func take() -> FaultTable {
        let used = tables.withLock { $0.count > 16 ? $0.removeFirst() : nil }
        guard let used else { return FaultTable() }
        used.failNone()
        used.resetCounts()
        return used
    }

    func give(_ table: FaultTable) {
        tables.append(table)
    }
}

/// With `SLUICE_TRACE=1` each case is named before it runs: the last one named is the one that
/// crashed.
private func trace(_ text: String) {
    guard isTracing else { return }
    let line = bytes("fault sweep: \(text)\n")
    _ = line.withUnsafeBytes { write(2, $0.baseAddress, $0.count) }
}

private let isTracing = getenv("SLUICE_TRACE").map { String(cString: $0) == "1" } ?? false
