// The wake-up protocol of Inbox.swift as a model, every interleaving of it tried: no state may have
// an item in the inbox, all producers done, and the loop asleep without a wake-up on its way.

import Testing

/// Two producers that each store one item, and a loop that takes and sleeps. Each step is one
/// access to shared memory, which is sequentially consistent there as here.
private struct Model: Hashable {
    static let producers = 2

    var items = 0
    var pending = false
    var sleeping = false
    var wake = false
    /// Next step of each producer: 0 store the item, 1 raise pending, 2 exchange sleeping, 3 done.
    var steps = [Int](repeating: 0, count: producers)
    /// Whether the exchange is to be followed by a wake-up call.
    var owesWake = [Bool](repeating: false, count: producers)
    /// Next step of the loop: 0 look at pending, 1 take, 2 raise sleeping, 3 look again, 4 take
    /// sleeping down again, 5 asleep, 6 awake: take sleeping down.
    var loop = 0

    /// All states that one step of one thread leads to.
    func successors(exchangeBeforePending: Bool) -> [Model] {
        var next: [Model] = []
        for producer in 0..<Self.producers {
            if let state = stepped(producer, exchangeBeforePending) { next.append(state) }
        }
        if let state = loopStepped() { next.append(state) }
        return next
    }

    private func stepped(_ producer: Int, _ exchangeBeforePending: Bool) -> Model? {
        var state = self
        switch steps[producer] {
        case 0:
            state.items += 1
        case 1 where !exchangeBeforePending, 2 where exchangeBeforePending:
            state.pending = true
        case 1, 2:
            state.owesWake[producer] = state.sleeping
            state.sleeping = false
        case 3:
            guard owesWake[producer] else { return nil }
            state.wake = true
            state.owesWake[producer] = false
        default:
            return nil
        }
        state.steps[producer] += 1
        return state
    }

    private func loopStepped() -> Model? {
        var state = self
        switch loop {
        case 0: state.loop = pending ? 1 : 2
        case 1:
            state.pending = false
            state.items = 0
            state.loop = 2
        case 2:
            state.sleeping = true
            state.loop = 3
        case 3: state.loop = pending ? 4 : 5
        case 4:
            state.sleeping = false
            state.loop = 0
        case 5:
            guard wake else { return nil }
            state.wake = false
            state.loop = 6
        default:
            state.sleeping = false
            state.loop = 0
        }
        return state
    }

    /// Every state that can be reached and from which nothing can happen any more.
    static func deadEnds(exchangeBeforePending: Bool) -> (ends: [Model], states: Int) {
        var seen: Set<Model> = [Model()]
        var open = [Model()]
        var ends: [Model] = []
        while let state = open.popLast() {
            let next = state.successors(exchangeBeforePending: exchangeBeforePending)
            if next.isEmpty { ends.append(state) }
            for state in next where seen.insert(state).inserted { open.append(state) }
        }
        return (ends, seen.count)
    }
}

@Suite struct WakeUpModelTests {
    @Test func `in no interleaving does the loop sleep through an item`() {
        let (ends, states) = Model.deadEnds(exchangeBeforePending: false)
        #expect(states > 100)
        #expect(!ends.isEmpty)
        #expect(ends.allSatisfy { $0.items == 0 && $0.loop == 5 })
    }

    /// Shows that the model can tell: the other order of the producer's two steps loses wake-ups.
    @Test func `looking at the sleeper before raising pending would lose a wake-up`() {
        let (ends, _) = Model.deadEnds(exchangeBeforePending: true)
        #expect(ends.contains { $0.items > 0 && $0.loop == 5 })
    }
}
