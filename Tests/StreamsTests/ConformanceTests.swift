// B46: every kind of stream passes the same list.

import Sluice
import SluiceTestKit
import Testing

struct ConformanceTests {
    @Test(arguments: PairKind.allCases)
    func `B46: a stream of this kind passes the conformance suite`(_ kind: PairKind) async throws {
        try await withLoop { _ in
            try await checkStream(
                makePair: { try await kind.makePair() },
                makeCloggedPair: { try await kind.makeCloggedPair() })
        }
    }

    /// The rare branches: a small buffer, and a receive gives few bytes.
    @Test func `B46: the memory pair passes it also when bytes arrive in small pieces`()
        async throws
    {
        try await withLoop { _ in
            try await checkStream(
                makePair: {
                    let (near, far) = try await makeMemoryPair(capacity: 300, chunk: 61)
                    return (StreamEnd(near), StreamEnd(far))
                },
                makeCloggedPair: {
                    let (near, far) = try await makeMemoryPair(capacity: 300, chunk: 61)
                    near.writer.setWriteMarks(high: 64, low: 1)
                    let queued = try await clog(near.writer, highWaterMark: 64)
                    return (StreamEnd(near), StreamEnd(far), queued)
                })
        }
    }
}
