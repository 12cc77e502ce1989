// What the scripts put under load. The argument is the number of loops, 1 by default. A client
// speaks in lines; these have a meaning, every other one comes back:
//
//   figures    the answer is one line of counts
//   loop       the answer is the number of the loop that serves this connection
//   drain      20 MB come, with flow control, then nothing more
//   ignore     the same without flow control: what is refused is counted
//   deaf       nothing is read any more

import Glibc
import Sluice
import Synchronization

let pieceBytes = 65_536
let pieces = 20_000_000 / pieceBytes

struct Counts {
    var handlers = 0
    var truncated = 0
    var written = 0
    var refused = 0
}

let counts = Mutex(Counts())
let service = Mutex<Server?>(nil)
let group = try EventLoopGroup(loops: Int(CommandLine.arguments.dropFirst().first ?? "1") ?? 1)

/// An array of its own for each piece: one that is shared would cost no memory when queued.
func piece(_ number: Int) -> [UInt8] {
    [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: pieceBytes)
}

func figures() async -> String {
    guard let server = service.withLock({ $0 }) else { return "\n" }
    let statistics = await server.statistics()
    var (members, timers, blocks) = (0, 0, 0)
    for loop in group.loops {
        let statistics = await loop.statistics()
        members += statistics.members
        timers += statistics.timersArmed
        blocks += statistics.blocksInUse
    }
    let own = counts.withLock { $0 }
    return """
        accepted \(statistics.accepted) closed \(statistics.closed) current \(statistics.current) \
        pauses \(statistics.acceptPauses) handlers \(own.handlers) truncated \(own.truncated) \
        written \(own.written) refused \(own.refused) \
        members \(members) timers \(timers) blocks \(blocks)\n
        """
}

func drain(_ writer: StreamWriter) async throws {
    for number in 0..<pieces {
        try await writer.send(piece(number))
        counts.withLock { $0.written += pieceBytes }
    }
}

func ignore(_ writer: StreamWriter) async throws {
    for number in 0..<pieces {
        do throws(StreamError) {
            try writer.write(piece(number))
            counts.withLock { $0.written += pieceBytes }
        } catch {
            guard case .outputFull = error else { throw error }
            counts.withLock { $0.refused += 1 }
        }
        await EventLoop.yield()
    }
}

func serve(_ reader: StreamReader, _ writer: StreamWriter) async throws {
    while try await reader.hasMore() {
        let line = try await reader.readUntil([10])
        switch String(decoding: line.dropLast(), as: UTF8.self) {
        case "figures": try await writer.send(await figures())
        case "loop":
            let number = group.loops.firstIndex { $0.isCurrent }
            try await writer.send("\(number ?? -1)\n")
        case "drain": try await drain(writer)
        case "ignore": try await ignore(writer)
        case "deaf": return try await writer.waitPeerClosed()
        default: try await writer.send(line)
        }
    }
}

let server = try await startServer(port: 0, loops: group) { reader, writer in
    counts.withLock { $0.handlers += 1 }
    defer { counts.withLock { $0.handlers -= 1 } }
    do {
        try await serve(reader, writer)
    } catch StreamError.truncated {
        counts.withLock { $0.truncated += 1 }
    }
}
service.withLock { $0 = server }
print("listening on \(server.addresses[0])")
fflush(nil)
try await server.serveForever()
