// Beginning and end of a loop: on the calling thread, on a thread of its own, and its stop.

import Glibc
import Sluice
import SluiceTestKit
import Testing

private struct Refusal: Error, Equatable {}

@Suite struct LoopLifeTests {
    @Test func `run returns the value of its body, which ran on the calling thread`() throws {
        let outside = threadNumber()
        let inside = try EventLoop.run {
            await EventLoop.yield()
            return threadNumber()
        }
        #expect(inside == outside)
        #expect(EventLoop.current == nil)
    }

    @Test func `run throws the error of its body on the calling thread`() throws {
        #expect(throws: Refusal()) {
            try EventLoop.run {
                await EventLoop.yield()
                throw Refusal()
            }
        }
    }

    @Test func `run may be called again and again`() throws {
        for round in 0..<50 {
            let result = try EventLoop.run {
                try await sleep(for: .microseconds(10))
                return round
            }
            #expect(result == round)
        }
    }

    @Test func `when run returns, the waits of tasks left over end as stopped`() async throws {
        let left = Shared<Task<Void, any Error>?>(nil)
        try EventLoop.run {
            let loop = try #require(EventLoop.current)
            left.set(loop.spawn { try await sleep(for: .seconds(3_600)) })
            await EventLoop.yield()
        }
        let task = try #require(left.value)
        try await withDeadline {
            _ = await #expect(throws: ReactorError.stopped) { try await task.value }
        }
    }

    @Test func `run on a thread that runs a loop stops the program`() async {
        await #expect(processExitsWith: .failure) {
            try EventLoop.run { try EventLoop.run { () } }
        }
    }

    @Test func `current is the loop of the thread and nothing elsewhere`() async throws {
        try await withLoop { loop in
            #expect(EventLoop.current === loop)
            #expect(loop.isCurrent)
            #expect(!EventLoop.background.isCurrent)
            let elsewhere = try await offload { EventLoop.current == nil && !loop.isCurrent }
            #expect(elsewhere)
        }
    }

    @Test func `the background loop is one, and serves those who run on none`() async throws {
        #expect(EventLoop.background === EventLoop.background)
        try await withDeadline {
            let task = EventLoop.background.spawn { EventLoop.current === EventLoop.background }
            #expect(try await task.value)
            try await sleep(for: .microseconds(100))
        }
    }

    @Test func `stop ends sleeping tasks, then refuses posts, and may be repeated`() async throws {
        try await withDeadline {
            let loop = try EventLoop.start()
            let tasks = (0..<10).map { _ in
                loop.spawn { try await sleep(for: .seconds(3_600)) }
            }
            try await waitUntil("all sleep") { await loop.statistics().timersArmed == 10 }
            await loop.stop()
            for task in tasks {
                await #expect(throws: ReactorError.stopped) { try await task.value }
            }
            #expect(throws: ReactorError.stopped) { try loop.post {} }
            await loop.stop()
        }
    }

    @Test func `a task may stop its own loop`() async throws {
        try await withDeadline {
            let loop = try EventLoop.start()
            let task = loop.spawn { await loop.stop() }
            try await task.value
            await loop.stop()
            #expect(throws: ReactorError.stopped) { try loop.post {} }
        }
    }

    @Test func `every closure accepted before or during a stop runs`() async throws {
        try await withDeadline {
            for _ in 0..<20 {
                let loop = try EventLoop.start()
                let ran = Shared(0)
                async let accepted = offload {
                    var accepted = 0
                    while true {
                        do throws(ReactorError) {
                            try loop.post { ran.withLock { $0 += 1 } }
                            accepted += 1
                        } catch .inboxFull {
                            sched_yield()
                        } catch {
                            return accepted
                        }
                    }
                }
                try await waitUntil { ran.value > 0 }
                await loop.stop()
                let count = try await accepted
                #expect(count == ran.value)
            }
        }
    }

    @Test func `started and stopped loops leave no descriptor`() async throws {
        let tables = (0..<50).map { _ in FaultTable() }
        try await withDeadline {
            for faults in tables {
                let loop = try startLoop(faults: faults)
                try await loop.spawn { await EventLoop.yield() }.value
                await loop.stop()
            }
        }
        // The last reference may be held for a moment by the thread that ends.
        try await waitUntil("all descriptors are closed") {
            tables.allSatisfy { $0.ledger.open == 0 }
        }
        #expect(tables.allSatisfy { $0.ledger.double_closes == 0 })
    }

    @Test func `a loop that cannot have its descriptors says which call failed`() {
        let faults = FaultTable()
        faults.fail(CF_EPOLL_CREATE1, with: EMFILE)
        #expect(throws: SystemError(call: "epoll_create1", errno: EMFILE)) {
            _ = try startLoop(faults: faults)
        }
        faults.fail(CF_EVENTFD, with: ENFILE)
        #expect(throws: SystemError(call: "eventfd", errno: ENFILE)) {
            _ = try startLoop(faults: faults)
        }
        #expect(faults.ledger.open == 0)
    }
}
