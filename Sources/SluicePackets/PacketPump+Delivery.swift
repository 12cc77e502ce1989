// Who gets a packet, and how the consumer takes its own. Floor 3; the loop's thread.

internal import SluiceReactor
internal import SluiceStreams

extension PacketPump {
    /// Gives a packet to all who want it: watches, sequences, listeners and the consumer.
    func deliver(_ packet: any Packet) {
        counts.received &+= 1
        // Those of now: a predicate may make a sequence, which is for later packets.
        let buffers = self.buffers
        var isSeen = offerToWatches(packet)
        for buffer in buffers where buffer.takes(packet) {
            isSeen = true
            add(packet, to: buffer)
        }
        if !listeners.isEmpty, offerToListeners(packet) { isSeen = true }
        // One of them may have closed.
        guard ending == nil else { return }
        if consumer != nil {
            slot = packet
            if !isAsked { wakeConsumer() }
        } else if !isSeen {
            passOver(packet)
        }
    }

    func passOver(_ packet: any Packet) {
        counts.unhandled &+= 1
        onUnhandled?(packet)
    }

    // MARK: The consumer

    /// What a consumer that asks finds.
    enum Take {
        case packet(any Packet)
        case end
        /// Wait and ask again.
        case nothing
    }

    /// Takes a packet, or the end, without a wait; refuses a second consumer.
    func take(_ asking: PacketConsumer) throws(PacketError) -> Take {
        guard reader != nil || slot != nil || ending != nil || hooks?.reading != nil else {
            throw .notReadable
        }
        if asking.number == 0 { asking.number = nextConsumer() }
        if consumer == nil { consumer = asking.number }
        guard consumer == asking.number, consumerWait == nil else { throw .busy }
        isConsumerDue = false
        if slot == nil, ending == nil {
            isAsked = true
            pump()
            isAsked = false
        }
        if let packet = slot {
            slot = nil
            // Others may want the next one, which is read once the consumer waits or works.
            if !watches.isEmpty || !buffers.isEmpty || !listeners.isEmpty { kick() }
            return .packet(packet)
        }
        switch ending {
        case .orderly?: return .end
        case .failed(let error)?: throw error
        case nil: break
        }
        if isBusy { throw .busy }
        return .nothing
    }

    /// Whether a wait that begins now is the connection's own handler's, which needs no
    /// cancellation handler: `work` is told.
    var isWaitOfHandler: Bool {
        takenInARow = 0
        isHandlersWait = reader?.isHandlersOwnTask ?? false
        return isHandlersWait
    }

    /// Waits until there may be something to take; for the handler.
    nonisolated(nonsending) func waitToTake() async -> WaitOutcome {
        await withUnsafeContinuation { parkConsumer($0, loop.nextWaitNumber()) }
    }

    /// The same for every other task.
    nonisolated(nonsending) func waitAsGuest() async -> WaitOutcome {
        await suspend { parkConsumer($0, $1) }
    }

    /// Whether so many packets were taken without a wait that others have their turn now.
    var isRowOver: Bool {
        takenInARow += 1
        guard takenInARow > PacketBounds.packetsInARow else { return false }
        takenInARow = 0
        return true
    }

    private func parkConsumer(
        _ continuation: UnsafeContinuation<WaitOutcome, Never>, _ number: UInt32
    ) {
        begin(continuation, number: number) { wait in
            guard slot == nil, ending == nil else { return false }
            consumerWait = wait
            return true
        }
    }

    private func wakeConsumer() {
        guard consumerWait != nil else { return }
        isConsumerDue = true
        endConsumerWait(.ready)
    }

    func endConsumerWait(_ outcome: WaitOutcome) {
        guard let wait = consumerWait else { return }
        consumerWait = nil
        resume(wait, outcome)
    }

    /// An iterator has gone; another one may begin in this turn, with the packet that was read for
    /// this one.
    func consumerLeft(_ number: UInt64) {
        guard consumer == number else { return }
        consumer = nil
        isConsumerDue = false
        kick()
    }

    /// Others want packets: one that was read for a consumer that has gone must not stop them.
    func passOverForNobody() {
        guard consumer == nil, let packet = slot,
            !watches.isEmpty || !buffers.isEmpty || !listeners.isEmpty
        else { return }
        slot = nil
        passOver(packet)
    }

    // MARK: Waits

    func endAnyWait(_ number: UInt32, _ outcome: WaitOutcome) {
        if consumerWait?.number == number {
            endConsumerWait(outcome)
            // Nobody may want packets any more.
            kick()
        } else if let interest = watches.first(where: { $0.wait?.number == number })
            ?? buffers.first(where: { $0.wait?.number == number })
        {
            endWait(of: interest, outcome)
        } else if let index = closeWaits.firstIndex(where: { $0.number == number }) {
            resume(closeWaits.remove(at: index), outcome)
        }
    }

    func endWatch(_ purpose: UInt32) {
        guard let watch = watches.first(where: { $0.purpose == purpose }) else { return }
        watch.timer = 0
        end(watch, .failure(.stream(.timedOut)))
        kick()
    }
}
