// Typed listeners: called for each packet of a kind, one after the other. Floor 3.

internal import SluiceReactor

/// What a pump knows of a listener.
// @unchecked Sendable: constants.
final class PacketListener: @unchecked Sendable {
    let kind: Any.Type
    let accepts: (any Packet) -> Bool
    let call: @Sendable (any Packet) async throws -> Void

    init<T: Sendable>(_ type: T.Type, _ body: @escaping @Sendable (T) async throws -> Void) {
        kind = type
        accepts = { $0 is T }
        call = { packet in if let packet = packet as? T { try await body(packet) } }
    }
}

extension PacketConnection {
    /// Calls `listener` with each packet of a kind, as a task of the loop. On the loop.
    ///
    /// A packet's listeners run one after the other in the order of their registration, and the
    /// next packet is read when they are done. So a listener must not wait for another packet of
    /// this connection: for that it spawns a task. What it throws closes the connection and ends
    /// everybody's packets: a ``PacketError`` as it is, anything else as
    /// ``PacketError/callbackThrew(_:)``.
    ///
    /// - Parameters:
    ///   - type: as in ``watch(for:where:within:)``.
    ///   - listener: kept until the packets end. To use the connection it holds it weakly, or the
    ///     connection is not closed by being dropped.
    public func on<T: Sendable>(
        _ type: T.Type, _ listener: @escaping @Sendable (T) async throws -> Void
    ) {
        preconditionOnLoop("on", twin: "loop.spawn { }")
        pump.add(PacketListener(type, listener))
    }
}

extension PacketPump {
    func add(_ listener: PacketListener) {
        guard ending == nil else { return }
        listeners.append(listener)
        kick()
    }

    /// Starts the listeners of a packet; false if there are none.
    func offerToListeners(_ packet: any Packet) -> Bool {
        let callees = listeners.filter { $0.accepts(packet) }
        guard !callees.isEmpty else { return false }
        isListening = true
        loop.spawn {
            do {
                for callee in callees { try await callee.call(packet) }
            } catch {
                self.listenerThrew(error)
            }
            self.isListening = false
            self.kick()
        }
        return true
    }
}
