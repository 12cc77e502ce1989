// Calls that break a rule stop the program with the rule in their words, whatever the wire says.
// Each case runs in a process of its own.

import Sluice
import SluiceTestKit
import Testing

/// Calls with an argument out of range.
enum WrongCall: String, CaseIterable, Codable, CustomTestStringConvertible {
    case readNothing, readExactlyNegative, peekNegative, skipNegative, skipThroughNothing
    case lineLimitZero, endLimitZero, availableZero, marksReversed, marksNegative,
        unreadWhileReading

    var testDescription: String { rawValue }

    func perform(_ end: StreamEnd) async throws {
        switch self {
        case .readNothing: _ = try await end.reader.read(upTo: 0)
        case .readExactlyNegative: _ = try await end.reader.readExactly(-1)
        case .peekNegative: _ = try await end.reader.peek(-1)
        case .skipNegative: _ = try await end.reader.skip(-1)
        case .skipThroughNothing: _ = try await end.reader.skip(through: [])
        case .lineLimitZero: _ = try await end.reader.readLine(limit: 0)
        case .endLimitZero: _ = try await end.reader.readToEnd(limit: 0)
        case .availableZero: _ = try await end.reader.withAvailable(upTo: 0) { $0.byteCount }
        case .marksReversed: end.writer.setWriteMarks(high: 1, low: 2)
        case .marksNegative: end.writer.setWriteMarks(high: -1)
        case .unreadWhileReading:
            _ = await started { try await end.reader.read() }
            end.reader.unread([1])
        }
    }
}

@Suite struct CallerErrorTests {
    @Test(arguments: WrongCall.allCases)
    func `B1: a call that breaks a rule stops the program`(_ call: WrongCall) async {
        await #expect(processExitsWith: .failure) { [call = call as WrongCall] in
            try EventLoop.run {
                let (near, far) = try await PairKind.memory.makePair()
                try await call.perform(near)
                await far.writer.abort()
            }
        }
    }
}
