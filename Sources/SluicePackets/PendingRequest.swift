// PendingRequest: the handle of a request that was submitted. Floor 3; any thread.

public import SluiceReactor
internal import SluiceStreams

/// A request under way.
///
/// Whoever holds none any longer has its answer dropped when it comes; the request itself goes on.
public final class PendingRequest<Value: Sendable>: Sendable {
    let core: PendingCore
    private let decode: @Sendable (Response) throws -> Value

    init(_ core: PendingCore, _ decode: @escaping @Sendable (Response) throws -> Value) {
        self.core = core
        self.decode = decode
    }

    /// Which of its channel's requests it is: rising from 2 on channel 0, from 0 elsewhere.
    public var tag: UInt64 { core.tag }
    /// Its channel.
    public var channel: UInt64 { core.channel }
    /// What it was submitted as.
    public var label: String? { core.label }
    /// The loop it lives on.
    public var loop: EventLoop { core.loop }

    /// Whether its outcome is known. On the loop's thread.
    public var isDone: Bool {
        precondition(loop.isCurrent, "isDone was asked off its loop; await response() elsewhere")
        return core.outcome != nil
    }

    /// Waits for the answer, which may be asked for any number of times. From any task.
    ///
    /// A wait that is cancelled or times out gives the wait up, not the request.
    ///
    /// - Returns: what the answer was decoded to; without a `decodeResponse` the answer itself,
    ///   fulfilled or not.
    /// - Throws: ``PacketError``: `peerClosed`, `truncated`, `malformed`, `limitExceeded`, `idle`
    ///   or `stream` when the connection ended first; `stream(.timedOut)` when its time was over;
    ///   `requestFailed` when it was to be decoded and was not fulfilled; and what decoding throws.
    public nonisolated(nonsending) func response() async throws -> Value {
        if core.loop.isHome(#isolation) { return try decode(try await core.response().get()) }
        let core = core
        return try decode(try await core.loop.hop { await core.response() }.get())
    }

    /// Gives the request up: whoever waits for it gets `stream(.cancelled)`, its place is free, and
    /// its answer is dropped when it comes. The peer is not told: the wire has no word for it. Any
    /// thread.
    public func cancel() {
        if loop.isCurrent { return core.giveUp(.stream(.cancelled)) }
        loop.postAlways { self.core.giveUp(.stream(.cancelled)) }
    }
}
