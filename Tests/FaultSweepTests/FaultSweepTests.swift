// The fault sweep, RELIABILITY 5.2 row 12: each system call of each scenario fails once, with each
// plausible error, and after every case nothing is left and nobody waits. In short form the errors
// take turns; with SLUICE_LONG=1 each call fails with each of them, also several times in a row.

import SluiceTestKit
import Testing

@Suite(.serialized) struct FaultSweepTests {
    @Test func `whichever system call fails, no descriptor, task, timer, buffer or waiter is left`()
        async throws
    {
        let total = await withTaskGroup(of: SweepReport.self) { group in
            var waiting = Scenario.all[...]
            func startNext() {
                guard let scenario = waiting.popFirst() else { return }
                group.addTask {
                    var sweep = Sweep(scenario, isFull: isLongRun)
                    await sweep.run()
                    return sweep.report
                }
            }
            for _ in 0..<2 { startNext() }
            var total = SweepReport()
            while let report = await group.next() {
                total.add(report)
                startNext()
            }
            return total
        }
        for failure in total.failures { Issue.record("\(failure)") }
        // Every scenario has at least its untouched run and a few dozen calls that can fail.
        #expect(total.cases > 30 * Scenario.all.count)
        print(
            "fault sweep: \(total.cases) cases, 0 crashes, \(total.leaks) leaks, "
                + "\(total.hangs) hangs")
    }

    /// A sweep that finds nothing has to be one that can: a scenario that leaks, and one that hangs
    /// once a call fails.
    @Test func `the sweep finds a descriptor left open and a task left waiting`() async throws {
        var leaking = Sweep(.leaking, isFull: false)
        await leaking.run()
        #expect(leaking.report.leaks > 0)
        var hanging = Sweep(.hanging, isFull: false)
        await hanging.run()
        #expect(hanging.report.hangs > 0)
        var lying = Sweep(.lying, isFull: false)
        await lying.run()
        #expect(lying.report.failures.contains { $0.contains("instead of") })
    }
}
