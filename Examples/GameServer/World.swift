// The world of GameServer: who plays, and what comes of what they do. All handlers run on one loop,
// so that the players need no lock.

import GameProtocol
import Sluice

struct Player {
    let number: UInt32
    let name: String
    let connection: PacketConnection

    /// Does not wait: who does not read is cut off when its queue is full, and delays nobody.
    func tell<P: Packet>(_ type: P.Type, _ fill: (inout P) -> Void) {
        do throws(PacketError) {
            try connection.write(type, fill)
        } catch .stream(.outputFull) {
            connection.writer?.startAborting()
        } catch {}  // closing already: its own handler will tell the others
    }
}

struct World {
    let patience: Duration
    let players = LoopBound<[Player]>([])

    /// One client, from its version to its end.
    func serve(_ client: PacketConnection) async throws {
        do {
            let hello = try await client.nextPacket(of: Hello.self, within: patience)
            guard let version = hello?.version else { return }
            guard Game.versions.contains(version) else {
                return try await client.send(Refused.self) { $0.reason = "unknown version" }
            }
            // The next packet is read in this version, even if it has come already.
            try client.setContext(Game(version: version))
            let login = try await client.nextPacket(of: Login.self, within: patience)
            guard let name = login?.name else { return }
            guard let player = enter(name, client) else {
                return try await client.send(Refused.self) { $0.reason = "no name, or taken" }
            }
            defer { leave(player) }
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                tasks.addTask { try await obey(player) }
                tasks.addTask { try await watch(player) }
                try await tasks.next()  // the end of either is the end of both
                tasks.cancelAll()
            }
        } catch PacketError.stream(.timedOut) {  // silent for too long
        } catch PacketError.stream(.aborted) {}  // it did not read
    }

    private func obey(_ player: Player) async throws {
        for try await packet in player.connection.packets {
            switch packet {
            case let say as Say:
                tell(Said.self) { ($0.player, $0.text) = (player.number, say.text) }
            case let move as Move:
                tell(Moved.self) { ($0.player, $0.position) = (player.number, move.position) }
            default: break  // a sign of life, or what this server does not know
            }
            try await player.connection.writer?.drain()  // who does not listen may not talk
        }
    }

    private func watch(_ player: Player) async throws {
        for number in 1...UInt32.max {
            try await sleep(for: patience)
            let answer = player.connection.watch(
                for: KeepAlive.self, where: { $0.number == number }, within: patience)
            try await player.connection.send(KeepAlive.self) { $0.number = number }
            guard try await answer.next() != nil else { return }
        }
    }

    private func enter(_ name: String, _ client: PacketConnection) -> Player? {
        let others = players.withValue { $0 }
        if name.isEmpty || others.contains(where: { $0.name == name }) { return nil }
        let number = (others.last?.number ?? 0) + 1
        let player = Player(number: number, name: name, connection: client)
        players.withValue { $0.append(player) }
        player.tell(Welcome.self) { $0.player = player.number }
        for other in others {
            player.tell(Joined.self) { ($0.player, $0.name) = (other.number, other.name) }
        }
        tell(Joined.self) { ($0.player, $0.name) = (player.number, name) }
        return player
    }

    private func leave(_ player: Player) {
        players.withValue { $0.removeAll { $0.number == player.number } }
        tell(Left.self) { $0.player = player.number }
    }

    private func tell<P: Packet>(_ type: P.Type, _ fill: (inout P) -> Void) {
        for player in players.withValue({ $0 }) { player.tell(type, fill) }
    }
}
