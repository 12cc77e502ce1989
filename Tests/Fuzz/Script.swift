// The reads of an input, each compared with what the reference model answers.

import Sluice
import SluiceStreams

// @unchecked Sendable: one task runs it, on the thread that made it.
final class Script: @unchecked Sendable {
    private let reader: StreamReader
    private var model: ReferenceReader
    private var choices: Choices
    private let bytes: [UInt8]
    private(set) var description = "not begun"

    init(reader: StreamReader, bytes: [UInt8], choices: Choices) {
        self.reader = reader
        self.bytes = bytes
        self.choices = choices
        model = ReferenceReader(bytes)
    }

    func run() async {
        do {
            while choices.hasMore { try await step() }
            description = "to the end"
            compare(try await reader.readToEnd(limit: 1 << 20), model.take(1 << 20))
            compare(try await reader.read(), nil)
        } catch {
            fail("\(description) threw \(error)")
        }
    }

    private func step() async throws(StreamError) {
        let kind = choices.next()
        let count = choices.next() << (kind & 0x80 == 0 ? 0 : 6)
        let limit = count + 1
        description = "step \(kind & 0x0F) with \(count), \(model.rest.count) bytes left"
        switch kind & 0x0F {
        case 0: available(try await reader.read(upTo: limit))
        case 1: try await shown(count)
        case 2:
            exactly(
                count,
                await outcome { () throws(StreamError) in try await reader.readExactly(count) })
        case 3: await shownExactly(count)
        case 4, 5:
            line(
                limit,
                await outcome { () throws(StreamError) in try await reader.readLine(limit: limit) })
        case 6: await shownLine(limit)
        case 7, 8: await until(separators(), limit)
        case 9: await until([separators()[0]], limit)
        case 10: await strippedLine(limit)
        case 11: compare(try await reader.peek(count), Array(model.rest.prefix(count)))
        case 12: compare(try await reader.skip(count), model.take(count).count)
        case 13:
            let separator = separators()[0]
            compare(try await reader.skip(through: separator), model.skip(through: separator))
        case 14:
            let some = Array(bytes.prefix(count % 64))
            reader.unread(some)
            model.unread(some)
        default: await cancelled(count)
        }
    }

    /// Separators that have beginnings in common with each other and with the bytes.
    private func separators() -> [[UInt8]] {
        let number = choices.next()
        let own = Array(bytes.dropFirst(number % 7).prefix(1 + number % 5))
        let lists: [[[UInt8]]] = [
            [[10]], [[13, 10]], [[13, 10], [10], [13]], [[97, 98]], [[97, 97, 98], [98]],
            [[97, 97, 97], [99, 97]], [[0]], [own.isEmpty ? [1] : own],
        ]
        return lists[number % lists.count]
    }

    // MARK: The steps

    private func available(_ got: [UInt8]?) {
        guard let got else { return compare(true, model.rest.isEmpty) }
        if got.isEmpty { differ("an empty read", "bytes or the end") }
        compare(got, model.take(got.count))
    }

    private func shown(_ count: Int) async throws(StreamError) {
        do {
            available(try await reader.withAvailable(upTo: count + 1) { Array(copying: $0) })
        } catch let error as StreamError {
            throw error
        } catch {
            differ(error, "a StreamError")
        }
    }

    private func exactly(_ count: Int, _ got: Result<[UInt8], StreamError>) {
        var expected = outcomeOf { () throws(StreamError) in try model.readExactly(count) }
        if hasCanary, case .success(let right) = expected, right.contains(10), right.contains(97) {
            expected = .success(right + [0])
        }
        compare(got, expected)
    }

    private func shownExactly(_ count: Int) async {
        do {
            exactly(count, .success(try await reader.withExactly(count) { Array(copying: $0) }))
        } catch let error as StreamError {
            exactly(count, .failure(error))
        } catch {
            differ(error, "a StreamError")
        }
    }

    private func line(_ limit: Int, _ got: Result<[UInt8]?, StreamError>) {
        let expected = outcomeOf { () throws(StreamError) in try model.readLine(limit: limit) }
        compareButArrival(got, expected)
    }

    private func shownLine(_ limit: Int) async {
        do {
            line(limit, .success(try await reader.withLine(limit: limit) { Array(copying: $0) }))
        } catch let error as StreamError {
            line(limit, .failure(error))
        } catch {
            differ(error, "a StreamError")
        }
    }

    private func until(_ separators: [[UInt8]], _ limit: Int) async {
        let got = await outcome { () throws(StreamError) in
            try await reader.readUntil(anyOf: separators, limit: limit)
        }
        let expected = outcomeOf { () throws(StreamError) in
            try model.readUntil(separators, limit: limit)
        }
        compareButArrival(got, expected)
    }

    private func strippedLine(_ limit: Int) async {
        let got = await outcome { () throws(StreamError) in
            try await reader.readLine(limit: limit, strippingTerminator: true)
        }
        var expected = outcomeOf { () throws(StreamError) in try model.readLine(limit: limit) }
        if case .success(var line?) = expected, line.last == 10 {
            line.removeLast()
            if line.last == 13 { line.removeLast() }
            expected = .success(line)
        }
        compareButArrival(got, expected)
    }

    /// A read that is cancelled at some time: either it took its bytes or it took none.
    private func cancelled(_ count: Int) async {
        let reading = reader.loop.spawn { [reader] in try await reader.readExactly(count) }
        for _ in 0..<choices.next() % 5 { await EventLoop.yield() }
        reading.cancel()
        switch await reading.result {
        case .success(let bytes): exactly(count, .success(bytes))
        case .failure(let error as StreamError):
            if error != .cancelled { exactly(count, .failure(error)) }
        case .failure(let error): differ(error, "a StreamError")
        }
    }

    // MARK: Comparing

    private nonisolated(nonsending) func outcome<R>(
        _ read: () async throws(StreamError) -> R
    ) async -> Result<R, StreamError> {
        do throws(StreamError) { return .success(try await read()) } catch {
            return .failure(error)
        }
    }

    private func outcomeOf<R>(_ read: () throws(StreamError) -> R) -> Result<R, StreamError> {
        do throws(StreamError) { return .success(try read()) } catch { return .failure(error) }
    }

    private func compare<R: Equatable>(_ got: R, _ expected: R) {
        if got != expected { differ(got, expected) }
    }

    /// How far a search came when it gave up depends on what had arrived.
    private func compareButArrival<R: Equatable>(
        _ got: Result<R, StreamError>, _ expected: Result<R, StreamError>
    ) {
        guard case .failure(.limitExceeded(let limit, let scanned, let isFound)) = got,
            case .failure(.limitExceeded(limit, let most, let isThere)) = expected
        else { return compare(got, expected) }
        let isRight = isFound ? isThere && scanned == most : scanned > limit && scanned <= most
        if !isRight { differ(got, expected) }
    }

    private func differ(_ got: Any, _ expected: Any) -> Never {
        fail("the reader and the model differ: \(description): \(got), not \(expected)")
    }
}

extension [UInt8] {
    /// The bytes that a span call shows.
    fileprivate init(copying span: RawSpan) {
        self = span.withUnsafeBytes { Array($0) }
    }
}
