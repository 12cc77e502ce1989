// Reports: turns that took too long, and the default printing with its limit. The clock of the turn
// tests is virtual, so that only their own work counts as time.

import Sluice
import SluiceTestKit
import Testing

/// Runs a body on a loop with virtual time and gives the reports that came.
private func reports(
    threshold: Duration? = nil,
    _ body: @escaping @Sendable (EventLoop, FaultTable) async throws -> Void
) async throws -> [Report] {
    let reports = Shared<[Report]>([])
    let faults = FaultTable()
    faults.setClock(nanoseconds: 1_000_000_000)
    var options = EventLoop.Options()
    options.report = { reports.append($0) }
    if let threshold { options.turnReportThreshold = threshold }
    try await withLoop(faults: faults, options: options) { loop in
        // A loop measures its turns from the first wait on.
        await EventLoop.yield()
        try await body(loop, faults)
        await EventLoop.yield()
    }
    return reports.value
}

@Suite struct TurnReportTests {
    @Test func `a turn over 100 ms is reported once, with its length`() async throws {
        let all = try await reports { loop, faults in
            for _ in 0..<5 { await EventLoop.yield() }
            faults.advance(nanoseconds: 150_000_000)
            for _ in 0..<5 { await EventLoop.yield() }
            #expect(await loop.statistics().longestTurn == .milliseconds(150))
        }
        #expect(all.count == 1)
        #expect(all.first?.kind == .turnTooLong)
        #expect(all.first?.duration == .milliseconds(150))
        #expect(all.first?.message.contains("0.15 seconds") == true)
    }

    @Test func `turns up to 100 ms are not reported`() async throws {
        let all = try await reports { loop, faults in
            for _ in 0..<5 {
                faults.advance(nanoseconds: 100_000_000)
                await EventLoop.yield()
            }
            #expect(await loop.statistics().longestTurn == .milliseconds(100))
        }
        #expect(all.isEmpty)
    }

    @Test func `each long turn is reported, with its own length`() async throws {
        let all = try await reports { _, faults in
            for milliseconds in [101, 300, 200] {
                faults.advance(nanoseconds: UInt64(milliseconds) * 1_000_000)
                await EventLoop.yield()
                await EventLoop.yield()
            }
        }
        #expect(
            all.map(\.duration) == [.milliseconds(101), .milliseconds(300), .milliseconds(200)])
    }

    @Test func `waiting is no turn`() async throws {
        let all = try await reports { _, _ in
            for _ in 0..<5 { try await sleep(for: .seconds(5)) }
        }
        #expect(all.isEmpty)
    }

    @Test func `the threshold can be set`() async throws {
        let all = try await reports(threshold: .seconds(1)) { _, faults in
            faults.advance(nanoseconds: 900_000_000)
            await EventLoop.yield()
            faults.advance(nanoseconds: 1_100_000_000)
            await EventLoop.yield()
        }
        #expect(all.map(\.duration) == [.milliseconds(1_100)])
    }

    @Test func `a task that is no connection's is not called one`() async throws {
        let all = try await reports { _, faults in
            faults.advance(nanoseconds: 150_000_000)
            await EventLoop.yield()
            try await sleep(for: .seconds(1))
            faults.advance(nanoseconds: 150_000_000)
            await EventLoop.yield()
        }
        #expect(all.count == 2)
        for report in all {
            #expect(report.message.contains("task"), "\(report)")
            #expect(!report.message.contains("connection closed"), "\(report)")
        }
    }

    @Test func `of several jobs in a turn the longest is named`() async throws {
        let all = try await reports { loop, faults in
            let member = NamedMember(loop: loop)
            loop.admit(member)
            let handler = loop.spawn {
                await member.wait()
                faults.advance(nanoseconds: 120_000_000)
            }
            let other = loop.spawn {
                faults.advance(nanoseconds: 20_000_000)
            }
            try await other.value
            await EventLoop.yield()
            member.wake()
            let late = loop.spawn { faults.advance(nanoseconds: 30_000_000) }
            try await handler.value
            try await late.value
            loop.dismiss(member)
        }
        #expect(all.map(\.duration) == [.milliseconds(150)])
        #expect(all.first?.message.contains("the handler of somebody") == true)
    }
}

/// Stands for a connection: a task waits in it, and reports have a name for it.
// @unchecked Sendable by LoopMember: used on the loop's thread alone.
private final class NamedMember: LoopMember, @unchecked Sendable {
    private var wait: Wait?

    func wait() async {
        _ = await suspend { continuation, number in
            begin(continuation, number: number) { wait in
                self.wait = wait
                return true
            }
        }
    }

    func wake() {
        guard let wait else { return }
        self.wait = nil
        resume(wait, .ready)
    }

    override func endWait(_ number: UInt32, _ outcome: WaitOutcome) { wake() }
    override func loopStopped() { wake() }
    override func label() -> String { "the handler of somebody" }
}

@Suite struct ReportTests {
    @Test func `a report's description names kind, peer and message`() {
        let report = Report(
            kind: .handlerThrew, message: "it broke", peer: SocketAddress("127.0.0.1", port: 5),
            error: ReactorError.timedOut)
        #expect("\(report)" == "handler-threw: 127.0.0.1:5: it broke")
        #expect("\(Report(kind: .init("own"), message: "x"))" == "own: x")
    }

    @Test func `at most one report a second of a kind is let through, with the number left out`() {
        let limit = ReportLimit()
        let start = ContinuousClock.now
        let kind = Report.Kind("one")
        #expect(limit.admit(kind, at: start) == 0)
        #expect(limit.admit(kind, at: start) == nil)
        #expect(limit.admit(kind, at: start + .milliseconds(999)) == nil)
        #expect(limit.admit(.init("two"), at: start + .milliseconds(999)) == 0)
        #expect(limit.admit(kind, at: start + .seconds(1)) == 2)
        #expect(limit.admit(kind, at: start + .milliseconds(1_999)) == nil)
        #expect(limit.admit(kind, at: start + .seconds(3)) == 1)
        #expect(limit.admit(kind, at: start + .seconds(5)) == 0)
    }

    @Test func `the default prints one line on standard error, and of a flood only the first`()
        async throws
    {
        let result = await #expect(
            processExitsWith: .success, observing: [\.standardErrorContent]
        ) {
            for _ in 0..<100 { Report.print(Report(kind: .turnTooLong, message: "so long")) }
            Report.print(Report(kind: .handlerThrew, message: "oh"))
        }
        let text = String(decoding: try #require(result).standardErrorContent, as: UTF8.self)
        #expect(text == "sluice: turn-too-long: so long\nsluice: handler-threw: oh\n")
    }
}
