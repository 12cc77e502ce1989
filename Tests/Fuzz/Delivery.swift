// How the bytes of an input arrive: by a bridge that is fed, or through a pair in memory with a
// bounded buffer between; in pieces of the fuzzer's choice, with turns between them.

import Sluice
@testable import SluiceReactor
import SluiceStreams

struct Delivery {
    let reader: StreamReader
    private let near: StreamWriter
    private let bridge: StreamBridge?
    private let far: StreamWriter?
    private var left: ArraySlice<UInt8>
    private var sizes: Choices
    private var hasEnded = false

    init(_ bytes: [UInt8], on loop: EventLoop, _ choices: inout Choices) {
        let kind = choices.next()
        left = bytes[...]
        do throws(StreamError) {
            if kind % 2 == 0 {
                let bridge = try StreamBridge(
                    on: loop, source: StreamBridgeSource(send: { $0.byteCount }))
                (reader, near) = (bridge.reader, bridge.writer)
                (self.bridge, far) = (bridge, nil)
            } else {
                let pair = try makePair(on: loop, capacity: 1 + choices.next() * 16, chunk: kind)
                (reader, near) = pair.0
                (bridge, far) = (nil, pair.1.writer)
            }
        } catch {
            fail("no stream: \(error)")
        }
        // The pieces' sizes and the script's steps are the same numbers: what matters is that the
        // fuzzer may change either.
        sizes = choices
    }

    /// Delivers a piece, the end, or nothing in this turn.
    mutating func deliverNext() {
        let number = sizes.next()
        if number % 8 == 7 { return }
        if left.isEmpty { return end() }
        let piece = Array(left.prefix(number == 0 ? left.count : number))
        left = left.dropFirst(piece.count)
        if let bridge { bridge.receive(piece) }
        guard let far else { return }
        do throws(StreamError) { try far.write(piece) } catch { fail("not written: \(error)") }
    }

    private mutating func end() {
        guard !hasEnded else { return }
        hasEnded = true
        bridge?.receiveEnd()
        do throws(StreamError) { try far?.finishWriting() } catch { fail("no end: \(error)") }
    }

    /// Both ends go.
    func close() {
        near.startAborting()
        far?.startAborting()
    }
}

/// A pair in memory on the inputs' loop.
func memoryPair(capacity: Int, chunk: Int) -> (StreamPair, StreamPair) {
    do throws(StreamError) {
        return try makePair(on: loop, capacity: capacity, chunk: chunk)
    } catch {
        fail("no stream: \(error)")
    }
}

/// `makeMemoryPair` without a task around it.
private func makePair(
    on loop: EventLoop, capacity: Int, chunk: Int
) throws(StreamError) -> (StreamPair, StreamPair) {
    let made = MadePair()
    loop.spawn { made.pair = try? await makeMemoryPair(on: loop, capacity: capacity, chunk: chunk) }
    for _ in 0..<100 where made.pair == nil { loop.turn(wait: false) }
    guard let pair = made.pair else { throw .closed }
    return pair
}

/// Set by a task on this thread.
private final class MadePair: @unchecked Sendable {
    var pair: (StreamPair, StreamPair)?
}
