// What a review tried with servers that accept again and again: pauses and their ends in any order,
// loops that stop, and what the deadlines cost.

import Glibc
import Sluice
import SluiceTestKit
import Testing

@Suite struct RegressionAcceptTests {
    @Test func `a stream closed on a stopped loop gives its descriptor back`() async throws {
        let faults = FaultTable()
        let loop = try startLoop(faults: faults)
        await loop.stop()
        let (near, far) = try makeSocketPair()
        let pair = try await adoptSocket(near, on: loop)
        try await withDeadline { await pair.writer.close() }
        // Sent into nobody's buffer, if it is still open.
        #expect(send(far, "x", 1, Int32(MSG_NOSIGNAL)) == -1)
        #expect(errno == EPIPE)
        close(far)
    }
}

/// Runs the body as a task of the background loop.
private func elsewhere<T: Sendable>(
    _ body: @escaping @Sendable () async throws -> T
) async throws -> T {
    try await EventLoop.background.spawn { try await body() }.value
}
