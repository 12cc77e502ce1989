// LineChat: a chat in rooms.
//
//   swift run LineChat [port]       prints "listening on 127.0.0.1:8889"; port 0 takes a free one
//   nc 127.0.0.1 8889               asks for a nickname; then every line goes to everybody in the
//                                   room. /join ROOM changes it, /who lists it, /quit leaves.
// All handlers run on one loop, so the members need no lock. What is said is queued to each member
// without waiting: who does not read delays nobody, and is dropped when the queue is full.

import Glibc
import Sluice

final class Member {
    let name: String
    let writer: StreamWriter
    var room = "lobby"

    init(_ name: String, _ writer: StreamWriter) {
        self.name = name
        self.writer = writer
    }
}

struct Chat {
    private let members = LoopBound<[Member]>([])

    /// One client, from the nickname to the end. It reads here while others write to it.
    func serve(_ reader: StreamReader, _ writer: StreamWriter) async throws {
        try await writer.send("nickname?\n")
        let name = try await reader.readLine(limit: 64, strippingTerminator: true) ?? []
        let member = Member(String(decoding: name, as: UTF8.self), writer)
        guard enter(member) else {
            return try await writer.send("* that nickname is taken or empty\n")
        }
        defer { remove(member, "left") }
        do {
            for try await line in reader.lines(limit: 1_024) {
                guard try obey(String(decoding: line, as: UTF8.self), member) else { return }
                try await writer.drain()  // who talks faster than it listens waits for itself
            }
        } catch StreamError.aborted {}  // it was dropped, and the room knows
    }

    /// Carries out a line; false if it was the last one.
    private func obey(_ line: String, _ member: Member) throws -> Bool {
        let words = line.split(separator: " ", maxSplits: 1).map(String.init)
        switch words.first {
        case "/quit":
            return false
        case "/who":
            let here = members.withValue { $0.filter { $0.room == member.room }.map(\.name) }
            try member.writer.write("* in \(member.room): \(here.joined(separator: ", "))\n")
        case "/join" where words.count == 2:
            say("* \(member.name) left for \(words[1])", in: member.room)
            member.room = words[1]
            say("* \(member.name) joined", in: member.room)
        default:
            say("\(member.name): \(line)", in: member.room)
        }
        return true
    }

    /// Queues a line for everybody in a room and drops those whose queues are full.
    private func say(_ line: String, in room: String) {
        for member in members.withValue({ $0 }) where member.room == room {
            do throws(StreamError) {
                try member.writer.write(line + "\n")
            } catch .outputFull {
                member.writer.startAborting()
                remove(member, "was dropped: it does not read")
            } catch {}  // closing already: its own handler tells the room
        }
    }

    private func enter(_ member: Member) -> Bool {
        let isTaken = members.withValue { $0.contains { $0.name == member.name } }
        guard !isTaken, !member.name.isEmpty else { return false }
        members.withValue { $0.append(member) }
        say("* \(member.name) joined", in: member.room)
        return true
    }

    private func remove(_ member: Member, _ how: String) {
        guard (members.withValue { $0.contains { $0 === member } }) else { return }
        members.withValue { $0.removeAll { $0 === member } }
        say("* \(member.name) \(how)", in: member.room)
    }
}

guard let port = Int(CommandLine.arguments.dropFirst().first ?? "8889") else {
    print("usage: LineChat [port]")
    exit(2)
}
var options = ServerOptions()
options.stream.outputCap = 256 * 1_024
let server = try await startServer(port: port, options: options, handler: Chat().serve)
print("listening on \(server.addresses[0])")
fflush(nil)  // standard output may be a pipe
let counts = try await server.serveForever(until: [.terminate, .interrupt])
exit(counts?.allFinished == false ? 1 : 0)
