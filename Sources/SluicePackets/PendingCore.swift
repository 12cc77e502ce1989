// PendingCore: one request of this side's, from its submission to its answer. Floor 3, the loop's
// thread.

internal import SluiceReactor
internal import SluiceStreams

// @unchecked Sendable by LoopMember: touched on the loop's thread alone; constants aside.
final class PendingCore: LoopMember, @unchecked Sendable {
    let type: UInt64
    let flags: UInt64
    /// Until it is sent.
    var payload: [UInt8]
    let channel: UInt64
    let label: String?
    var tag: UInt64 = 0
    /// It waits for a place among the others: it has not been sent.
    var isSubmitting = false
    private weak var pump: RequestPump?
    private(set) var outcome: Result<Response, PacketError>?
    private var waits: [Wait] = []
    private var timer: TimerToken = 0

    init(_ request: Request, label: String?, _ pump: RequestPump) {
        type = request.type
        flags = request.flags
        payload = request.payload
        channel = request.channel
        self.label = label
        self.pump = pump
        super.init(loop: pump.loop)
    }

    // MARK: Its end

    /// From now on it has an outcome; the first one counts.
    func complete(_ outcome: Result<Response, PacketError>) {
        guard self.outcome == nil else { return }
        self.outcome = outcome
        if timer != 0 {
            loop.disarm(timer)
            timer = 0
        }
        gotPlace()
    }

    /// Lets whoever waits look again.
    func gotPlace() {
        guard !waits.isEmpty else { return }
        let waits = self.waits
        self.waits = []
        for wait in waits { resume(wait, .ready) }
    }

    /// Gives it up: its place is free, and an answer that still comes is dropped.
    func giveUp(_ reason: PacketError) {
        guard outcome == nil else { return }
        pump?.forget(self)
        complete(.failure(reason))
    }

    /// Has until then for its answer.
    func arm(_ deadline: UInt64) {
        timer = loop.arm(self, purpose: 1, deadline: deadline)
    }

    override func timerFired(_ purpose: UInt32) {
        timer = 0
        giveUp(.stream(.timedOut))
    }

    // MARK: Waiting for it

    override func endWait(_ number: UInt32, _ outcome: WaitOutcome) {
        guard let index = waits.firstIndex(where: { $0.number == number }) else { return }
        resume(waits.remove(at: index), outcome)
    }

    /// Waits once, until something changed.
    nonisolated(nonsending) private func wait(
        until isReached: () -> Bool
    ) async throws(PacketError) {
        while !isReached() {
            let outcome = await suspend { continuation, number in
                begin(continuation, number: number) { wait in
                    guard !isReached() else { return false }
                    waits.append(wait)
                    return true
                }
            }
            try PacketError.check(outcome)
        }
    }

    /// Waits until it was sent, or has ended without being sent. A wait that is given up sends
    /// nothing.
    nonisolated(nonsending) func waitForPlace() async throws(PacketError) {
        do throws(PacketError) {
            try await wait { !self.isSubmitting }
        } catch {
            if isSubmitting {
                giveUp(error)
                throw error
            }
        }
        if case .failure(let error)? = outcome { throw error }
    }

    /// Waits for its answer.
    nonisolated(nonsending) func response() async -> Result<Response, PacketError> {
        do throws(PacketError) { try await wait { self.outcome != nil } } catch {
            return .failure(error)
        }
        guard let outcome else { preconditionFailure("it was waited for") }
        return outcome
    }
}
