// JSONLines: a calculator that is asked in JSON, one request and one answer a line.
//
//   swift run JSONLines [port]      prints "listening on 127.0.0.1:8890"; port 0 takes a free one
//   swift run JSONLines ask 8890 product 6 7
//                                   prints "product = 42.0"
//   echo '{"id": 1, "operation": "sum", "numbers": [1, 2]}' | nc -N 127.0.0.1 8890
//                                   prints {"id":1,"result":3}
//
// A line that is no request is answered by an error, and the next one is read.

import Glibc
import Sluice
import SluiceJSON

enum Operation: String, Codable {
    case sum, product, largest
}

struct Request: Codable {
    var id: Int
    var operation: Operation
    var numbers: [Double]
}

struct Answer: Codable {
    var id: Int?
    var result: Double?
    var error: String?
}

/// What the service sends and receives; the client has the same the other way round.
let serviceCodec = StapledCodec(
    sending: JSONLineCodec<Answer>.jsonLines(), receiving: JSONLineCodec<Request>.jsonLines())
let clientCodec = StapledCodec(
    sending: JSONLineCodec<Request>.jsonLines(), receiving: JSONLineCodec<Answer>.jsonLines())

func answer(_ request: Request) -> Answer {
    let result: Double? =
        switch request.operation {
        case .sum: request.numbers.reduce(0, +)
        case .product: request.numbers.reduce(1, *)
        case .largest: request.numbers.max()
        }
    guard let result, result.isFinite else { return Answer(id: request.id, error: "no result") }
    return Answer(id: request.id, result: result)
}

@Sendable func serve(_ endpoint: StreamEndpoint<Answer, Request>) async throws {
    while true {
        do throws(PacketError) {
            guard let request = try await endpoint.receive() else { return }
            try await endpoint.send(answer(request))
        } catch .malformed(let reason) {
            try await endpoint.send(Answer(error: reason))
        } catch .limitExceeded {
            try await endpoint.send(Answer(error: "too long"))
        }
    }
}

func ask(port: Int, _ operation: Operation, _ numbers: [Double]) async throws {
    let service = try await openConnection(host: "127.0.0.1", port: port, codec: clientCodec)
    try await service.send(Request(id: 1, operation: operation, numbers: numbers))
    let answer = try await service.receive()
    let result = answer?.result.map { "\($0)" } ?? answer?.error ?? "no answer"
    print("\(operation) = \(result)")
    await service.close()
}

let words = Array(CommandLine.arguments.dropFirst())
if words.count > 2, words[0] == "ask", let port = Int(words[1]),
    let operation = Operation(rawValue: words[2])
{
    try await ask(port: port, operation, words.dropFirst(3).compactMap { Double($0) })
    exit(0)
}
guard let port = Int(words.first ?? "8890") else {
    print("usage: JSONLines [port] | ask port sum|product|largest number ...")
    exit(2)
}
let server = try await startServer(port: port, codec: serviceCodec, handler: serve)
print("listening on \(server.addresses[0])")
fflush(nil)  // standard output may be a pipe
let counts = try await server.serveForever(until: [.terminate, .interrupt])
exit(counts?.allFinished == false ? 1 : 0)
