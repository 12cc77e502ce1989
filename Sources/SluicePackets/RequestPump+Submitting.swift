// This side's requests, from the call to the wire: at once, or when there is a place for them.
// Floor 3, the loop's thread.

internal import SluiceReactor
internal import SluiceStreams

extension RequestPump {
    /// Whether one more request may be under way on this channel.
    func hasRoom(_ channel: UInt64) -> Bool {
        guard hasRoomForAny else { return false }
        let used =
            channel == 0 ? state.pointee.zero : state.pointee.channels[channel]
        return used.map(hasRoom) ?? true
    }

    private var hasRoomForAny: Bool {
        state.pointee.pendingCount < settings.options.inFlightLimit
            && outputCount <= writer.marks.high
    }

    private func hasRoom(_ channel: RequestChannel) -> Bool {
        channel.pending.count < settings.options.inFlightPerChannel
    }

    /// Sends a request: from now on its answer is waited for.
    func launch(_ pending: PendingCore) {
        let channel = channel(pending.channel)
        pending.tag = channel.nextTag
        channel.nextTag &+= 1
        channel.pending[pending.tag] = pending
        state.pointee.pendingCount += 1
        state.pointee.statistics.requestsSent += 1
        let header = RequestHeader(
            kind: .request(pending.type), tag: pending.tag, channel: pending.channel,
            flags: pending.flags)
        send(header, pending.payload)
        pending.payload = []
        // While requests could not be read, nothing was: now there is an answer to come.
        if !state.pointee.isParked, state.pointee.puller == nil {
            loop.listForWork(self, .ready)
        }
    }

    // MARK: Waiting for a place

    /// Has a request wait for a place, behind those of its channel.
    func enqueue(_ pending: PendingCore) {
        pending.isSubmitting = true
        let channel = channel(pending.channel)
        channel.submitting.append(pending, bytes: 0)
        list(channel)
        state.pointee.submittingCount += 1
        admitSubmitters()
    }

    /// Sends what waits for a place and has one now; the channels take turns.
    func admitSubmitters() {
        var fullChannels = 0
        while hasRoomForAny, fullChannels < state.pointee.submittingChannels.count,
            let channel = state.pointee.submittingChannels.popFirst()
        {
            channel.isListed = false
            // Those who waited there may all have given up.
            if channel.submitting.isEmpty { continue }
            if !hasRoom(channel) {
                fullChannels += 1
            } else if let pending = nextSubmitter(of: channel) {
                fullChannels = 0
                launch(pending)
                pending.gotPlace()
            }
            if !channel.submitting.isEmpty { list(channel) }
        }
        if state.pointee.submittingCount > 0, outputCount > writer.marks.high { awaitDrain() }
    }

    /// Gives the channel its turn among those with submissions that wait, once.
    private func list(_ channel: RequestChannel) {
        guard !channel.isListed else { return }
        channel.isListed = true
        state.pointee.submittingChannels.append(channel)
    }

    private func nextSubmitter(of channel: RequestChannel) -> PendingCore? {
        while let pending = channel.submitting.popFirst() {
            guard pending.isSubmitting else {
                channel.givenUp -= 1
                continue
            }
            pending.isSubmitting = false
            state.pointee.submittingCount -= 1
            return pending
        }
        return nil
    }

    /// A request is given up: its place is free, or its wait for one is over.
    func forget(_ pending: PendingCore) {
        let channel = channel(pending.channel)
        if pending.isSubmitting {
            pending.isSubmitting = false
            pending.payload = []
            state.pointee.submittingCount -= 1
            channel.givenUp += 1
            if channel.givenUp > 16, channel.givenUp > channel.submitting.count / 2 {
                tidySubmitters(of: channel)
            }
        } else if channel.pending[pending.tag] === pending {
            channel.pending[pending.tag] = nil
            state.pointee.pendingCount -= 1
        }
        if state.pointee.submittingCount > 0 { admitSubmitters() }
        goOnEnding()
        reader.becameIdle()
    }

    /// So that giving up one after the other, while nothing can be sent, is no growth.
    private func tidySubmitters(of channel: RequestChannel) {
        var left = CountedQueue<PendingCore>()
        while let pending = channel.submitting.popFirst() {
            if pending.isSubmitting { left.append(pending, bytes: 0) }
        }
        channel.givenUp = 0
        channel.submitting = left
    }

    /// Fails those that wait for a place.
    func failSubmitters(_ reason: PacketError) {
        while let channel = state.pointee.submittingChannels.popFirst() {
            channel.isListed = false
            while let pending = nextSubmitter(of: channel) { pending.complete(.failure(reason)) }
        }
    }
}
