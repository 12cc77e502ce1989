// RequestOpener: opens a connection's streams, once for all who want them at the same time. Floor
// 3, the loop's thread.

internal import SluiceReactor
internal import SluiceStreams

// @unchecked Sendable by LoopMember: touched on the loop's thread alone.
final class RequestOpener: LoopMember, @unchecked Sendable {
    typealias Streams = (StreamReader, StreamWriter)

    private let open: @Sendable () async throws -> Streams
    private var isOpening = false
    private var result: Result<Streams, any Error>?
    private var waits: [Wait] = []

    init(loop: EventLoop, _ open: @escaping @Sendable () async throws -> Streams) {
        self.open = open
        super.init(loop: loop)
    }

    /// Streams that were opened after this call, or were being opened at it.
    nonisolated(nonsending) func streams() async throws -> Streams {
        if !isOpening {
            isOpening = true
            result = nil
            loop.spawn { await self.run() }
        }
        while isOpening {
            let outcome = await suspend { continuation, number in
                begin(continuation, number: number) { wait in
                    guard isOpening else { return false }
                    waits.append(wait)
                    return true
                }
            }
            try PacketError.check(outcome)
        }
        guard let result else { throw PacketError.stream(.closed) }
        return try result.get()
    }

    /// A task of its own, so that nobody's cancellation takes the streams from the others.
    private nonisolated(nonsending) func run() async {
        do {
            let streams = try await open()
            if streams.0.loop === loop, streams.1.loop === loop {
                result = .success(streams)
            } else {
                await streams.1.abort()
                result = .failure(PacketError.stream(.unsupported("a stream of another loop")))
            }
        } catch {
            result = .failure(error)
        }
        isOpening = false
        let waits = self.waits
        self.waits = []
        for wait in waits { resume(wait, .ready) }
    }

    override func endWait(_ number: UInt32, _ outcome: WaitOutcome) {
        guard let index = waits.firstIndex(where: { $0.number == number }) else { return }
        resume(waits.remove(at: index), outcome)
    }
}
