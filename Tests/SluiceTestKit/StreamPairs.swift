// Connected pairs of streams for tests: over a real loopback connection and in memory, each also
// clogged, that is with small buffers and a far end that does not read. Test kit, on a loop.

import Glibc
public import Sluice
import Synchronization
public import Testing

/// One end of a connection.
public struct StreamEnd: Sendable {
    public let reader: StreamReader
    public let writer: StreamWriter

    public init(_ pair: StreamPair) {
        reader = pair.reader
        writer = pair.writer
    }

    /// Sends a text and lets it arrive.
    public func say(_ text: String) async throws {
        try await say(bytes(text))
    }

    /// Sends bytes and lets them arrive.
    public func say(_ bytes: [UInt8]) async throws {
        try await writer.send(bytes)
        try await writer.flush()
        await settle()
    }

    /// Sends the end and lets it arrive.
    public func finish() async throws {
        try writer.finishWriting()
        try await writer.flush()
        await settle()
    }
}

/// The kinds of streams that every test of behaviour runs over.
public enum PairKind: String, CaseIterable, Sendable, CustomTestStringConvertible {
    case tcp
    case memory

    public var testDescription: String { rawValue }

    /// Two connected ends.
    public func makePair(options: StreamOptions = .init()) async throws -> (StreamEnd, StreamEnd) {
        switch self {
        case .tcp:
            return try await makeTCPPair(options: options)
        case .memory:
            let (near, far) = try await makeMemoryPair(options: options)
            return (StreamEnd(near), StreamEnd(far))
        }
    }

    /// Two connected ends with small buffers; the first one's output is over its high mark and the
    /// far end has taken what it can without reading. `queued` bytes of ``TestBytes`` were written.
    public func makeCloggedPair(
        options: StreamOptions = .init()
    ) async throws -> (near: StreamEnd, far: StreamEnd, queued: Int) {
        var options = options
        options.highWaterMark = 4_096
        options.lowWaterMark = 1_024
        let near: StreamEnd
        let far: StreamEnd
        switch self {
        case .tcp:
            (near, far) = try await makeTCPPair(options: options)
            try near.writer.setSocketOption(level: SOL_SOCKET, name: SO_SNDBUF, value: 16_384)
        case .memory:
            let pair = try await makeMemoryPair(capacity: 4_096, options: options)
            (near, far) = (StreamEnd(pair.0), StreamEnd(pair.1))
        }
        var queued = try await clog(near.writer, highWaterMark: options.highWaterMark)
        if self == .tcp {
            // The kernel may take more a moment later, when it gets to deliver what it has or when
            // a delayed acknowledgement comes. So much more is queued than it has room for.
            let more = min(524_288, options.outputCap / 2)
            try near.writer.write(TestBytes.make(from: queued, count: more))
            queued += more
        }
        return (near, far, queued)
    }
}

/// Writes ``TestBytes`` until the far end takes no more and more than the high mark stays queued.
/// Returns how many bytes were written.
public func clog(_ writer: StreamWriter, highWaterMark: Int) async throws -> Int {
    var written = 0
    while true {
        let queuedBefore = writer.bytesQueued
        await settle()
        if writer.bytesQueued > highWaterMark {
            if writer.bytesQueued == queuedBefore { return written }
        } else {
            try writer.write(TestBytes.make(from: written, count: 8_192))
            written += 8_192
        }
    }
}

/// A connection over 127.0.0.1: the first end connected, the second was accepted. Both live until
/// they are closed.
public func makeTCPPair(options: StreamOptions = .init()) async throws -> (StreamEnd, StreamEnd) {
    var serverOptions = ServerOptions()
    serverOptions.stream = options
    let accepted = Handover<StreamEnd>()
    let server = try await startServer(port: 0, options: serverOptions) {
        (reader: StreamReader, writer: StreamWriter) -> Void in
        accepted.give(StreamEnd((reader, writer)))
    }
    let near = StreamEnd(
        try await openConnection(host: "127.0.0.1", port: server.port, options: options))
    try await eventually("the connection is accepted") { accepted.hasValue }
    await server.close()
    return (near, accepted.take())
}

/// A value that one task gives and another takes, once.
public final class Handover<Value: Sendable>: Sendable {
    private let value = Mutex<Value?>(nil)

    public init() {}

    public var hasValue: Bool { value.withLock { $0 != nil } }

    public func give(_ new: Value) {
        value.withLock { $0 = new }
    }

    public func take() -> Value {
        value.withLock { stored in
            defer { stored = nil }
            guard let given = stored else { preconditionFailure("nothing was handed over") }
            return given
        }
    }
}

/// Runs a test's body on a loop of its own with a fresh pair, under a deadline; afterwards both
/// ends are aborted and the loop is audited for what is left.
public func withPair(
    _ kind: PairKind, options: StreamOptions = .init(), faults: FaultTable? = nil,
    sourceLocation: SourceLocation = #_sourceLocation,
    _ body: @escaping @Sendable (_ near: StreamEnd, _ far: StreamEnd) async throws -> Void
) async throws {
    try await withLoop(faults: faults, sourceLocation: sourceLocation) { _ in
        let (near, far) = try await kind.makePair(options: options)
        try await releasing(near, far) { try await body(near, far) }
    }
}

/// As ``withPair(_:options:faults:sourceLocation:_:)``, with a clogged pair and the count of its
/// bytes.
public func withCloggedPair(
    _ kind: PairKind, options: StreamOptions = .init(), faults: FaultTable? = nil,
    sourceLocation: SourceLocation = #_sourceLocation,
    _ body:
        @escaping @Sendable (_ near: StreamEnd, _ far: StreamEnd, _ queued: Int) async throws
        -> Void
) async throws {
    try await withLoop(faults: faults, sourceLocation: sourceLocation) { _ in
        let (near, far, queued) = try await kind.makeCloggedPair(options: options)
        try await releasing(near, far) { try await body(near, far, queued) }
    }
}

/// Runs `body` and aborts both ends, however it ends.
public func releasing<R>(
    _ near: StreamEnd, _ far: StreamEnd, _ body: () async throws -> R
) async throws -> R {
    let result: Result<R, any Error>
    do {
        result = .success(try await body())
    } catch {
        result = .failure(error)
    }
    await near.writer.abort()
    await far.writer.abort()
    return try result.get()
}

/// Both ends of a pipe, the caller's to close.
public func makePipe() throws -> (reading: Int32, writing: Int32) {
    var descriptors: [Int32] = [-1, -1]
    try #require(pipe(&descriptors) == 0)
    return (descriptors[0], descriptors[1])
}
