// The packets of Tests/Interop/pak_peer.py, and the session that it describes, at either side.

import Glibc
import Sluice

/// A session; it ends when something else comes than should.
struct Game: Sendable {
    private let format = PacketFormat(
        Head.self, .little,
        receiving: [
            Login.self, Welcome.self, Move.self, Bag.self, Ping.self, Pong.self, Bye.self,
            Report.self,
        ])

    /// Serves clients, and prints for each that kept to the script "ok" and how many packets came.
    func serve(_ port: Int) async throws {
        let server = try await startServer(port: port, packets: format) { connection in
            print("ok \(try await host(connection)) packets")
            fflush(nil)
        }
        announce(server)
        try await server.serveForever()
    }

    /// Plays with a server, and returns how many packets came.
    func ask(_ port: Int) async throws -> Int {
        let connection = try await openPacketConnection(
            host: "127.0.0.1", port: port, packets: format.reversed)
        return try await connection.loop.spawn {
            try await connection.closing { connection in
                try await withTimeout(patience) { try await play(connection) }
            }
        }.value
    }
}

// MARK: The server's side

private nonisolated(nonsending) func host(_ connection: PacketConnection) async throws -> Int {
    var (count, sum) = (0, Int64(0))
    var wanted = script()[...]
    var pong: PacketWatch<Pong>?
    for try await packet in connection.packets {
        count += 1
        switch packet {
        case let login as Login:
            try expect(login, Login("Zoë", version: 1_200))
            try await connection.send(Welcome.wanted)
            pong = connection.watch(for: Pong.self, within: patience)
            try await connection.send(Ping(number: pingNumber))
        case is Pong:
            break  // the watch has it
        case is Bye:
            try expect(try await pong?.next(), Pong(number: pingNumber + 3))
            try expect(wanted.count, 0)
            try await connection.send(Report(packets: UInt32(count), sum: sum))
            return count
        default:
            try expect(packet, wanted.popFirst())
            sum += Int64((packet as? Move)?.x ?? 0)
            try await connection.send(changed(packet))
        }
    }
    throw Missed(what: "a farewell")
}

// MARK: The client's side

private nonisolated(nonsending) func play(_ connection: PacketConnection) async throws -> Int {
    let report = connection.watch(for: Report.self, within: patience)
    connection.on(Ping.self) { [weak connection] ping in
        try await connection?.send(Pong(number: ping.number + 3))
    }
    let count = try await withThrowingTaskGroup(of: Void.self) { group in
        // A child begins when this task waits: for the first packet, so none is missed.
        group.addTask {
            let welcome = try await connection.request(
                Login("Zoë", version: 1_200), expecting: Welcome.self, within: patience)
            try expect(welcome, .wanted)
            for packet in script() { try await connection.send(packet) }
        }
        let count = try await listen(connection)
        try await group.waitForAll()
        return count
    }
    try expect(
        try await report.next(), Report(packets: UInt32(script().count + 3), sum: -25_000))
    return count
}

/// Takes all packets up to the end, and says farewell when everything has come back.
private nonisolated(nonsending) func listen(_ connection: PacketConnection) async throws -> Int {
    var count = 0
    var wanted = script().map(changed)[...]
    var hasPinged = false
    for try await packet in connection.packets {
        count += 1
        switch packet {
        case let ping as Ping:
            try expect(ping, Ping(number: pingNumber))
            hasPinged = true
        case is Welcome, is Report:
            break  // those who watch have them
        default:
            try expect(packet, wanted.popFirst())
            if wanted.isEmpty { try await connection.send(Bye()) }
        }
    }
    try expect(hasPinged, true)
    return count
}

private func expect(_ got: any Packet, _ wanted: (any Packet)?) throws {
    guard let wanted, wanted.isEqual(to: got) else {
        throw WrongPacket(sent: "\(wanted, default: "nothing")", received: "\(got)")
    }
}

// MARK: What the client sends, and what the server makes of it

private let pingNumber: UInt64 = 1 << 63 + 1

private func script() -> [any Packet] {
    let moves: [any Packet] = (0..<50).map { (number: Int32) -> Move in
        Move(
            x: number * 1_000 - 25_000, y: -number, speed: Float(number) / 4,
            sneaks: number % 2 == 0)
    }
    let rest: [UInt8] = (0..<60_000).map { (number: Int) -> UInt8 in UInt8(number * number % 251) }
    let full = Bag(
        counts: [1, 2, 65_535], label: "sack", isHeavy: true, kind: 5, count: 9, weight: -2.5e300,
        bonus: 7, change: -65, slots: [-32_768, 0, 32_767], rest: Array(0...255))
    let fuller = Bag(
        counts: Array(0..<255), label: "1234567", isHeavy: false, kind: 7, count: 15, weight: 0.1,
        bonus: 255, change: 1 << 40, slots: Array(0..<255), rest: rest)
    return moves + [Bag(), full, fuller, UnknownPacket(0x77, Array(0..<100))]
}

private func changed(_ packet: any Packet) -> any Packet {
    switch packet {
    case let move as Move:
        return Move(x: -move.x, y: move.y * 2, speed: move.speed + 0.5, sneaks: !move.sneaks)
    case var bag as Bag:
        bag.counts.reverse()
        bag.label = String(bag.label.reversed())
        bag.isHeavy.toggle()
        bag.weight.negate()
        bag.bonus = bag.bonus == nil ? 1 : nil
        bag.change.negate()
        bag.slots.reverse()
        bag.rest.reverse()
        return bag
    default: return packet
    }
}
