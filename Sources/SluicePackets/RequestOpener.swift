// RequestOpener: opens a connection's streams, once for all who want them at the same time. Floor
// 3, the loop's thread.

internal import SluiceReactor
internal import SluiceStreams

// @unchecked Sendable by LoopMember: touched on the loop's thread alone.
final class RequestOpener: LoopMember, @unchecked Sendable {
    typealias Streams = (reader: StreamReader, writer: StreamWriter)

    private let open: @Sendable () async throws -> Streams
    /// The one in progress.
    private var opening: RequestOpening?
    private var waits: [Wait] = []

    init(loop: EventLoop, _ open: @escaping @Sendable () async throws -> Streams) {
        self.open = open
        super.init(loop: loop)
    }

    /// Streams that were opened after this call, or were being opened at it; `nil` for all but the
    /// first of those who have waited for the same ones.
    ///
    /// - Parameter deadline: when the wait times out.
    nonisolated(nonsending) func streams(until deadline: UInt64) async throws -> Streams? {
        let opening = self.opening ?? begin()
        try await Deadline.$current.withValue(min(deadline, Deadline.current)) {
            while opening.result == nil { try await waitOnce(opening) }
        }
        guard let streams = try opening.result?.get() else { return nil }
        opening.result = .success(nil)
        return streams
    }

    private nonisolated(nonsending) func waitOnce(
        _ opening: RequestOpening
    ) async throws(PacketError) {
        let outcome = await suspend { continuation, number in
            begin(continuation, number: number) { wait in
                guard opening.result == nil else { return false }
                waits.append(wait)
                return true
            }
        }
        try PacketError.check(outcome)
    }

    /// Nobody wants streams any more: ends the waits for them. What is opened all the same is
    /// closed.
    func end(_ reason: PacketError) {
        guard let opening else { return }
        end(opening, .failure(reason))
        opening.task?.cancel()
    }

    private func begin() -> RequestOpening {
        let opening = RequestOpening()
        self.opening = opening
        opening.task = loop.spawn { await self.run(opening) }
        return opening
    }

    /// A task of its own, so that nobody's cancellation takes the streams from the others.
    private nonisolated(nonsending) func run(_ opening: RequestOpening) async {
        do {
            let streams = try await open()
            guard streams.reader.loop === loop, streams.writer.loop === loop else {
                await streams.writer.abort()
                throw PacketError.stream(.unsupported("a stream of another loop"))
            }
            guard opening.result == nil, !waits.isEmpty else {
                // Who wanted them has given up.
                end(opening, .success(nil))
                return Self.close(streams)
            }
            end(opening, .success(streams))
        } catch {
            end(opening, .failure(error))
        }
    }

    private func end(_ opening: RequestOpening, _ result: Result<Streams?, any Error>) {
        guard opening.result == nil else { return }
        opening.result = result
        self.opening = nil
        let waits = self.waits
        self.waits = []
        for wait in waits { resume(wait, .ready) }
    }

    /// Closes streams that are not used.
    static func close(_ streams: Streams) {
        streams.writer.startClosing()
        streams.reader.startClosingStream(within: nil)
    }

    override func endWait(_ number: UInt32, _ outcome: WaitOutcome) {
        guard let index = waits.firstIndex(where: { $0.number == number }) else { return }
        resume(waits.remove(at: index), outcome)
    }
}

/// One opening of streams.
// @unchecked Sendable: touched on the loop's thread alone.
private final class RequestOpening: @unchecked Sendable {
    /// What came of it; `nil` streams once somebody has them.
    var result: Result<RequestOpener.Streams?, any Error>?
    var task: Task<Void, any Error>?
}
