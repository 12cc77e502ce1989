// The loop as an executor: what runs on its thread, and that everything comes back to it.

import Sluice
import SluiceTestKit
import Testing

private actor Ordinary {
    private var count = 0

    func add(_ number: Int) async -> UInt {
        let before = threadNumber()
        await EventLoop.yield()
        count += number
        return before == threadNumber() ? before : 0
    }

    func nap() async throws {
        count += 1
        try await sleep(for: .microseconds(1))
        await EventLoop.yield()
        count += 1
    }

    var total: Int { count }
}

private actor Pinned {
    private let loop: EventLoop
    private var count = 0

    init(loop: EventLoop) {
        self.loop = loop
    }

    nonisolated var unownedExecutor: UnownedSerialExecutor {
        loop.serialExecutor.asUnownedSerialExecutor()
    }

    func add(_ number: Int) -> Bool {
        count += number
        return loop.isCurrent
    }

    func nap() async throws -> [Bool] {
        var places = [loop.isCurrent]
        try await sleep(for: .microseconds(100))
        places.append(loop.isCurrent)
        await EventLoop.yield()
        places.append(loop.isCurrent)
        _ = try await offload { 1 }
        places.append(loop.isCurrent)
        return places
    }

    var total: Int { count }
}

/// A function that is not async may assume an isolation.
private func assumeOffItsLoop(_ pinned: Pinned) {
    pinned.assumeIsolated { _ in }
}

@MainActor private func onMain() -> Bool { EventLoop.current == nil }

@Suite struct ExecutorTests {
    @Test func `a spawned task stays on the loop over all its awaits`() async throws {
        try await withLoop { loop in
            for _ in 0..<20 {
                #expect(loop.isCurrent)
                try await sleep(for: .microseconds(50))
                #expect(loop.isCurrent)
                await EventLoop.yield()
                #expect(loop.isCurrent)
                await Task.yield()
                #expect(loop.isCurrent)
                _ = try await offload { 1 }
                #expect(loop.isCurrent)
                _ = await Task.detached { 1 }.value
                #expect(loop.isCurrent)
            }
        }
    }

    @Test func `async let and the children of groups run on the loop`() async throws {
        try await withLoop { loop in
            async let first = loop.isCurrent
            async let second = Self.afterWait(loop)
            let both = try await (first, second)
            #expect(both == (true, true))
            let all = try await withThrowingTaskGroup(of: Bool.self) { group in
                for _ in 0..<50 { group.addTask { try await Self.afterWait(loop) } }
                var all = true
                for try await here in group { all = all && here }
                return all
            }
            #expect(all)
            let nested = await withDiscardingTaskGroup { group in
                let nested = Shared(true)
                for _ in 0..<10 {
                    group.addTask {
                        async let inner = Self.afterWait(loop)
                        let isHere = (try? await inner) ?? false
                        nested.withLock { $0 = $0 && isHere && loop.isCurrent }
                    }
                }
                return nested
            }
            #expect(nested.value)
        }
    }

    private static func afterWait(_ loop: EventLoop) async throws -> Bool {
        let before = loop.isCurrent
        try await sleep(for: .microseconds(50))
        return before && loop.isCurrent
    }

    @Test func `an ordinary actor that a task of the loop awaits runs on the loop's thread`()
        async throws
    {
        try await withLoop { loop in
            let actor = Ordinary()
            let thread = threadNumber()
            let tasks = (1...20).map { number in loop.spawn { await actor.add(number) } }
            for task in tasks {
                let place = try await task.value
                #expect(place == thread)
            }
            #expect(await actor.total == 210)
            #expect(loop.isCurrent)
        }
    }

