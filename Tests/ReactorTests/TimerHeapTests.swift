// TimerHeap against a sorted array, by random scripts.

import Sluice
import SluiceTestKit
import Testing

/// What the heap has to do, as simply as possible.
private struct SortedTimers {
    struct Timer {
        var deadline: UInt64
        var order: Int
        var token: TimerToken
    }

    private(set) var timers: [Timer] = []
    private var inserted = 0

    mutating func insert(deadline: UInt64, token: TimerToken) -> Int {
        let timer = Timer(deadline: deadline, order: inserted, token: token)
        let place = timers.firstIndex { $0.deadline > deadline } ?? timers.count
        timers.insert(timer, at: place)
        inserted += 1
        return timer.order
    }

    mutating func cancel(_ token: TimerToken) -> Int? {
        guard let place = timers.firstIndex(where: { $0.token == token }) else { return nil }
        return timers.remove(at: place).order
    }

    mutating func popDue(now: UInt64) -> Int? {
        guard let first = timers.first, first.deadline <= now else { return nil }
        return timers.removeFirst().order
    }
}

/// Heap and model side by side, with every token ever given out.
private struct Script {
    var heap = TimerHeap<Int>()
    var model = SortedTimers()
    var tokens: [TimerToken] = []
    var generator: SeededGenerator
    var now: UInt64 = 0

    mutating func step() -> Bool {
        switch Int.random(in: 0..<10, using: &generator) {
        case 0..<4:
            let deadline = now + UInt64.random(in: 0...50, using: &generator)
            let token = heap.insert(deadline: deadline, tokens.count)
            guard model.insert(deadline: deadline, token: token) == tokens.count, token != 0 else {
                return false
            }
            tokens.append(token)
        case 4..<8:
            // Any token, also of timers that fired or were cancelled long ago.
            guard let token = tokens.randomElement(using: &generator) else { return true }
            guard heap.cancel(token) == model.cancel(token) else { return false }
        default:
            now += UInt64.random(in: 0...20, using: &generator)
            for _ in 0..<Int.random(in: 1...20, using: &generator) {
                guard heap.popDue(now: now) == model.popDue(now: now) else { return false }
            }
        }
        return heap.count == model.timers.count
            && heap.nextDeadline() == model.timers.first?.deadline
            && heap.entriesStored <= 2 * heap.count + 64
    }
}

@Suite struct TimerHeapTests {
    @Test func `a heap and a sorted array answer every script alike`() {
        let seed = SeededGenerator().seed
        for round in 0..<(isLongRun ? 500 : 40) {
            var script = Script(generator: SeededGenerator(seed: seed &+ UInt64(round)))
            for step in 0..<400 {
                guard script.step() else {
                    Issue.record("they differ after step \(step), seed \(seed &+ UInt64(round))")
                    return
                }
            }
        }
    }

    @Test func `timers come in the order of deadlines and, among equal ones, of insertion`() {
        var heap = TimerHeap<Int>()
        let deadlines: [UInt64] = [5, 3, 5, 1, 3, 1, 9]
        for (index, deadline) in deadlines.enumerated() {
            _ = heap.insert(deadline: deadline, index)
        }
        var order: [Int] = []
        while let index = heap.popDue(now: 5) { order.append(index) }
        #expect(order == [3, 5, 1, 4, 0, 2])
        #expect(heap.nextDeadline() == 9)
        #expect(heap.count == 1)
    }

    @Test func `no timer comes before its deadline`() {
        var heap = TimerHeap<Int>()
        _ = heap.insert(deadline: 100, 1)
        #expect(heap.popDue(now: 99) == nil)
        #expect(heap.popDue(now: 100) == 1)
        #expect(heap.popDue(now: .max) == nil)
        _ = heap.insert(deadline: .max, 2)
        #expect(heap.popDue(now: .max - 1) == nil)
        #expect(heap.popDue(now: .max) == 2)
    }

    @Test func `a token is good for one cancellation, and not for its slot's next timer`() {
        var heap = TimerHeap<Int>()
        let first = heap.insert(deadline: 1, 1)
        #expect(heap.cancel(first) == 1)
        #expect(heap.cancel(first) == nil)
        let second = heap.insert(deadline: 2, 2)
        #expect(first != second)
        #expect(heap.cancel(first) == nil)
        #expect(heap.popDue(now: 2) == 2)
        #expect(heap.cancel(second) == nil)
        #expect(heap.cancel(0) == nil)
        #expect(heap.cancel(.max) == nil)
    }

    /// A million with SLUICE_LONG=1, against a thousand timers that stay.
    @Test func `setting and cancelling a million timers stores twice the live ones at most`() {
        var heap = TimerHeap<Int>()
        for index in 0..<1_000 { _ = heap.insert(deadline: UInt64(index), index) }
        var most = 0
        for index in 0..<(isLongRun ? 1_000_000 : 50_000) {
            let token = heap.insert(deadline: UInt64(500 + index % 3_000), index)
            _ = heap.cancel(token)
            most = max(most, heap.entriesStored)
        }
        #expect(heap.count == 1_000)
        #expect(most <= 2 * 1_001)
    }
}
