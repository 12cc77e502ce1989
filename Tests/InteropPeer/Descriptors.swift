// Descriptors beside lines, over a Unix socket. With "hi" the writing ends of three pipes leave;
// the peer writes into them, and answers "hi" with the reading ends of three others, which it has
// written into. Any line without descriptors comes back as it is, and without any.

import Glibc
import Sluice

typealias Passage = StreamEndpoint<String, String>

struct Missed: Error {
    let what: String
}

private let pipeCount = 3

/// What goes through one of the pipes.
private func words(_ index: Int, _ way: String) -> String { "\(way) through pipe \(index)\n" }

private struct Pipe {
    let reading: Int32
    let writing: Int32

    init() throws {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { throw SystemError(call: "pipe", errno: -errno) }
        (reading, writing) = (ends[0], ends[1])
    }
}

/// Writes into each of the pipes and closes them.
private func say(_ way: String, into descriptors: [Int32]) async throws {
    for (index, descriptor) in descriptors.enumerated() {
        let writer = try await adoptPipe(writing: descriptor)
        try await writer.send(Array(words(index, way).utf8))
        await writer.close()
    }
}

/// Reads each of the pipes to its end, which comes only when nobody has its other end open.
private func hear(_ way: String, from descriptors: [Int32]) async throws {
    for (index, descriptor) in descriptors.enumerated() {
        let reader = try await adoptPipe(reading: descriptor)
        let said = String(decoding: try await reader.readToEnd(), as: UTF8.self)
        guard said == words(index, way) else {
            throw WrongPacket(sent: words(index, way), received: said)
        }
    }
}

/// Receives a line and all descriptors beside it, which the caller closes.
private func receive(_ peer: Passage) async throws -> (line: String, descriptors: [Int32])? {
    guard var received = try await peer.receive(ancillaryCapacity: pipeCount) else { return nil }
    return (received.packet, received.ancillary.takeAll())
}

func serveDescriptors(_ path: String, _ codec: LineCodec) async throws {
    let server = try await startServer(.unix(path: path), codec: codec) { peer in
        while let (line, descriptors) = try await receive(peer) {
            if descriptors.isEmpty {
                try await peer.send(line)
                continue
            }
            guard line == "hi", descriptors.count == pipeCount else {
                throw Missed(what: "\(descriptors.count) descriptors beside \(line)")
            }
            try await withTimeout(patience) {
                try await say("asked", into: descriptors)
                let pipes = try (0..<pipeCount).map { _ in try Pipe() }
                try await say("answered", into: pipes.map(\.writing))
                try await peer.send("hi", ancillary: Ancillary(descriptors: pipes.map(\.reading)))
                for pipe in pipes { close(pipe.reading) }
            }
        }
    }
    announce(server)
    try await server.serveForever()
}

func askForDescriptors(_ path: String, _ codec: LineCodec) async throws -> Int {
    let stream = try await openUnixConnection(path: path)
    let peer = Passage(stream.reader, stream.writer, codec)
    let before = openPipes()
    var count = 0
    for _ in 0..<100 {
        try await withTimeout(patience) { try await askOnce(peer) }
        count += 2
    }
    // Streams of pipes are closed when they are let go, a turn of their loop later.
    let clock = ContinuousClock()
    let end = clock.now + patience
    while openPipes() != before {
        guard clock.now < end else {
            throw Missed(what: "\(openPipes()) pipes are open instead of \(before)")
        }
        try await sleep(for: .milliseconds(1))
    }
    await peer.close()
    return count
}

/// Once there and back, with descriptors; then a line without any.
private nonisolated(nonsending) func askOnce(_ peer: Passage) async throws {
    let pipes = try (0..<pipeCount).map { _ in try Pipe() }
    try await peer.send("hi", ancillary: Ancillary(descriptors: pipes.map(\.writing)))
    for pipe in pipes { close(pipe.writing) }
    guard let (answer, descriptors) = try await receive(peer) else { throw Missed(what: "answer") }
    guard answer == "hi", descriptors.count == pipeCount else {
        throw Missed(what: "\(descriptors.count) descriptors beside \(answer)")
    }
    try await hear("asked", from: pipes.map(\.reading))
    try await hear("answered", from: descriptors)
    try await peer.send("plain")
    guard let (line, others) = try await receive(peer), line == "plain", others.isEmpty else {
        throw Missed(what: "a plain line")
    }
}

/// How many pipes' ends this process has, proc(5). What Swift's runtime opens for itself, whenever
/// that is, are others.
private func openPipes() -> Int {
    (0..<1_024).count { (descriptor: Int) in
        var link = [UInt8](repeating: 0, count: 64)
        let count = link.withUnsafeMutableBytes {
            readlink("/proc/self/fd/\(descriptor)", $0.baseAddress!, $0.count)
        }
        return count > 0 && link.starts(with: "pipe:".utf8)
    }
}
