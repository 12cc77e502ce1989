// withTimeout: whom the deadline reaches, what it throws, and what it leaves alone. The clocks are
// virtual: seconds pass when nothing else can happen.

import Sluice
import SluiceTestKit
import Testing

private struct Refusal: Error, Equatable {}

/// A test on a loop whose clock is virtual.
private func onVirtualTime(_ body: @escaping @Sendable (EventLoop) async throws -> Void)
    async throws
{
    let faults = FaultTable()
    faults.setClock(nanoseconds: 1_000_000_000)
    try await withLoop(faults: faults, body)
}

@Suite struct TimeoutTests {
    @Test func `a wait that lasts past the deadline throws timedOut then`() async throws {
        try await onVirtualTime { loop in
            let before = loop.now()
            _ = await #expect(throws: ReactorError.timedOut) {
                try await withTimeout(.seconds(10)) { try await sleep(for: .seconds(3_600)) }
            }
            #expect(loop.now() - before == 10_000_000_000)
            #expect(await loop.statistics().timersArmed == 0)
        }
    }

    @Test func `waits that end in time, their values and their errors pass`() async throws {
        try await onVirtualTime { loop in
            let value = try await withTimeout(.seconds(10)) {
                try await sleep(for: .seconds(9))
                return 42
            }
            #expect(value == 42)
            await #expect(throws: Refusal()) {
                try await withTimeout(.seconds(10)) {
                    try await sleep(for: .seconds(9))
                    throw Refusal()
                }
            }
            #expect(await loop.statistics().timersArmed == 0)
        }
    }

    @Test func `a body that does not wait is left alone, however late`() async throws {
        try await onVirtualTime { _ in
            let value = try await withTimeout(.zero) { 42 }
            #expect(value == 42)
            _ = await #expect(throws: ReactorError.timedOut) {
                try await withTimeout(.zero) { try await sleep(for: .nanoseconds(1)) }
            }
            _ = await #expect(throws: ReactorError.timedOut) {
                try await withTimeout(.seconds(-5)) { try await sleep(for: .nanoseconds(1)) }
            }
        }
    }

    @Test func `each wait after the deadline throws, the first one is not the last`() async throws {
        try await onVirtualTime { _ in
            let count = try await withTimeout(.seconds(1)) {
                var count = 0
                for _ in 0..<5 {
                    do throws(ReactorError) {
                        try await sleep(for: .seconds(2))
                    } catch .timedOut {
                        count += 1
                    }
                }
                return count
            }
            #expect(count == 5)
            // Outside of it sleeping works again.
            try await sleep(for: .seconds(2))
        }
    }

    @Test func `of nested timeouts the earliest counts`() async throws {
        try await onVirtualTime { loop in
            for (outer, inner) in [(1, 5), (5, 1)] {
                let before = loop.now()
                await #expect(throws: ReactorError.timedOut) {
                    try await withTimeout(.seconds(outer)) {
                        try await withTimeout(.seconds(inner)) {
                            try await sleep(for: .seconds(60))
                        }
                    }
                }
                #expect(loop.now() - before == 1_000_000_000)
            }
        }
    }

    @Test func `after an inner timeout the outer body goes on`() async throws {
        try await onVirtualTime { loop in
            let before = loop.now()
            try await withTimeout(.seconds(10)) {
                await #expect(throws: ReactorError.timedOut) {
                    try await withTimeout(.seconds(1)) { try await sleep(for: .seconds(60)) }
                }
                try await sleep(for: .seconds(5))
            }
            #expect(loop.now() - before == 6_000_000_000)
        }
    }

    @Test func `the waits of child tasks are included`() async throws {
        try await onVirtualTime { _ in
            try await withTimeout(.seconds(1)) {
                await #expect(throws: ReactorError.timedOut) {
                    async let child: Void = sleep(for: .seconds(60))
                    try await child
                }
                await #expect(throws: ReactorError.timedOut) {
                    try await withThrowingTaskGroup(of: Void.self) { group in
                        group.addTask { try await sleep(for: .seconds(60)) }
                        try await group.waitForAll()
                    }
                }
            }
        }
    }

    @Test func `cancellation is told apart from the deadline`() async throws {
        try await onVirtualTime { loop in
            let isBegun = Shared(false)
            let task = loop.spawn {
                try await withTimeout(.seconds(10)) {
                    isBegun.set(true)
                    try await sleep(for: .seconds(3_600))
                }
            }
            while !isBegun.value { await EventLoop.yield() }
            task.cancel()
            await #expect(throws: ReactorError.cancelled) { try await task.value }
            #expect(await loop.statistics().timersArmed == 0)
        }
    }

    @Test func `a deadline works off every loop too`() async throws {
        try await withDeadline {
            _ = await #expect(throws: ReactorError.timedOut) {
                try await withTimeout(.milliseconds(1)) { try await sleep(for: .seconds(3_600)) }
            }
        }
    }

    @Test func `the longest timeout is none`() async throws {
        try await onVirtualTime { _ in
            try await withTimeout(.seconds(Int64.max)) { try await sleep(for: .seconds(60)) }
        }
    }
}

@Suite struct CancellingTimeoutTests {
    @Test func `other people's waits are cancelled at the deadline, which throws timedOut`()
        async throws
    {
        try await withLoop { loop in
            _ = await #expect(throws: ReactorError.timedOut) {
                try await withTimeout(cancelling: .milliseconds(1)) {
                    try await Task.sleep(for: .seconds(3_600))
                }
            }
            #expect(await loop.statistics().timersArmed == 0)
        }
    }

    @Test func `a value and an error that come in time pass`() async throws {
        try await onVirtualTime { loop in
            let isHere = try await withTimeout(cancelling: .seconds(10)) {
                try await sleep(for: .seconds(9))
                return loop.isCurrent
            }
            #expect(isHere)
            await #expect(throws: Refusal()) {
                try await withTimeout(cancelling: .seconds(10)) { throw Refusal() }
            }
            #expect(await loop.statistics().timersArmed == 0)
        }
    }

    @Test func `a body that ignores the cancellation still gives its value`() async throws {
        try await onVirtualTime { loop in
            let value = try await withTimeout(cancelling: .seconds(1)) {
                while !Task.isCancelled { try? await sleep(for: .seconds(1)) }
                return 42
            }
            #expect(value == 42)
        }
    }

    @Test func `cancelling the caller cancels the body, and that is no timeout`() async throws {
        try await withLoop { loop in
            let isBegun = Shared(false)
            let task = loop.spawn {
                try await withTimeout(cancelling: .seconds(3_600)) {
                    isBegun.set(true)
                    try await Task.sleep(for: .seconds(3_600))
                }
            }
            try await waitUntil { isBegun.value }
            task.cancel()
            await #expect(throws: CancellationError.self) { try await task.value }
            #expect(await loop.statistics().timersArmed == 0)
        }
    }

    @Test func `a cancelling timeout works off every loop too`() async throws {
        try await withDeadline {
            _ = await #expect(throws: ReactorError.timedOut) {
                try await withTimeout(cancelling: .milliseconds(1)) {
                    try await Task.sleep(for: .seconds(3_600))
                }
            }
        }
    }
}
