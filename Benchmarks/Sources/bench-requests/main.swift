// bench-requests: requests of 64 bytes on one connection, so many of them under way.
//
//   bench-requests PORT COUNT DEPTH [SERVER_PID]
//
// Asks for type 0, which is answered with its payload, and compares. Prints one line of JSON:
// requests a second, and this program's processor time for each; with a process id, the server's.
// A tenth of the requests comes before and is not counted.

import Glibc
import Sluice

struct WrongAnswer: Error {
    let number: Int
}

/// The request with this number, 64 bytes.
func payload(_ number: Int) -> [UInt8] {
    var bytes = [UInt8](repeating: 0x78, count: 64)
    withUnsafeBytes(of: number) { bytes.replaceSubrange(0..<8, with: $0) }
    return bytes
}

/// Asks, with at most `depth` requests under way.
nonisolated(nonsending) func ask(
    _ connection: RequestConnection, _ count: Int, depth: Int
) async throws {
    var pending: [PendingRequest<Response>] = []
    for number in 0..<count {
        let request = payload(number)
        if number < depth {
            pending.append(try await connection.submit(0, payload: request))
            continue
        }
        try await check(pending[number % depth], number - depth)
        pending[number % depth] = try await connection.submit(0, payload: request)
    }
    for number in max(0, count - depth)..<count {
        try await check(pending[number % depth], number)
    }
}

nonisolated(nonsending) func check(
    _ pending: PendingRequest<Response>, _ number: Int
) async throws {
    let response = try await pending.response()
    guard response.isOK, response.payload == payload(number) else {
        throw WrongAnswer(number: number)
    }
}

func nanoseconds(_ clock: clockid_t) -> Double {
    var time = timespec()
    guard clock_gettime(clock, &time) == 0 else { return 0 }
    return Double(time.tv_sec) * 1e9 + Double(time.tv_nsec)
}

let numbers = CommandLine.arguments.dropFirst().compactMap { Int($0) }
guard numbers.count >= 3, numbers[1] > 0, numbers[2] > 0 else {
    print("usage: bench-requests PORT COUNT DEPTH [SERVER_PID]")
    exit(2)
}
let (port, count, depth) = (numbers[0], numbers[1], numbers[2])
var serverClock = CLOCK_MONOTONIC
let hasServer =
    numbers.count > 3 && clock_getcpuclockid(pid_t(numbers[3]), &serverClock) == 0
let clocks = [CLOCK_MONOTONIC, CLOCK_PROCESS_CPUTIME_ID] + (hasServer ? [serverClock] : [])

try EventLoop.run {
    var requests = RequestOptions()
    requests.inFlightLimit = depth
    requests.inFlightPerChannel = depth
    let connection = try await openRequestConnection(
        host: "127.0.0.1", port: port, requests: requests)
    let warmUp = count / 10
    try await ask(connection, warmUp, depth: depth)
    let before = clocks.map(nanoseconds)
    try await ask(connection, count, depth: depth)
    let spent = zip(clocks.map(nanoseconds), before).map { $0 - $1 }
    await connection.close()

    let rate = (Double(count) / spent[0] * 1e9).rounded()
    let each = spent.dropFirst().map { ($0 / Double(count) * 10).rounded() / 10_000 }
    let server = hasServer ? ", \"server_cpu_us_per_request\": \(each[1])" : ""
    print(
        "{\"requests\": \(count), \"requests_in_all\": \(count + warmUp), "
            + "\"requests_per_s\": \(rate), "
            + "\"client_cpu_us_per_request\": \(each[0])\(server)}")
}
