// RequestOpener: opens a connection's streams, once for all who want them at the same time, and
// knows the lives that end beside the newest. Floor 3, the loop's thread.

internal import SluiceReactor
internal import SluiceStreams

// @unchecked Sendable: touched on the loop's thread alone.
final class RequestOpener: @unchecked Sendable {
    typealias Streams = (reader: StreamReader, writer: StreamWriter)

    private let loop: EventLoop
    private let open: @Sendable () async throws -> Streams
    /// The one in progress.
    private var opening: RequestOpening?
    private let waits: ServerWaits
    /// Lives that were replaced by the next one and are not over.
    private(set) var earlier: [RequestPump] = []

    init(loop: EventLoop, _ open: @escaping @Sendable () async throws -> Streams) {
        self.loop = loop
        self.open = open
        waits = ServerWaits(loop: loop)
    }

    /// Another life begins: this one is known until it is over.
    func replaced(_ life: RequestPump) {
        guard !life.state.pointee.ending.isOver else { return }
        earlier.append(life)
        life.whenOver = { [weak self] in
            self?.earlier.removeAll { $0.state.pointee.ending.isOver }
        }
    }

    /// Streams that were opened after this call, or were being opened at it; `nil` for all but the
    /// first of those who have waited for the same ones.
    ///
    /// - Parameter deadline: when the wait times out.
    nonisolated(nonsending) func streams(until deadline: UInt64) async throws -> Streams? {
        let opening = self.opening ?? begin()
        try await Deadline.$current.withValue(min(deadline, Deadline.current)) {
            try await wait(for: opening)
        }
        // The loop's end ends the wait, too.
        guard let result = opening.result else { throw PacketError.stream(.reactor(.stopped)) }
        guard let streams = try result.get() else { return nil }
        opening.result = .success(nil)
        return streams
    }

    private nonisolated(nonsending) func wait(
        for opening: RequestOpening
    ) async throws(PacketError) {
        do throws(StreamError) {
            try await waits.wait(while: { opening.result == nil })
        } catch {
            throw .stream(error)
        }
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
        waits.wake()
    }

    /// Closes streams that are not used.
    static func close(_ streams: Streams) {
        streams.writer.startClosing()
        streams.reader.startClosingStream(within: nil)
    }
}

/// One opening of streams.
// @unchecked Sendable: touched on the loop's thread alone.
private final class RequestOpening: @unchecked Sendable {
    /// What came of it; `nil` streams once somebody has them.
    var result: Result<RequestOpener.Streams?, any Error>?
    var task: Task<Void, any Error>?
}
