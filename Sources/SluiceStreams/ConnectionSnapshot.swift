// ConnectionSnapshot: one connection as it is at a moment, for operators and tests. Floor 2.

public import SluiceReactor

/// A connection of a server, as it was when asked for.
public struct ConnectionSnapshot: Sendable, CustomStringConvertible {
    /// How far a connection has come.
    public enum State: String, Sendable {
        /// Open both ways, or half-closed.
        case open
        /// Being closed in order.
        case closing
        /// The descriptor has gone, its handler still runs.
        case closed
    }

    /// What keeps a connection's tasks waiting.
    public enum Wait: String, Sendable {
        /// Nothing: a task of it runs, or waits for something else.
        case nothing
        /// The peer's bytes.
        case input
        /// The peer taking bytes.
        case output
        /// The end of the close.
        case close
    }

    /// The peer's address.
    public var remoteAddress: SocketAddress?
    /// This side's address.
    public var localAddress: SocketAddress?
    /// Since it was accepted.
    public var age: Duration
    /// Bytes received.
    public var bytesIn: UInt64
    /// Bytes that the kernel has taken.
    public var bytesOut: UInt64
    /// Bytes received and not read.
    public var bufferedIn: Int
    /// Bytes written and not taken by the kernel.
    public var bufferedOut: Int
    /// How far it has come.
    public var state: State
    /// What it waits for.
    public var waitsFor: Wait
    /// Why it has ended, once it has.
    public var closeReason: StreamError?

    /// All of it in one line.
    public var description: String {
        """
        \(remoteAddress.map(\.description) ?? "local") \(state.rawValue), age \(age), \
        in \(bytesIn) (\(bufferedIn) buffered), out \(bytesOut) (\(bufferedOut) buffered), \
        waits for \(waitsFor.rawValue)\(closeReason.map { ", \($0)" } ?? "")
        """
    }
}

extension Transport {
    /// On the loop's thread.
    final func snapshot(since start: UInt64) -> ConnectionSnapshot {
        let state = self.state.pointee
        let waitsFor: ConnectionSnapshot.Wait =
            state.phase == .closing
            ? .close
            : state.readWait != nil ? .input : state.outputWaits.isEmpty ? .nothing : .output
        return ConnectionSnapshot(
            remoteAddress: remoteAddress, localAddress: localAddress,
            age: .nanoseconds(Int64(clamping: loop.now() &- start)),
            bytesIn: state.bytesReceived, bytesOut: state.bytesSent,
            bufferedIn: state.input.count, bufferedOut: state.output.count,
            state: state.phase == .open ? .open : state.phase == .closing ? .closing : .closed,
            waitsFor: waitsFor,
            closeReason: state.phase == .closed
                ? (state.inputFailure ?? state.outputFailure ?? .closed).error : nil)
    }
}
