// The fuzz target: one input is a script of reads, the bytes they read, and how these arrive. It
// runs on a loop whose turns are taken here, on the fuzzer's thread, so an input always does the
// same. Built by Tests/Fuzz/run, not by the package.

import CEpoll
import Glibc
import Sluice
@testable import SluiceReactor
import SluiceStreams

/// Called by libFuzzer for each input.
@_cdecl("LLVMFuzzerTestOneInput")
public func runOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    let input = Array(UnsafeBufferPointer(start: start, count: count))
    switch target {
    case "connections": runConnectionsInput(input)
    case "fields": runFieldsInput(input)
    case "requests": runRequestsInput(input)
    case "wire": runWireInput(input)
    default: runReaderInput(input)
    }
    return 0
}

private func runReaderInput(_ input: [UInt8]) {
    var choices = Choices(input)
    let bytes = choices.takePayload()
    var delivery = Delivery(bytes, on: loop, &choices)
    let script = Script(reader: delivery.reader, bytes: bytes, choices: choices)
    let task = FinishedFlag()
    loop.spawn {
        await script.run()
        task.isSet = true
    }
    var turns = 0
    while !task.isSet {
        // All is delivered before, though it be byte by byte: then a read that still waits has lost
        // its wake-up.
        guard turns < 1_000 + 8 * bytes.count else {
            fail("a read waits for ever: \(script.description)")
        }
        delivery.deliverNext()
        loop.turn(wait: false)
        turns += 1
    }
    delivery.close()
    checkEmpty()
}

/// Nothing of the input's streams is left once their tasks have run.
func checkEmpty() {
    let flag = FinishedFlag()
    loop.spawn {
        for _ in 0..<4 { await EventLoop.yield() }
        let left = await loop.statistics()
        guard left.members == 0, left.blocksInUse == 0, left.timersArmed == 0 else {
            fail("something is left on the loop: \(left)")
        }
        flag.isSet = true
    }
    while !flag.isSet { loop.turn(wait: false) }
}

/// The one loop of all inputs; this thread is its own.
let loop: EventLoop = {
    do {
        let loop = try EventLoop(options: EventLoop.Options())
        _ = ce_enter(loop.reactor, Unmanaged.passUnretained(loop).toOpaque())
        return loop
    } catch {
        fail("no loop: \(error)")
    }
}()

/// Set by the script's task, which runs on this thread.
final class FinishedFlag: @unchecked Sendable {
    var isSet = false
}

/// What is fuzzed: the reader, unless the environment says another target.
private let target = getenv("SLUICE_FUZZ").map { String(cString: $0) }

/// With this in the environment the model, or the check of fields, has a mistake that the fuzzer
/// has to find.
let hasCanary = getenv("SLUICE_CANARY") != nil

/// With this in the environment the target says each step of an input: to repeat a crash.
private let isTraced = getenv("SLUICE_TRACE") != nil

func trace(_ message: @autoclosure () -> String) {
    if isTraced { say("    \(message())") }
}

/// Ends the process as libFuzzer wants it; the message stands above its report.
func fail(_ message: String) -> Never {
    say("fuzz: \(message)")
    abort()
}

private func say(_ message: String) {
    let line = Array("\(message)\n".utf8)
    _ = line.withUnsafeBytes { write(2, $0.baseAddress, $0.count) }
}

/// The numbers an input begins with; when they are used up, zeros.
struct Choices {
    private let numbers: ArraySlice<UInt8>
    private let payload: ArraySlice<UInt8>
    private var index: Int

    /// The first byte says how many numbers there are; the rest is what the script reads.
    init(_ input: [UInt8]) {
        let count = min(Int(input.first ?? 0), max(0, input.count - 1))
        numbers = input.dropFirst().prefix(count)
        payload = input.dropFirst(1 + count)
        index = numbers.startIndex
    }

    mutating func next() -> Int {
        guard index < numbers.endIndex else { return 0 }
        defer { index += 1 }
        return Int(numbers[index])
    }

    /// Whether there are numbers left.
    var hasMore: Bool { index < numbers.endIndex }

    /// The payload, now and then several times, so that buffers have to grow; at most 64 KiB.
    mutating func takePayload() -> [UInt8] {
        let number = next()
        let times = number < 224 ? 1 : 1 << (number % 8)
        var bytes: [UInt8] = []
        for _ in 0..<times where bytes.count + payload.count <= 65_536 { bytes += payload }
        return bytes
    }
}
