// What a packet connection needs of a stream: to read without a task, and to be told of the end.
// Floor 2; on the stream's loop. Decoding is as StreamReader+Decoding has it.
//
// A pump is a member whose `work` is called when what it has parked for may be there. It calls
// `beginPumping`, decodes and fills until it has a packet, and `endPumping`; or it parks in
// between.

internal import Glibc
package import SluiceReactor

extension StreamReader {
    /// Begins one packet's read: refuses one beside another. Followed by `endPumping`.
    package func beginPumping() throws(StreamError) { try transport.beginReading() }

    /// Ends one packet's read, with or without a packet.
    package func endPumping() { transport.endReading() }

    /// Whether a read is in progress, by whomever.
    package var isBeingRead: Bool { transport.state.pointee.isReading }

    /// Has `pump.work` called once there may be more to fill, or the reads are over.
    ///
    /// - Returns: false if that is so now: nothing will be called.
    package func park(_ pump: LoopMember) -> Bool {
        assert(loop.isCurrent && transport.state.pointee.isReading)
        guard !loop.hasStopped else { return false }
        return transport.parkReader(Wait(worker: pump))
    }

    /// Whether a pump's read is parked.
    package var isPumpParked: Bool {
        if case .worker? = transport.state.pointee.readWait?.waiter { true } else { false }
    }

    /// Whether the current task is the connection's own handler: its cancellation comes by `work`
    /// of the attached member, with `cancelled`.
    package var isHandlersOwnTask: Bool {
        @inline(never) get { transport.isHandlerTask }
    }

    /// Takes the parked read away; its `work` is not called for it any more.
    package func unpark() {
        guard case .worker? = transport.state.pointee.readWait?.waiter else { return }
        transport.state.pointee.readWait = nil
        transport.state.pointee.readable.unpark()
        transport.readGivesUp()
    }

    /// The parked read has ended so.
    package func parkEnded(_ outcome: WaitOutcome) throws(StreamError) {
        try transport.inputWaitEnded(outcome)
    }

    /// Has `member.work` called with `closed` when the stream has ended, however; one member for
    /// each half of a stream, which is not kept alive by it.
    package func attach(_ member: LoopMember) { transport.readingMember = member }

    /// Ends that, unless another member was attached since.
    package func detach(_ member: LoopMember) {
        if transport.readingMember === member { transport.readingMember = nil }
    }

    /// Has `member.work` called with `ready` once the peer has broken the stream, or it is closed:
    /// for a member that does not read now. Keeps it alive until then, or `forgetWaits`.
    ///
    /// - Returns: false if that is so now: nothing will be called.
    package func awaitHangUp(_ member: LoopMember) -> Bool {
        guard transport.state.pointee.phase == .open, !transport.state.pointee.readable.hangUp
        else { return false }
        if !transport.state.pointee.closeWaits.contains(where: { $0.isOf(member) }) {
            transport.state.pointee.closeWaits.append(Wait(worker: member))
        }
        return true
    }

    /// Whether the peer has broken the stream, which a read says only behind all that has come.
    package var isBroken: Bool {
        // The error may have been told to a send.
        transport.state.pointee.hasError || transport.outputFailureEndsInput
    }

    /// What the stream is lost by, as far as it is known before all that has come is read; `nil`
    /// while it is not lost, and for this side's orderly close.
    package var loss: StreamError? {
        if let failure = transport.state.pointee.inputFailure {
            return failure == .closed ? nil : failure.error
        }
        guard transport.state.pointee.phase == .open, isBroken else { return nil }
        return transport.state.pointee.outputFailure?.error ?? .reset(errno: ECONNRESET)
    }

    /// As `awaitHangUp`, but only for that: an orderly end of the peer's is not enough.
    package func awaitBreak(_ member: LoopMember) -> Bool {
        guard transport.state.pointee.phase == .open, !isBroken else { return false }
        if !transport.state.pointee.closeWaits.contains(where: { $0.isOf(member) }) {
            transport.state.pointee.closeWaits.append(Wait(worker: member))
        }
        return true
    }

    /// The attached member may not be at work any more, though it has sent nothing: if the server
    /// shuts down, the input may end now.
    package func becameIdle() {
        if transport.state.pointee.isDraining { transport.startDraining() }
    }

    /// Whether a server that shuts down has ended the input; the peer has not.
    package var isInputCut: Bool { transport.state.pointee.inputCut }

    /// Takes away what the member waits for, but its read: it is not kept alive any more.
    package func forgetWaits(of member: LoopMember) { transport.forgetWaits(of: member) }

    /// Whether the stream has ended.
    package var isStreamClosed: Bool { transport.state.pointee.phase == .closed }

    /// As `StreamWriter.startClosing`.
    package func startClosingStream(within: Duration?) {
        transport.startClosing(within: within?.clampedNanoseconds)
    }

    /// As `StreamWriter.startAborting`.
    package func startAbortingStream() { transport.startAborting() }
}

extension StreamWriter {
    /// As `StreamReader.attach`.
    package func attach(_ member: LoopMember) { transport.writingMember = member }

    /// As `StreamReader.detach`.
    package func detach(_ member: LoopMember) {
        if transport.writingMember === member { transport.writingMember = nil }
    }

    /// As `StreamReader.forgetWaits`.
    package func forgetWaits(of member: LoopMember) { transport.forgetWaits(of: member) }

    /// Whether the stream has ended.
    package var isStreamClosed: Bool { transport.state.pointee.phase == .closed }

    /// What this side's writes throw from now on; `nil` while they do not.
    package var outputError: StreamError? {
        if let failure = transport.state.pointee.outputFailure { return failure.error }
        let mayWrite =
            transport.state.pointee.phase == .open
            && !transport.state.pointee.finishRequested
        return mayWrite ? nil : .closed
    }

    /// Bytes queued that the kernel does not have yet.
    package var queuedCount: Int { transport.state.pointee.output.count }

    /// Whether so much is queued that writes are refused.
    package var isOverCap: Bool {
        transport.state.pointee.output.count > transport.settings.outputCap
    }

    /// Whether a member waits for output to drain.
    package var isAwaitedByWorker: Bool {
        transport.state.pointee.outputWaits.contains {
            if case .worker = $0.wait.waiter { true } else { false }
        }
    }

    /// Bytes above which `drain` waits, and down to which it does.
    package var marks: (high: Int, low: Int) {
        (transport.state.pointee.high, transport.state.pointee.low)
    }

    /// Has `member.work` called with `ready` once what is queued now is down to `count` bytes, or
    /// with `closed` when it never will be.
    ///
    /// - Returns: false if that is so now: nothing will be called.
    package func awaitDrain(_ member: LoopMember, to count: Int) -> Bool {
        transport.awaitDrain(Wait(worker: member), to: count)
    }
}

extension Transport {
    fileprivate final func forgetWaits(of member: LoopMember) {
        state.pointee.closeWaits.removeAll { $0.isOf(member) }
        state.pointee.outputWaits.removeAll { $0.wait.isOf(member) }
    }
}

extension Wait {
    /// Whether it is this member's.
    fileprivate func isOf(_ member: LoopMember) -> Bool {
        if case .worker(let worker) = waiter { worker === member } else { false }
    }
}
