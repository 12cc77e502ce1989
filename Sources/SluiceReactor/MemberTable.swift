// MemberTable: what an epoll token stands for. A pure core, touched by the loop's thread. Floor 1.
//
// A token is a slot's index and its generation. Closing ends the generation, so that an event still
// in the batch for a closed descriptor finds nobody, whoever has its number or its slot by then.
// Invariant: a slot in use holds one strong reference to its member.

package struct MemberTable {
    private struct Slot {
        var member: Unmanaged<LoopMember>?
        var generation: UInt32
    }

    private var slots: [Slot] = []
    private var freeSlots: [UInt32] = []
    package private(set) var count = 0

    package init() {}

    /// Stores a member, retained, and returns its token. Slot 0 is never given out.
    mutating func insert(_ member: LoopMember) -> UInt64 {
        if slots.isEmpty { slots.append(Slot(member: nil, generation: 0)) }
        let slot: UInt32
        if let free = freeSlots.popLast() {
            slot = free
        } else {
            slot = UInt32(slots.count)
            slots.append(Slot(member: nil, generation: 1))
        }
        slots[Int(slot)].member = Unmanaged.passRetained(member)
        count += 1
        return UInt64(slots[Int(slot)].generation) << 32 | UInt64(slot)
    }

    /// Ends a token. The reference goes with it.
    mutating func remove(_ token: UInt64) {
        let slot = Int(token & 0xFFFF_FFFF)
        guard slot < slots.count, slots[slot].generation == UInt32(token >> 32),
            let member = slots[slot].member
        else { return }
        slots[slot].member = nil
        // Below UInt32.max, so that no token is the shim's reserved one.
        slots[slot].generation = slots[slot].generation == .max - 1 ? 1 : slots[slot].generation + 1
        freeSlots.append(UInt32(slot))
        count -= 1
        member.release()
    }

    /// The member of a token, or `nil` if that registration has ended.
    func member(of token: UInt64) -> LoopMember? {
        let slot = Int(token & 0xFFFF_FFFF)
        guard slot < slots.count, slots[slot].generation == UInt32(token >> 32) else { return nil }
        return slots[slot].member?.takeUnretainedValue()
    }

    /// The member in a slot now, for reports.
    func member(inSlot slot: UInt32) -> LoopMember? {
        slot < slots.count ? slots[Int(slot)].member?.takeUnretainedValue() : nil
    }

    /// All members, for the loop's end and for snapshots.
    func all() -> [LoopMember] {
        slots.compactMap { $0.member?.takeUnretainedValue() }
    }
}