    /// The actor's turn may be run by either thread, whichever task's it is.
    @Test func `an ordinary actor shared with tasks elsewhere may sleep in its methods`()
        async throws
    {
        try await withLoop { loop in
            let actor = Ordinary()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<4 {
                    group.addTask {
                        try await Task.detached {
                            for _ in 0..<100 { try await actor.nap() }
                        }.value
                    }
                    group.addTask {
                        for _ in 0..<100 {
                            try await actor.nap()
                            #expect(loop.isCurrent)
                        }
                    }
                }
                try await group.waitForAll()
            }
            #expect(await actor.total == 1_600)
        }
    }

    @Test func `a task that visits the main actor comes back to the loop`() async throws {
        try await withLoop { loop in
            #expect(await onMain())
            #expect(loop.isCurrent)
        }
    }

    @Test func `tasks of two loops that await each other stay each on its own`() async throws {
        try await withLoop { one in
            try await withLoop { two in
                for _ in 0..<50 {
                    #expect(two.isCurrent)
                    let isThere = try await one.spawn { one.isCurrent }.value
                    #expect(isThere)
                }
            }
            #expect(one.isCurrent)
        }
    }

    /// Such a task is on the loop's thread until its first wait, and then wherever it likes.
    @Test func `a bare Task.immediate begun on the loop may sleep`() async throws {
        try await withLoop { loop in
            let tasks = Shared<[Task<Bool, any Error>]>([])
            for _ in 0..<20 {
                try loop.post {
                    let task = Task.immediate {
                        let began = loop.isCurrent
                        for _ in 0..<3 { try await sleep(for: .microseconds(20)) }
                        return began
                    }
                    tasks.append(task)
                }
            }
            try await waitUntil { tasks.value.count == 20 }
            for task in tasks.value {
                let began = try await task.value
                #expect(began)
            }
        }
    }

    @Test func `cancelling a spawned task ends its waits as cancelled`() async throws {
        try await withLoop { loop in
            let task = loop.spawn(name: "napper") { try await sleep(for: .seconds(3_600)) }
            await EventLoop.yield()
            task.cancel()
            await #expect(throws: ReactorError.cancelled) { try await task.value }
        }
    }

    @Test func `a task's result can be awaited off the loop`() async throws {
        try await withDeadline {
            let loop = try EventLoop.start()
            #expect(try await loop.spawn { 42 }.value == 42)
            let failing = loop.spawn { throw ReactorError.inboxFull }
            await #expect(throws: ReactorError.inboxFull) { try await failing.value }
            await loop.stop()
        }
    }
}

@Suite struct PinnedActorTests {
    @Test func `an actor with the loop's serial executor runs on the loop, whoever calls`()
        async throws
    {
        try await withLoop { loop in
            let pinned = Pinned(loop: loop)
            #expect(await pinned.add(1))
            #expect(loop.isCurrent)
            let elsewhere = Task.detached { await pinned.add(2) }
            #expect(await elsewhere.value)
            let background = EventLoop.background.spawn { await pinned.add(4) }
            let isThere = try await background.value
            #expect(isThere)
            #expect(await pinned.total == 7)
        }
    }

    @Test func `a pinned actor comes back to the loop after each wait`() async throws {
        try await withLoop { loop in
            let pinned = Pinned(loop: loop)
            let places = try await pinned.nap()
            #expect(places == [true, true, true, true])
            #expect(loop.isCurrent)
            let elsewhere = Task.detached { try await pinned.nap() }
            let others = try await elsewhere.value
            #expect(others == [true, true, true, true])
        }
    }

    @Test func `code on the loop may assume the isolation of a pinned actor`() async throws {
        try await withLoop { loop in
            let pinned = Pinned(loop: loop)
            let here = Shared(false)
            try loop.post { pinned.assumeIsolated { _ in here.set(true) } }
            await EventLoop.yield()
            #expect(here.value)
        }
    }

    @Test func `assuming a pinned actor's isolation off the loop stops the program`() async {
        await #expect(processExitsWith: .failure) {
            assumeOffItsLoop(Pinned(loop: .background))
        }
    }

    @Test func `calls to a pinned actor from many threads are all counted`() async throws {
        try await withLoop { loop in
            let pinned = Pinned(loop: loop)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<4 {
                    group.addTask {
                        await Task.detached {
                            for _ in 0..<500 { _ = await pinned.add(1) }
                        }.value
                    }
                }
                try await group.waitForAll()
            }
            #expect(await pinned.total == 2_000)
        }
    }
}
