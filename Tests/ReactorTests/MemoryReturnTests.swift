// When a loop gives a peak's memory back. That the resident set shrinks is seen by
// Tests/Acceptance/peak.py.

import Sluice
import SluiceTestKit
import Testing

@Suite struct MemoryReturnTests {
    /// On virtual time; the only timers and members are those of this test.
    @Test func `RELIABILITY 45: much that has become free is looked at once, a second later`()
        async throws
    {
        let faults = FaultTable()
        faults.setClock(nanoseconds: 1_000_000_000)
        try await withLoop(faults: faults) { loop in
            borrow(ReactorBounds.returnedBytes / BlockPool.sizes.huge + 1, of: loop)
            await EventLoop.yield()
            await EventLoop.yield()
            #expect(loop.isReturningMemory)
            // Another peak meanwhile is looked at with it.
            borrow(ReactorBounds.returnedBytes / BlockPool.sizes.huge + 1, of: loop)
            await EventLoop.yield()
            #expect(loop.isReturningMemory)
            try await sleep(for: .seconds(2))
            #expect(!loop.isReturningMemory)
            #expect(await loop.statistics().members == 0)
        }
    }

    @Test func `a small peak is not looked at`() async throws {
        try await withLoop { loop in
            borrow(ReactorBounds.returnedBytes / BlockPool.sizes.huge / 2, of: loop)
            await EventLoop.yield()
            await EventLoop.yield()
            #expect(!loop.isReturningMemory)
        }
    }

    @Test func `a loop that stops before that second is over has no timer left`() async throws {
        try await withDeadline {
            let loop = try startLoop(faults: nil)
            try await loop.spawn {
                borrow(ReactorBounds.returnedBytes / BlockPool.sizes.huge + 1, of: loop)
                await EventLoop.yield()
                await EventLoop.yield()
                #expect(loop.isReturningMemory)
                // The loop's own doing, not its users'.
                #expect(await loop.statistics().members == 0)
                #expect(await loop.statistics().timersArmed == 0)
            }.value
            await loop.stop()
            #expect(!loop.isReturningMemory)
            #expect(await loop.statistics().members == 0)
            #expect(await loop.statistics().timersArmed == 0)
        }
    }
}

/// Takes so many blocks over the end of a turn's count, and gives them back.
private func borrow(_ count: Int, of loop: EventLoop) {
    let size = BlockPool.sizes.huge
    let blocks = (0..<count).map { _ in loop.state.pointee.blocks.take(atLeast: size) }
    loop.noteHeldMemory()
    for block in blocks { loop.state.pointee.blocks.give(block, capacity: size) }
}
