// The order of a turn's phases, and what runs in which turn.

import Sluice
import SluiceTestKit
import Testing

@Suite struct TurnTests {
    /// One entry of a test's log: what ran, and in which turn.
    struct Entry: Equatable, Sendable {
        var what: String
        var turn: UInt64
    }

    /// The turn that is going on; on the loop this does not suspend.
    static func turn(_ loop: EventLoop) async -> UInt64 { await loop.statistics().turns }

    /// The clock is virtual and the job that queues everything also makes the timer due, so that
    /// all three are there when the next turn begins.
    @Test func `a turn takes the inbox, fires timers and then runs the jobs of both`() async throws
    {
        let faults = FaultTable()
        faults.setClock(nanoseconds: 1_000_000_000)
        try await withLoop(faults: faults) { loop in
            let log = Shared<[Entry]>([])
            let sleeper = loop.spawn {
                try await sleep(for: .seconds(1))
                log.append(Entry(what: "timer", turn: await Self.turn(loop)))
            }
            // The sleeper's first job ran before this one's next.
            await EventLoop.yield()
            let now = await Self.turn(loop)
            let job = loop.spawn { log.append(Entry(what: "job", turn: await Self.turn(loop))) }
            try loop.post { log.append(Entry(what: "inbox", turn: now + 1)) }
            faults.advance(nanoseconds: 1_000_000_000)
            try await job.value
            try await sleeper.value
            #expect(
                log.value == [
                    Entry(what: "inbox", turn: now + 1), Entry(what: "job", turn: now + 1),
                    Entry(what: "timer", turn: now + 1),
                ])
        }
    }

    @Test func `jobs queued in one turn run in the next, in their order`() async throws {
        try await withLoop { loop in
            let log = Shared<[Entry]>([])
            let now = await Self.turn(loop)
            let tasks = (0..<100).map { number in
                loop.spawn { log.append(Entry(what: "\(number)", turn: await Self.turn(loop))) }
            }
            for task in tasks { try await task.value }
            #expect(log.value == (0..<100).map { Entry(what: "\($0)", turn: now + 1) })
        }
    }

    @Test func `a job that queues itself runs once in a turn`() async throws {
        try await withLoop { loop in
            let first = await Self.turn(loop)
            for round in 1...200 {
                await EventLoop.yield()
                #expect(await Self.turn(loop) == first + UInt64(round))
            }
        }
    }

    /// 4,096 jobs are the bound; timers and sockets have their turn before the rest.
    @Test func `no more jobs than the bound run in one turn`() async throws {
        try await withLoop { loop in
            let turns = Shared<[UInt64]>([])
            let now = await Self.turn(loop)
            let tasks = (0..<5_000).map { _ in
                loop.spawn { turns.append(await Self.turn(loop)) }
            }
            for task in tasks { try await task.value }
            let bound = ReactorBounds.jobsPerTurn
            #expect(turns.value.filter { $0 == now + 1 }.count == bound)
            #expect(turns.value.filter { $0 == now + 2 }.count == 5_000 - bound)
        }
    }

    @Test func `jobs that queue jobs for ever do not starve timers and the inbox`() async throws {
        try await withLoop { loop in
            let isOver = Shared(false)
            let spinners = (0..<3).map { _ in
                loop.spawn {
                    while !isOver.value { await EventLoop.yield() }
                }
            }
            try await sleep(for: .milliseconds(2))
            let arrived = try await offload {
                let arrived = Shared(false)
                try loop.post { arrived.set(true) }
                arrived.block { $0 }
                return arrived.value
            }
            #expect(arrived)
            isOver.set(true)
            for spinner in spinners { try await spinner.value }
        }
    }

    @Test func `a closure posted on the loop runs in the next turn, not in this one`() async throws
    {
        try await withLoop { loop in
            let hasRun = Shared(false)
            try loop.post { hasRun.set(true) }
            #expect(!hasRun.value)
            await EventLoop.yield()
            #expect(hasRun.value)
        }
    }
}

@Suite struct YieldTests {
    @Test func `tasks that yield take turns`() async throws {
        try await withLoop { loop in
            let log = Shared<[String]>([])
            let tasks = ["a", "b", "c"].map { name in
                loop.spawn {
                    for _ in 0..<3 {
                        log.append(name)
                        await EventLoop.yield()
                    }
                }
            }
            for task in tasks { try await task.value }
            #expect(log.value.joined() == "abcabcabc")
        }
    }

    @Test func `yield off every loop returns`() async throws {
        try await withDeadline {
            for _ in 0..<10 { await EventLoop.yield() }
        }
    }

    @Test func `a cancelled task can yield`() async throws {
        try await withLoop { loop in
            let task = loop.spawn {
                while !Task.isCancelled { await EventLoop.yield() }
                await EventLoop.yield()
                return loop.isCurrent
            }
            await EventLoop.yield()
            task.cancel()
            let isHere = try await task.value
            #expect(isHere)
        }
    }
}
