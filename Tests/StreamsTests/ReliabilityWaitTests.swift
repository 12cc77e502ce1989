// A wait that cancellation, its deadline and the loss of the connection end at the same moment;
// row 98 of docs/RELIABILITY-TESTS.md. A continuation resumed twice would stop the program, one
// that is forgotten would never end.

import Sluice
import SluiceTestKit
import Testing

/// What a task waits for.
enum WaitKind: String, CaseIterable, Sendable, CustomTestStringConvertible {
    case read, readLine, drain, flush, waitClosed, waitPeerClosed

    var testDescription: String { rawValue }

    func wait(on end: StreamEnd) async throws {
        switch self {
        case .read: _ = try await end.reader.readExactly(10)
        case .readLine: _ = try await end.reader.readLine()
        case .drain: try await end.writer.drain()
        case .flush: try await end.writer.flush()
        case .waitClosed: try await end.writer.waitClosed()
        case .waitPeerClosed: try await end.writer.waitPeerClosed()
        }
    }
}

/// What ends it.
private enum Ending: CaseIterable {
    case cancel, deadline, loss, abort
}

@Suite struct ReliabilityWaitTests {
    /// All orders of all four endings, within one turn of the loop.
    @Test(arguments: WaitKind.allCases, PairKind.allCases)
    func `RELIABILITY 98: a wait ends once, whatever ends it and in whichever order`(
        wait: WaitKind, kind: PairKind
    ) async throws {
        for order in orders(of: Ending.allCases) {
            let faults = FaultTable()
            faults.setClock(nanoseconds: 1_000_000_000)
            try await withCloggedPair(kind, faults: faults) { near, far, _ in
                let endings = LoopBound(0)
                let task = await started {
                    defer { endings.withValue { $0 += 1 } }
                    try await withTimeout(.seconds(1)) { try await wait.wait(on: near) }
                }
                #expect(endings.withValue { $0 } == 0, "\(wait) does not wait")
                for ending in order {
                    switch ending {
                    case .cancel: task.cancel()
                    case .deadline: faults.advance(nanoseconds: 1_000_000_000)
                    case .loss: far.writer.startAborting()
                    case .abort: near.writer.startAborting()
                    }
                }
                // An error says which came first; a wait for the close may be told of it instead.
                let result = await task.result
                if case .success = result, wait != .waitClosed, wait != .waitPeerClosed {
                    Issue.record("\(wait) succeeded after \(order)")
                }
                await settle()
                #expect(endings.withValue { $0 } == 1)
            }
        }
    }

    /// Every permutation.
    private func orders(of endings: [Ending]) -> [[Ending]] {
        guard let last = endings.last else { return [[]] }
        return orders(of: endings.dropLast()).flatMap { order in
            (0...order.count).map { place in
                var order = order
                order.insert(last, at: place)
                return order
            }
        }
    }
}
