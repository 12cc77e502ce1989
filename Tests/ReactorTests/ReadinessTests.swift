// Readiness: the cell of one direction, alone and against a model of an edge-triggered kernel.

import Sluice
import SluiceTestKit
import Testing

/// A socket as edge-triggered epoll shows it: an edge when bytes or the end arrive, never
/// otherwise.
private struct EdgeKernel {
    var available = 0
    var ended = false
    var edge = true

    mutating func arrive(_ count: Int) {
        available += count
        edge = true
    }

    mutating func end() {
        ended = true
        edge = true
    }

    /// A receive: nil for EAGAIN, 0 for the end.
    mutating func receive(_ count: Int) -> Int? {
        if available == 0 { return ended ? 0 : nil }
        let taken = min(count, available)
        available -= taken
        return taken
    }
}

/// One reader that does what `Transport` does: try, park on EAGAIN, try again.
private struct EdgeReader {
    var cell = Readiness(ready: true)
    var received = 0
    var sawEnd = false
    var isParked = false

    /// Reads as long as it may. False: it may neither try nor park.
    mutating func run(_ kernel: inout EdgeKernel, chunk: Int) -> Bool {
        while !sawEnd {
            guard cell.mayTry else {
                isParked = cell.park()
                return isParked
            }
            switch kernel.receive(chunk) {
            case nil: cell.blocked()
            case 0?: sawEnd = true
            case let count?:
                received += count
                if count < chunk { cell.drained() }
            }
        }
        return true
    }

    /// What a wait of the loop delivers. False: the cell did not know whether a task was parked.
    mutating func deliver(_ kernel: inout EdgeKernel) -> Bool {
        guard kernel.edge else { return true }
        kernel.edge = false
        let wasParked = isParked
        isParked = false
        return cell.latch(hangUp: kernel.ended) == wasParked
    }
}

@Suite struct ReadinessTests {
    @Test func `a latched edge is not parked on`() {
        var cell = Readiness(ready: false)
        #expect(!cell.mayTry)
        #expect(cell.latch() == false)
        #expect(cell.mayTry)
        #expect(cell.park() == false)
        cell.blocked()
        #expect(!cell.mayTry)
        #expect(cell.park() == true)
        #expect(cell.state == .parked)
    }

    @Test func `an edge resumes the parked task once`() {
        var cell = Readiness(ready: false)
        #expect(cell.park() == true)
        #expect(cell.latch() == true)
        #expect(cell.latch() == false)
        #expect(cell.mayTry)
    }

    @Test func `a second task cannot park in the same cell`() {
        var cell = Readiness(ready: false)
        #expect(cell.park() == true)
        #expect(cell.park() == false)
        cell.unpark()
        #expect(cell.park() == true)
    }

    @Test func `after a short read one does not ask again, unless a hang-up is latched`() {
        var cell = Readiness(ready: true)
        cell.drained()
        #expect(!cell.mayTry)
        _ = cell.latch(hangUp: true)
        cell.drained()
        #expect(cell.mayTry)
        _ = cell.latch()
        #expect(cell.hangUp)
    }

    @Test func `leaving without an edge does not lose one that came before`() {
        var cell = Readiness(ready: false)
        #expect(cell.park() == true)
        #expect(cell.latch() == true)
        cell.unpark()
        #expect(cell.mayTry)
    }

    /// Random arrivals, ends, deliveries and cancellations; at the end everything is delivered, and
    /// the reader must have it all: if not, it sleeps through something.
    @Test func `no reader sleeps through bytes or the end, however edges and reads interleave`() {
        let seed = SeededGenerator().seed
        for round in 0..<(isLongRun ? 50_000 : 2_000) {
            var generator = SeededGenerator(seed: seed &+ UInt64(round))
            var kernel = EdgeKernel()
            var reader = EdgeReader()
            var sent = 0
            for _ in 0..<30 {
                var isRight = true
                switch Int.random(in: 0..<6, using: &generator) {
                case 0, 1:
                    if kernel.ended { break }
                    let count = Int.random(in: 1...10, using: &generator)
                    kernel.arrive(count)
                    sent += count
                case 2 where Int.random(in: 0..<5, using: &generator) == 0:
                    kernel.end()
                case 3:
                    isRight = reader.deliver(&kernel)
                case 4 where reader.isParked:
                    reader.cell.unpark()
                    reader.isParked = false
                default:
                    if !reader.isParked { isRight = reader.run(&kernel, chunk: 4) }
                }
                #expect(isRight, "seed \(seed &+ UInt64(round))")
            }
            kernel.end()
            _ = reader.deliver(&kernel)
            if !reader.isParked { _ = reader.run(&kernel, chunk: 4) }
            guard reader.received == sent, reader.sawEnd else {
                Issue.record("\(reader.received) of \(sent), seed \(seed &+ UInt64(round))")
                return
            }
        }
    }
}
