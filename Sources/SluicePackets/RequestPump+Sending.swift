// The way out: packets straight into the connection's output, or by turns of the channels while too
// much of it waits. Floor 3, the loop's thread.

internal import SluiceReactor
internal import SluiceStreams

extension RequestPump {
    /// Bytes that have not left.
    var outputCount: Int { writer.queuedCount &+ state.pointee.outgoingBytes }

    /// Answers a request.
    func respond(
        _ incoming: IncomingRequest, isOK: Bool, _ flags: UInt64, _ payload: [UInt8]
    ) {
        guard !state.pointee.ending.hasSentEnd else { return }
        let header = RequestHeader(
            kind: .response(isOK: isOK), tag: incoming.tag, channel: incoming.request.channel,
            flags: flags)
        let isTooWide = flags > RequestHeader.responseFlags
        if isTooWide || header.size(payload: payload.count) > settings.options.packetLimit {
            let text = isTooWide ? "the answer's flags are too wide" : "the answer is too long"
            return respond(incoming, isOK: false, 0, Array(text.utf8))
        }
        state.pointee.statistics.answersSent += 1
        send(header, payload)
    }

    /// Sends a packet: now if there is room, else when it is its channel's turn.
    func send(_ header: RequestHeader, _ payload: [UInt8]) {
        used()
        let isGraceful = settings.grace > 0 && !state.pointee.ending.wantsEnd
        if state.pointee.outgoingChannels.isEmpty, !isGraceful,
            writer.queuedCount <= writer.marks.high
        {
            return write(header, payload)
        }
        let packet = OutgoingPacket(header: header, payload: payload)
        // A refusal may be on a channel that is not in use, and does not make it so.
        let channel = state.pointee.channels[header.channel] ?? state.pointee.zero
        if channel.outgoing.isEmpty { state.pointee.outgoingChannels.append(channel) }
        channel.outgoing.append(packet, bytes: packet.cost)
        state.pointee.outgoingBytes += packet.cost
        if isGraceful { armGraceTimer() } else { awaitDrain() }
    }

    /// Puts a packet into the stream's output, whole.
    func write(_ header: RequestHeader, _ payload: [UInt8]) {
        settings.options.trace?(RequestTrace(header, isSent: true, payloadCount: payload.count))
        do throws(PacketError) {
            var output = try PacketOutput(of: writer)
            withUnsafeTemporaryAllocation(
                of: UInt8.self, capacity: RequestHeader.longest
            ) { room in
                guard let base = room.baseAddress else { return }
                let count = header.write(into: base, payload: payload.count)
                output.append(UnsafeRawBufferPointer(start: base, count: count).bytes)
            }
            output.append(payload)
            output.leave(by: writer)
        } catch {
            // The stream tells of its end itself.
        }
    }

    // MARK: Packets that wait

    private func armGraceTimer() {
        guard state.pointee.graceTimer == 0 else { return }
        let (deadline, isOver) = loop.now().addingReportingOverflow(settings.grace)
        guard !isOver else { return }
        state.pointee.graceTimer = loop.arm(
            self, purpose: RequestTimer.grace.rawValue, deadline: deadline)
    }

    /// Lets the channels put a packet each into the output, by turns, as long as there is room.
    func feed() {
        guard !hasEnded else { return }
        state.pointee.awaitsDrain = state.pointee.awaitsDrain && writer.isAwaitedByWorker
        if state.pointee.graceTimer == 0 {
            let high = writer.marks.high
            while writer.queuedCount <= high,
                let channel = state.pointee.outgoingChannels.popFirst()
            {
                guard let packet = channel.outgoing.popFirst() else { continue }
                if !channel.outgoing.isEmpty { state.pointee.outgoingChannels.append(channel) }
                state.pointee.outgoingBytes -= packet.cost
                write(packet.header, packet.payload)
            }
            if !state.pointee.outgoingChannels.isEmpty { awaitDrain() }
        }
        if state.pointee.submittingCount > 0 { admitSubmitters() }
        goOnEnding()
    }

    /// Forgets the packets that wait.
    func dropOutgoing() {
        while let channel = state.pointee.outgoingChannels.popFirst() {
            channel.outgoing = CountedQueue()
        }
        state.pointee.outgoingBytes = 0
    }

    /// Has `work` called when output is down to its low mark, and to half of what stops reading.
    func awaitDrain() {
        guard !state.pointee.awaitsDrain else { return }
        state.pointee.awaitsDrain = writer.awaitDrain(
            self, to: min(writer.marks.low, settings.options.mark / 2))
    }
}
