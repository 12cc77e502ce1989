// What watches and sequences have in common: packets of a kind, and a task that waits for them.
// Floor 3; the loop's thread.

internal import SluiceReactor
internal import SluiceStreams

/// Wants packets of a kind; at most one task waits for what comes of it.
// @unchecked Sendable: touched on the loop's thread alone; the reference travels.
class PacketInterest: @unchecked Sendable {
    final let kind: Any.Type
    /// Whether a packet is of the kind.
    final let accepts: (any Packet) -> Bool
    /// Whether it is one that is wanted.
    private let isWanted: (any Packet) -> Bool
    fileprivate(set) final var wait: Wait?
    /// Its task was woken by a packet, and has not run yet.
    fileprivate final var isDue = false

    init<T>(_ type: T.Type, _ isWanted: @escaping (T) -> Bool) {
        kind = type
        accepts = { $0 is T }
        self.isWanted = { packet in (packet as? T).map(isWanted) ?? false }
    }

    /// It takes no packet any more.
    var isOver: Bool { true }
    /// There is something for its task: a packet, or the end.
    var isReady: Bool { true }

    /// Whether it takes this one. The predicate may close or cancel: then there is nobody any more.
    final func takes(_ packet: any Packet) -> Bool {
        !isOver && isWanted(packet) && !isOver
    }
}

extension PacketPump {
    /// Waits until there is something for the task, which is the only one that waits.
    nonisolated(nonsending) func wait(for interest: PacketInterest) async -> WaitOutcome {
        let outcome = await suspend { continuation, number in
            begin(continuation, number: number) { wait in
                guard !interest.isReady else { return false }
                interest.wait = wait
                // If the stream is lost meanwhile, this one is to be told, too.
                if isHeldUp { kick() }
                return true
            }
        }
        if interest.isDue {
            interest.isDue = false
            dueCount -= 1
            if dueCount == 0 { kick() }
        }
        return outcome
    }

    /// Wakes the task that waits, by a packet: it runs before the next one is decoded.
    func wake(_ interest: PacketInterest) {
        guard interest.wait != nil else { return }
        interest.isDue = true
        dueCount += 1
        endWait(of: interest, .ready)
    }

    func endWait(of interest: PacketInterest, _ outcome: WaitOutcome) {
        guard let wait = interest.wait else { return }
        interest.wait = nil
        resume(wait, outcome)
    }
}
