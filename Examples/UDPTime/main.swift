// UDPTime: tells the time by datagrams, one conversation for each client's address.
//
//   swift run UDPTime [port]                  prints "listening on 127.0.0.1:8890"; port 0 takes a
//                                             free one
//   printf '%-20s' utc | nc -u -w1 127.0.0.1 8890     2026-11-21T15:55:18Z
//
// unix answers the seconds since 1970, utc the date and time, count how many questions this client
// has asked. A question is padded with spaces to the size of its answer at least: sources can be
// forged, and a service whose answers are longer than what they answer multiplies a flood that
// somebody else gets. One that is too short for its answer is not answered, and nor is whatever
// else comes: somebody else's answer is no question. A client that asks nothing for a minute is
// forgotten.

import Glibc
import Sluice

struct Question: Sendable {
    enum Kind: String, Sendable {
        case unix, utc, count
    }

    var kind: Kind
    /// Bytes with the padding: the longest answer there may be.
    var size: Int
}

/// Questions in, answers out, as text.
struct Questions: Serializer {
    func deserialize(_ bytes: RawSpan) throws(PacketError) -> Question {
        let text = try TextSerializer().deserialize(bytes)
        let (word, padding) = (text.prefix { $0 != " " }, text.drop { $0 != " " })
        guard let kind = Question.Kind(rawValue: String(word)), padding.allSatisfy({ $0 == " " })
        else { throw .malformed("no question") }
        return Question(kind: kind, size: bytes.byteCount)
    }

    func serialize(_ question: Question, into output: inout PacketOutput) throws(PacketError) {
        output.append(question.kind.rawValue)
        for _ in 0..<max(0, question.size - output.count) { output.append(byte: 32) }
    }
}

func answer(_ question: Question.Kind, number: Int) -> String {
    var now = time(nil)
    switch question {
    case .unix: return "\(now)"
    case .count: return "\(number)"
    case .utc:
        var parts = tm()
        var text = [CChar](repeating: 0, count: 32)
        gmtime_r(&now, &parts)
        let length = strftime(&text, text.count, "%Y-%m-%dT%H:%M:%SZ", &parts)
        return String(decoding: text.prefix(length).map(UInt8.init(bitPattern:)), as: UTF8.self)
    }
}

func serve(_ client: DatagramConversation<String, Question>) async throws {
    var number = 0
    while true {
        do {
            let question = try await withTimeout(.seconds(60)) { try await client.receive() }
            guard let question else { return }  // the server shuts down
            number += 1
            let answer = answer(question.kind, number: number)
            if answer.utf8.count <= question.size { try await client.send(answer) }
        } catch PacketError.malformedDatagram {
            continue  // what makes no sense is not answered
        } catch PacketError.stream(.timedOut) {
            return
        } catch PacketError.stream(.peerFailed) {
            return  // the client has gone
        }
    }
}

guard let port = Int(CommandLine.arguments.dropFirst().first ?? "8890") else {
    print("usage: UDPTime [port]")
    exit(2)
}
let server = try await startDatagramServer(
    .host("127.0.0.1", port: port), sending: TextSerializer(), receiving: Questions(),
    handler: serve)
print("listening on \(server.address)")
fflush(nil)  // standard output may be a pipe
for await _ in try await signals(.terminate, .interrupt) { break }
await server.shutdown(grace: .seconds(1))
