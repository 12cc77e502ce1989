// What becomes of a request of the peer's: served, kept, or refused. Floor 3, the loop's thread.

internal import SluiceStreams

extension RequestPump {
    /// Whether a request that has just come is to be served now. If not it has been refused, or
    /// waits.
    func admit(_ incoming: IncomingRequest) -> Bool {
        state.pointee.statistics.requestsReceived += 1
        // Read for the error behind it: nobody gets an answer any more.
        if reader.isBroken, isBacklogFull { return false }
        if let refusal = refusal(incoming) {
            refuse(incoming, refusal)
            return false
        }
        if !state.pointee.inProgress.isEmpty, isDuplicate(incoming) { return false }
        if !isCongested, mayServe(incoming.request.channel) { return true }
        keep(incoming)
        return false
    }

    /// Why a request is not served at all.
    private func refusal(_ incoming: IncomingRequest) -> String? {
        if state.pointee.ending.peerEndedRequests { return "requests no longer allowed" }
        if state.pointee.ending.wantsEnd { return "rejecting request: the connection is closing" }
        if settings.handler == nil { return "no request handler" }
        let number = incoming.request.channel
        if let servesChannel = settings.options.servesChannel, !servesChannel(number) {
            return "unknown channel \(number)"
        }
        guard number != 0 else { return nil }
        if !mayUse(number) { return "too many channels" }
        _ = channel(number)
        return nil
    }

    private func refuse(_ incoming: IncomingRequest, _ text: String) {
        state.pointee.statistics.requestsRefused += 1
        respond(incoming, isOK: false, 0, Array(text.utf8))
    }

    /// A tag that is in use: one answer for it, a refusal. What its first request comes to is
    /// dropped, since the peer could not tell the two apart.
    private func isDuplicate(_ incoming: IncomingRequest) -> Bool {
        guard let first = state.pointee.inProgress.removeValue(forKey: incoming.key) else {
            return false
        }
        if let worker = first.worker {
            worker.isDiscarded = true
            state.pointee.discarded.append(worker)
        }
        let text =
            "channel \(incoming.request.channel): tag already in use: \(incoming.tag)"
        if settings.options.isStrict {
            receiveEnded(.malformed(text))
        } else {
            refuse(incoming, text)
        }
        return true
    }

    // MARK: Requests that wait

    /// Too much is not done yet to begin with more.
    var isCongested: Bool {
        outputCount > settings.options.mark || state.pointee.waitingBytes > settings.options.mark
            || state.pointee.serving >= settings.options.servingLimit
    }

    /// Whether packets are read although requests cannot be served: only for the answers among
    /// them, and not without a bound. Two peers that flood each other would else wait for each
    /// other.
    func mayReadOn() -> Bool {
        // What waits is taken up again when output drains or a handler ends.
        awaitDrain()
        if isBacklogFull { return !reader.awaitBreak(self) }
        // The error of a stream that was broken lies behind what has come; nobody else sees it.
        return isOwedAnswers || !reader.awaitHangUp(self)
    }

    /// Whether answers are still to come, also to requests that were given up: they fill the
    /// stream like all others.
    private var isOwedAnswers: Bool {
        let done = state.pointee.statistics
        return done.requestsSent > done.answersReceived &+ done.answersIgnored
    }

    /// Whether no more requests are kept. Refusals count too: they are answers to requests that
    /// nobody has kept.
    private var isBacklogFull: Bool {
        state.pointee.waitingBytes + state.pointee.outgoingBytes
            > settings.options.requestBacklogLimit
    }

    private func mayServe(_ number: UInt64) -> Bool {
        let serving =
            number == 0
            ? state.pointee.zero.serving : state.pointee.channels[number]?.serving ?? 0
        return serving < settings.options.servingPerChannel
    }

    private func keep(_ incoming: IncomingRequest) {
        var incoming = incoming
        incoming.serial = state.pointee.serial
        state.pointee.serial &+= 1
        let channel = channel(of: incoming)
        if channel.waiting.isEmpty { state.pointee.waitingChannels.append(channel) }
        channel.waiting.append(incoming, bytes: incoming.cost)
        state.pointee.waitingBytes += incoming.cost
        state.pointee.inProgress[incoming.key] = .waiting(incoming.serial)
    }

    /// A request that waited and may be served now; the channels take turns.
    func takeWaiting() -> IncomingRequest? {
        guard state.pointee.serving < settings.options.servingLimit else { return nil }
        if outputCount > settings.options.mark {
            awaitDrain()
            return nil
        }
        for _ in 0..<state.pointee.waitingChannels.count {
            guard let channel = state.pointee.waitingChannels.popFirst() else { return nil }
            if channel.serving < settings.options.servingPerChannel,
                let incoming = takeWaiting(of: channel)
            {
                if !channel.waiting.isEmpty { state.pointee.waitingChannels.append(channel) }
                return incoming
            }
            if !channel.waiting.isEmpty { state.pointee.waitingChannels.append(channel) }
        }
        return nil
    }

    private func takeWaiting(of channel: RequestChannel) -> IncomingRequest? {
        while let incoming = channel.waiting.popFirst() {
            state.pointee.waitingBytes -= incoming.cost
            // Unless its tag was used again meanwhile.
            if case .waiting(incoming.serial)? = state.pointee.inProgress[incoming.key] {
                state.pointee.inProgress[incoming.key] = nil
                return incoming
            }
        }
        return nil
    }

    /// Forgets the requests that wait.
    func dropWaiting() {
        while let channel = state.pointee.waitingChannels.popFirst() {
            while let incoming = channel.waiting.popFirst() {
                state.pointee.waitingBytes -= incoming.cost
                state.pointee.inProgress[incoming.key] = nil
            }
        }
    }
}
