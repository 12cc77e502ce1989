// TimerHeap: deadlines and what they are for. A pure core: no clock, no task, no I/O. Floor 1.
//
// A binary heap of (deadline, order of insertion). Cancelling marks the slot and leaves the entry;
// when dead entries outnumber the live ones the heap is rebuilt without them, so that cancelling is
// O(1) amortised and a million set-and-cancel keep the memory flat.
// Invariant: an entry is live exactly while its slot's generation equals its own.

/// Names one armed timer; 0 is never given out. Stale tokens are harmless.
package typealias TimerToken = UInt64

package struct TimerHeap<Payload> {
    private struct Entry {
        var deadline: UInt64
        var order: UInt64
        var slot: UInt32
        var generation: UInt32

        func isBefore(_ other: Entry) -> Bool {
            deadline != other.deadline ? deadline < other.deadline : order < other.order
        }
    }

    private struct Slot {
        var generation: UInt32
        var payload: Payload?
    }

    private var heap: [Entry] = []
    private var slots: [Slot] = []
    private var freeSlots: [UInt32] = []
    private var orderNext: UInt64 = 0
    /// Timers armed and neither cancelled nor fired.
    package private(set) var count = 0

    package init() {}

    /// Entries stored, dead ones included: at most twice the live ones and 64.
    package var entriesStored: Int { heap.count }

    /// Arms a timer. O(log n).
    package mutating func insert(deadline: UInt64, _ payload: Payload) -> TimerToken {
        let slot: UInt32
        if let free = freeSlots.popLast() {
            slot = free
            slots[Int(slot)].payload = payload
        } else {
            slot = UInt32(slots.count)
            slots.append(Slot(generation: 1, payload: payload))
        }
        let generation = slots[Int(slot)].generation
        heap.append(
            Entry(deadline: deadline, order: orderNext, slot: slot, generation: generation))
        orderNext &+= 1
        count += 1
        siftUp(heap.count - 1)
        return UInt64(generation) << 32 | UInt64(slot)
    }

    /// Disarms a timer and gives its payload back, or `nil` if it has fired or was cancelled.
    package mutating func cancel(_ token: TimerToken) -> Payload? {
        let slot = Int(token & 0xFFFF_FFFF)
        guard slot < slots.count, slots[slot].generation == UInt32(token >> 32) else { return nil }
        let payload = release(slot)
        if heap.count - count > max(64, count) { rebuild() }
        return payload
    }

    /// The earliest deadline, or `nil` if no timer is armed.
    package mutating func nextDeadline() -> UInt64? {
        dropDeadTop()
        return heap.first?.deadline
    }

    /// Removes and returns one timer that is due at `now`, the earliest first.
    package mutating func popDue(now: UInt64) -> Payload? {
        dropDeadTop()
        guard let top = heap.first, top.deadline <= now else { return nil }
        removeTop()
        return release(Int(top.slot))
    }

    private func isLive(_ entry: Entry) -> Bool {
        slots[Int(entry.slot)].generation == entry.generation
    }

    /// Ends the slot's generation, so that its entry is dead and old tokens match nothing.
    private mutating func release(_ slot: Int) -> Payload? {
        guard let payload = slots[slot].payload else { return nil }
        slots[slot].payload = nil
        // Wraps after four thousand million uses of one slot; 0 stays unused, so no token is 0.
        slots[slot].generation = max(1, slots[slot].generation &+ 1)
        freeSlots.append(UInt32(slot))
        count -= 1
        return payload
    }

    private mutating func dropDeadTop() {
        while let top = heap.first, !isLive(top) { removeTop() }
    }

    private mutating func removeTop() {
        let last = heap.removeLast()
        guard !heap.isEmpty else { return }
        heap[0] = last
        siftDown(0)
    }

    private mutating func rebuild() {
        heap.removeAll { [slots] in slots[Int($0.slot)].generation != $0.generation }
        for index in stride(from: heap.count / 2 - 1, through: 0, by: -1) { siftDown(index) }
    }

    private mutating func siftUp(_ start: Int) {
        var index = start
        let entry = heap[index]
        while index > 0 {
            let parent = (index - 1) / 2
            guard entry.isBefore(heap[parent]) else { break }
            heap[index] = heap[parent]
            index = parent
        }
        heap[index] = entry
    }

    private mutating func siftDown(_ start: Int) {
        var index = start
        let entry = heap[index]
        while true {
            var child = 2 * index + 1
            guard child < heap.count else { break }
            if child + 1 < heap.count, heap[child + 1].isBefore(heap[child]) { child += 1 }
            guard heap[child].isBefore(entry) else { break }
            heap[index] = heap[child]
            index = child
        }
        heap[index] = entry
    }
}
