// How a connection's packets end: one path, whoever begins it. Floor 3; the loop's thread.

internal import SluiceReactor
internal import SluiceStreams

extension PacketPump {
    /// An error as the reading found it; this side's close is none, by the stream's writer too.
    func inputFailed(_ error: PacketError) {
        if error == .stream(.closed) { isClosedHere = true }
        end(error == .stream(.closed) ? .orderly : .failed(error))
    }

    /// Everybody who waits is told, once; an error closes the streams.
    func end(_ new: PacketEnding) {
        guard ending == nil else { return }
        ending = new
        stopReading()
        hookTask?.cancel()
        hookTask = nil
        endWatches(new)
        for buffer in buffers { end(buffer, new) }
        endConsumerWait(.closed)
        if new.error != nil { closeStreams(within: nil) }
        // Nobody will be called any more. What the callbacks hold goes last, and outside of the
        // assignment: it may be the connection.
        let callbacks = (listeners, onUnhandled)
        (listeners, onUnhandled) = ([], nil)
        withExtendedLifetime(callbacks) {}
    }

    /// This side ends: packets that were not taken are dropped.
    func close(within timeout: Duration?) {
        isClosedHere = true
        let buffers = self.buffers
        end(.orderly)
        slot = nil
        for buffer in buffers { buffer.packets = CountedQueue() }
        closeStreams(within: timeout)
    }

    /// Ends in order behind what has come by now; the streams stay open.
    func endWhenRead() {
        guard ending == nil else { return }
        // How much that is only the hook would know.
        guard reader != nil, hooks?.reading == nil else { return end(.orderly) }
        endsWhenRead = true
        stopReading()
        kick()
    }

    func closeStreams(within timeout: Duration?) {
        writer?.startClosing(within: timeout)
        reader?.startClosingStream(within: timeout)
    }

    func abort() {
        isClosedHere = true
        // First: the end that an error brings closes in order.
        writer?.startAborting()
        reader?.startAbortingStream()
        let buffers = self.buffers
        end(.failed(.stream(.aborted)))
        slot = nil
        for buffer in buffers { buffer.packets = CountedQueue() }
    }

    var areStreamsClosed: Bool {
        reader?.isStreamClosed ?? true && writer?.isStreamClosed ?? true
    }

    /// A stream has ended. What was lost with packets in its buffer is read up to the error.
    func streamsMayHaveEnded() {
        if areStreamsClosed {
            let waits = closeWaits
            closeWaits = []
            for wait in waits { resume(wait, .ready) }
        }
        guard ending == nil, let reader, reader.isStreamClosed else { return }
        switch reader.failure {
        case nil, .closed?: inputFailed(.stream(.closed))
        case .aborted?: end(.failed(.stream(.aborted)))
        default: break
        }
    }

    /// While reading stands still, who waits for a packet is told if there will be none: behind an
    /// end with nothing before it everybody, behind a loss those who cannot wait for what is left.
    func watchForEnd() {
        guard isHeldUp, ending == nil, !isAsked, let reader,
            consumerWait != nil || !watches.isEmpty || buffers.contains(where: { $0.wait != nil }),
            !reader.awaitHangUp(self)
        else { return }
        if reader.undecoded.isEmpty, !receiving.isInPacket(), hooks?.reading == nil {
            lookForEnd(reader)
        }
        guard ending == nil, !reader.awaitBreak(self), let loss = reader.loss else { return }
        endWatches(.failed(.stream(loss)))
        for buffer in buffers where buffer.wait != nil { end(buffer, .failed(.stream(loss))) }
    }

    /// One receive, whose bytes wait.
    private func lookForEnd(_ reader: StreamReader) {
        do throws(StreamError) { try reader.beginPumping() } catch { return }
        defer { reader.endPumping() }
        do throws(StreamError) {
            switch try reader.fillBuffer() {
            case .end: end(.orderly)
            case .shareUsed: goOnLater()
            case .bytes, .blocked: break
            }
        } catch {
            inputFailed(.stream(error))
        }
    }

    /// Whether somebody who may never come is waited for before anything is read.
    var isHeldUp: Bool {
        slot != nil || isListening || buffers.contains(where: \.isFull)
    }

    /// The connection's last user has gone: the streams end as if both halves were dropped.
    func forsake() {
        end(.orderly)
        detach()
        reader = nil
        writer = nil
    }
}
