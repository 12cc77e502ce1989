// Hooks: how a connection's packets are read and written, where the format does not say it all:
// ciphers, compression, sources of another sort. Floor 3.

internal import SluiceReactor
internal import SluiceStreams

/// Reads and writes a connection's packets instead of its format.
///
///     hooks.reading = { connection in
///         guard let size = try await connection.readData(2) else { return nil }
///         …
///         return try connection.decode(body)
///     }
public struct PacketHooks: Sendable {
    /// Reads the next packet, or `nil` at the end. Runs as a task of its own on the loop, one
    /// packet at a time and only while somebody wants one, which nobody's cancellation touches;
    /// it gets the connection to read from, by ``PacketConnection/readData(_:)``.
    ///
    /// What it throws ends the connection: a ``PacketError`` as it is, anything else as
    /// ``PacketError/callbackThrew(_:)``.
    public var reading: (@Sendable (PacketConnection) async throws -> (any Packet)?)?

    /// Appends a packet's bytes, frame and all; on the loop. If it throws, nothing is sent. What
    /// it sends itself leaves before the packet, whole.
    public var writing:
        (
            @Sendable (any Packet, PacketConnection, inout PacketOutput) throws(PacketError) ->
                Void
        )?

    /// Without hooks.
    public init() {}
}

extension PacketPump {
    /// Has the hook read while packets are wanted.
    func readByHook() {
        // Whoever reads bytes says when that is over.
        guard mayRead, hookTask == nil, !isBusy, let hook = hooks?.reading else { return }
        hookTask = loop.spawn { await self.readPackets(by: hook) }
    }

    private nonisolated(nonsending) func readPackets(
        by hook: @Sendable (PacketConnection) async throws -> (any Packet)?
    ) async {
        var count = 0
        while mayRead {
            count &+= 1
            if count % PacketBounds.packetsInARow == 0 { await EventLoop.yield() }
            do {
                let packet = try await hook(PacketConnection(hooksOf: self))
                guard ending == nil else { return }
                if let packet { deliver(packet) } else { end(.orderly) }
            } catch {
                return callbackThrew(error)
            }
            // Whom it has woken runs first.
            while ending == nil, dueCount > 0 || isConsumerDue { await EventLoop.yield() }
        }
        if ending == nil { hookTask = nil }
    }

    /// The packets may have ended since it was called: the connection closes all the same.
    func listenerThrew(_ error: any Error) {
        if ending == nil { return callbackThrew(error) }
        guard ending?.error == nil, !isClosedHere else { return }
        thrown = error
        closeStreams(within: nil)
    }

    /// A listener or a hook has thrown: everything ends with that.
    func callbackThrew(_ error: any Error) {
        guard ending == nil else { return }
        let known = error as? PacketError
        if known == nil { thrown = error }
        inputFailed(known ?? .callbackThrew("\(error)"))
    }
}
