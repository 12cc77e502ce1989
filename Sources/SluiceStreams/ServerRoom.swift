// When a server accepts: not before its service has started, and not while it is full. Floor 2.

internal import SluiceReactor

extension Server {
    /// Begins to accept, if it was made to wait; what has come meanwhile waits in the backlog.
    package nonisolated(nonsending) func release() async {
        let open = { @Sendable in
            self.isHeld = false
            self.roomCame()
        }
        if loop.isCurrent { return open() }
        await loop.hop(open)
    }
}

/// Tells the acceptor that a connection ended, from whichever loop it lived on.
// @unchecked Sendable: `server` is set once, before the first connection.
final class RoomSignal: @unchecked Sendable {
    private let loop: EventLoop
    weak var server: Server?

    init(loop: EventLoop) {
        self.loop = loop
    }

    func raise() {
        if loop.isCurrent { server?.roomCame(); return }
        loop.postAlways { self.server?.roomCame() }
    }
}
