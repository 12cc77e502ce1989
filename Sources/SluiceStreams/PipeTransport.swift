// PipeTransport: one end of a pipe, a FIFO, a terminal or another descriptor that is no socket, for
// one direction. Floor 2, the loop's thread; it owns the descriptor.

internal import CEpoll
internal import Glibc
internal import SluiceReactor

// @unchecked Sendable by Transport.
final class PipeTransport: Transport, @unchecked Sendable {
    enum Direction {
        case reading
        case writing
    }

    /// -1 once closed.
    private var fd: Int32
    private let direction: Direction

    /// Takes over a descriptor, also when it throws (it is closed then). It is made nonblocking,
    /// which all processes that share its open file see; fcntl(2).
    init(
        fd: Int32, direction: Direction, loop: EventLoop, settings: StreamSettings
    ) throws(SystemError) {
        self.fd = fd
        self.direction = direction
        super.init(loop: loop, settings: settings)
        do throws(SystemError) {
            let result = ce_adopt(loop.reactor, fd)
            if result < 0 { throw SystemError(call: "fcntl", errno: result) }
            try enter(fd, for: direction == .reading ? CE_WANT_IN.rawValue : CE_WANT_OUT.rawValue)
        } catch {
            ce_close(loop.reactor, fd)
            self.fd = -1
            throw error
        }
        switch direction {
        case .reading: becomeReadOnly()
        case .writing: becomeWriteOnly()
        }
    }

    override func receive(into buffer: UnsafeMutableRawPointer, count: Int) -> Int {
        ce_read(loop.reactor, fd, buffer, count)
    }

    override func transmit(_ pieces: UnsafePointer<iovec>, count: Int) -> Int {
        ce_write(loop.reactor, fd, pieces, count)
    }

    /// A pipe's end is told by closing it.
    override func finish() {
        if direction == .writing { closeDescriptor() }
    }

    /// The one way to tell the reader that nothing more comes.
    override func outputBroke() { closeDescriptor() }

    override func release(reset: Bool) {
        closeDescriptor()
    }

    override func detachDescriptor() -> Int32? {
        guard fd >= 0 else { return nil }
        ce_remove(loop.reactor, fd)
        defer { fd = -1 }
        return fd
    }

    private func closeDescriptor() {
        guard fd >= 0 else { return }
        ce_remove(loop.reactor, fd)
        ce_close(loop.reactor, fd)
        fd = -1
    }

    override func label() -> String { "the holder of a pipe" }
}
