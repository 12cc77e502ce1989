// LoopBound: state of one loop, without a lock, checked.

import Sluice
import SluiceTestKit
import Testing

/// A value that is not Sendable, as users have them.
private final class Rooms {
    var names: [String] = []
}

@Suite struct LoopBoundTests {
    @Test func `tasks of one loop share a value that is not Sendable`() async throws {
        try await withLoop { loop in
            let rooms = LoopBound(Rooms())
            let tasks = (0..<100).map { number in
                loop.spawn {
                    await EventLoop.yield()
                    rooms.withValue { $0.names.append("\(number)") }
                }
            }
            for task in tasks { try await task.value }
            #expect(rooms.withValue { $0.names.count } == 100)
        }
    }

    @Test func `a value made elsewhere for a loop is used there`() async throws {
        try await withDeadline {
            let loop = try EventLoop.start()
            let count = LoopBound(0, on: loop)
            let result = try await loop.spawn {
                count.withValue { $0 += 1 }
                return count.withValue { $0 }
            }.value
            #expect(result == 1)
            await loop.stop()
        }
    }

    @Test func `what the body throws comes out, and its changes stay`() async throws {
        try await withLoop { _ in
            let count = LoopBound(0)
            #expect(throws: ReactorError.inboxFull) {
                try count.withValue { value in
                    value = 7
                    throw ReactorError.inboxFull
                }
            }
            #expect(count.withValue { $0 } == 7)
        }
    }

    @Test func `use off its loop stops the program with words that say what to do`() async throws {
        let result = await #expect(
            processExitsWith: .failure, observing: [\.standardErrorContent]
        ) {
            LoopBound(Rooms(), on: .background).withValue { $0.names.append("x") }
        }
        let text = String(decoding: try #require(result).standardErrorContent, as: UTF8.self)
        #expect(text.contains("LoopBound.withValue"))
        #expect(text.contains("loop.spawn"))
    }

    @Test func `use on another loop stops the program`() async {
        await #expect(processExitsWith: .failure) {
            let bound = LoopBound(1, on: .background)
            try EventLoop.run { bound.withValue { $0 += 1 } }
        }
    }
}
