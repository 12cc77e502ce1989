// linkPackets: two connections as one, for proxies that look at what passes. Floor 3; any task.

internal import SluiceReactor
internal import SluiceStreams

/// Which way a packet of two linked connections goes.
public enum LinkDirection: Hashable, Sendable {
    /// From the first connection to the second one.
    case forth
    /// From the second connection to the first one.
    case back
}

/// What becomes of a packet between two linked connections.
public enum LinkVerdict: Sendable {
    /// It goes on as it is.
    case forward
    /// Another one goes on instead.
    case replace(any Packet)
    /// It goes nowhere.
    case drop
}

/// Sends each packet of either connection on to the other one, until one of them ends; then sends
/// on what has come from the other one by then, and closes both in order, behind what was sent.
///
/// A packet is read when the one before it was sent, so the slower side holds the other one back.
/// Packets of one's own are injected by ``PacketConnection/send(_:)`` on either connection, and
/// watches of both see what comes. An ``UnknownPacket`` goes on with the bytes it came with.
///
/// - Parameters:
///   - first: for example a proxy's client. This is the consumer of its packets.
///   - second: for example the server it connects to.
///   - timeout: of each close, as in ``PacketConnection/close(within:)``; before it, what has come
///     from the other one has as much time, 5 s by default.
///   - inspect: decides about each packet; the next one of its direction waits for it.
/// - Throws: the first error of either side, or of `inspect`, once both are closed; when one side
///   has ended in order, a reset of the other one is none. A cancelled task aborts both.
public nonisolated(nonsending) func linkPackets(
    _ first: PacketConnection, _ second: PacketConnection, closingWithin timeout: Duration? = nil,
    _ inspect: @escaping @Sendable (any Packet, LinkDirection) async throws -> LinkVerdict = {
        _, _ in .forward
    }
) async throws {
    let result: Result<Void, any Error>
    do {
        result = .success(try await forwardBothWays(first, second, timeout, inspect))
    } catch {
        result = .failure(error)
    }
    // Before the end of the first one is waited for.
    await second.hangUp(within: timeout)
    await first.close(within: timeout)
    await second.close(within: timeout)
    try result.get()
}

private nonisolated(nonsending) func forwardBothWays(
    _ first: PacketConnection, _ second: PacketConnection, _ timeout: Duration?,
    _ inspect: @escaping @Sendable (any Packet, LinkDirection) async throws -> LinkVerdict
) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await forward(from: first, to: second, .forth, inspect) }
        group.addTask { try await forward(from: second, to: first, .back, inspect) }
        // The first end is the end of both: the other one's consumer waits for nothing more.
        try await group.next()
        let closing = first.loop.spawn {
            try await sleep(for: timeout ?? PacketBounds.linkRest)
            await first.hangUp(within: timeout)
            await second.hangUp(within: timeout)
        }
        defer { closing.cancel() }
        await first.endWhenRead()
        await second.endWhenRead()
        do { try await group.waitForAll() } catch let error as PacketError {
            // A side that has ended need not take what was still on its way.
            if error != .stream(.aborted), !error.isReset { throw error }
        }
    }
}

private func forward(
    from source: PacketConnection, to destination: PacketConnection, _ direction: LinkDirection,
    _ inspect: @Sendable (any Packet, LinkDirection) async throws -> LinkVerdict
) async throws {
    for try await packet in source.packets {
        let passing: any Packet
        switch try await inspect(packet, direction) {
        case .forward: passing = packet
        case .replace(let other): passing = other
        case .drop: continue
        }
        do throws(PacketError) { try await destination.send(passing) } catch {
            // This side has closed, which is an end as good as any.
            if error == .stream(.closed) { return }
            throw error
        }
    }
}

extension PacketConnection {
    /// Begins to close; from any task.
    fileprivate nonisolated(nonsending) func hangUp(within timeout: Duration?) async {
        if loop.isCurrent { return pump.close(within: timeout) }
        await loop.hop { self.pump.close(within: timeout) }
    }

    /// Ends its packets behind those that have come; from any task.
    fileprivate nonisolated(nonsending) func endWhenRead() async {
        if loop.isCurrent { return pump.endWhenRead() }
        await loop.hop { self.pump.endWhenRead() }
    }
}
