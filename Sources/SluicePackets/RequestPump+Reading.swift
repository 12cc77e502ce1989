// The way in: packets out of the stream, answers to those who wait for them. Floor 3, the loop's
// thread.

internal import SluiceReactor
internal import SluiceStreams

extension RequestPump {
    /// Takes packets until a request is to be served, which a worker is handed.
    func advance() {
        state.pointee.row = 0
        if state.pointee.ending.hasReceivedEnd { watchForBreak() }
        guard state.pointee.puller == nil else { return }
        guard let incoming = takeRequest() else { return goOnEnding() }
        start(incoming)
    }

    /// Hands the worker that has just answered the next request, if there is one.
    @inline(never)
    func pull(_ worker: RequestWorker) -> Bool {
        if let puller = state.pointee.puller, puller !== worker { return false }
        guard let incoming = takeRequest() else {
            state.pointee.puller = nil
            // What still waited may have been dropped.
            goOnEnding()
            return false
        }
        hold(incoming, worker)
        return true
    }

    /// The next request to be served; on the way to it answers are delivered.
    private func takeRequest() -> IncomingRequest? {
        guard !hasEnded else { return nil }
        if !state.pointee.waitingChannels.isEmpty {
            guard isInRow() else { return nil }
            if let incoming = takeWaiting() { return incoming }
        }
        while mayTakePacket() {
            guard let (header, payload) = nextPacket() else { return nil }
            used()
            if let trace = settings.options.trace {
                trace(RequestTrace(header, isSent: false, payloadCount: payload.count))
                // It may have ended the connection.
                if hasEnded { return nil }
            }
            switch header.kind {
            case .request(let type):
                let request = Request(
                    type, flags: header.flags, payload: payload, channel: header.channel)
                let incoming = IncomingRequest(tag: header.tag, request: request)
                if admit(incoming) { return incoming }
            case .response(let isOK):
                answerCame(
                    header, Response(isOK: isOK, flags: header.flags, payload: payload))
            case .end: receiveEnded(nil)
            case .endOfRequests: state.pointee.ending.peerEndedRequests = true
            }
        }
        return nil
    }

    /// Whether to look for a packet now: neither the end, nor the end of a row, nor too much that
    /// is not done yet.
    private func mayTakePacket() -> Bool {
        guard !state.pointee.ending.hasReceivedEnd, !state.pointee.isParked else { return false }
        return isInRow() && (!isCongested || mayReadOn())
    }

    /// Whether the row has room for one more; else it goes on in the next turn.
    @inline(__always)
    private func isInRow() -> Bool {
        state.pointee.row += 1
        if state.pointee.row <= PacketBounds.requestsInARow { return true }
        loop.listForWork(self, .ready)
        return false
    }

    /// A whole packet out of the stream; `nil` if there is none now: then the read is parked, or
    /// the connection has ended.
    private func nextPacket() -> (RequestHeader, [UInt8])? {
        guard beginReading() else { return nil }
        while true {
            let bytes = reader.undecoded
            if bytes.count >= state.pointee.wanted {
                switch RequestHeader.parse(
                    bytes, limit: settings.options.packetLimit,
                    strict: settings.options.isStrict)
                {
                case .packet(let header, let payload, let used):
                    let payload = [UInt8](UnsafeRawBufferPointer(rebasing: bytes[payload]))
                    reader.packetEnded(used)
                    endReading()
                    return (header, payload)
                case .more(let missing):
                    // A limit may be as wide as an integer.
                    state.pointee.wanted =
                        missing < .max - bytes.count ? bytes.count + missing : .max
                case .malformed(let error):
                    receiveEnded(error)
                    return nil
                }
            }
            guard fill() else { return nil }
        }
    }

    private func beginReading() -> Bool {
        guard !state.pointee.isPumping else { return true }
        do throws(StreamError) { try reader.beginPumping() } catch {
            receiveEnded(PacketError(ofReceive: error))
            return false
        }
        state.pointee.isPumping = true
        return true
    }

    /// Ends one packet's read.
    func endReading() {
        guard state.pointee.isPumping else { return }
        if state.pointee.isParked {
            state.pointee.isParked = false
            reader.unpark()
        }
        state.pointee.isPumping = false
        state.pointee.wanted = 1
        reader.endPumping()
    }

    /// Receives more. False if there is nothing now, or there will never be.
    private func fill() -> Bool {
        do throws(StreamError) {
            switch try reader.fillBuffer() {
            case .bytes: return true
            case .blocked:
                guard reader.park(self) else {
                    // Something came in between, unless the loop stops: then its end comes too.
                    if !loop.hasStopped { return true }
                    receiveEnded(.stream(.reactor(.stopped)))
                    return false
                }
                state.pointee.isParked = true
            case .shareUsed: loop.listForWork(self, .ready)
            case .end:
                let rest = reader.undecoded.count
                if rest > 0 { reader.markDecoded(rest) }
                // It was idle, and its server shuts down: that is this side's close.
                if reader.isInputCut { state.pointee.ending.isClosing = true }
                receiveEnded(rest > 0 ? .truncated(received: rest) : nil)
            }
        } catch {
            receiveEnded(.stream(error))
        }
        return false
    }

    /// Behind the peer's end only the stream's own is of interest, while handlers still work for
    /// somebody who may have gone. What else comes is dropped, up to a bound.
    private func watchForBreak() {
        guard settings.options.closesStreams, !hasEnded, !state.pointee.isParked,
            !state.pointee.ending.hasSentEnd, beginReading()
        else { return }
        repeat {
            let count = reader.undecoded.count
            reader.markDecoded(count)
            state.pointee.ending.ignored += count
        } while state.pointee.ending.ignored <= PacketBounds.ignoredBytes && fill()
        if !state.pointee.isParked { endReading() }
    }

    /// An answer: to whoever waits for it. One that nobody waits for is dropped, for the request
    /// may have been given up.
    private func answerCame(_ header: RequestHeader, _ response: Response) {
        let channel =
            header.channel == 0
            ? state.pointee.zero : state.pointee.channels[header.channel]
        if let pending = channel?.pending.removeValue(forKey: header.tag) {
            state.pointee.pendingCount -= 1
            state.pointee.statistics.answersReceived += 1
            pending.complete(.success(response))
            if state.pointee.submittingCount > 0 {
                admitSubmitters()
                goOnEnding()
            }
            return
        }
        state.pointee.statistics.answersIgnored += 1
        if settings.options.isStrict, channel?.hasNumbered(header.tag) != true {
            receiveEnded(.malformed("an answer to the request \(header.tag), which was never sent"))
        }
    }
}
