// An in-memory pair of streams: two ends in one process that behave like a socket's. Floor 2.

public import SluiceReactor

/// Both halves of a stream.
public typealias StreamPair = (reader: StreamReader, writer: StreamWriter)

/// Makes two connected streams inside the process: what one end writes the other reads.
///
/// They behave as two ends of a TCP connection do, half-close, reset, flow control and all, without
/// the kernel. For tests, and for parts of a program that talk by streams. Any thread.
///
/// - Parameters:
///   - loop: both ends live on it; by default the caller's, else the background loop.
///   - capacity: bytes on the way each way, 1 or more: the "kernel buffer".
///   - chunk: bytes moved by one receive or send at most, 1 or more: 1 makes every read short.
///   - options: settings of both streams.
/// - Throws: ``StreamError/invalidOption(name:rule:)``.
public nonisolated(nonsending) func makeMemoryPair(
    on loop: EventLoop? = nil, capacity: Int = 65_536, chunk: Int = .max,
    options: StreamOptions = StreamOptions()
) async throws(StreamError) -> (StreamPair, StreamPair) {
    guard capacity > 0 else { throw .invalidOption(name: "capacity", rule: "1 or more bytes") }
    guard chunk > 0 else { throw .invalidOption(name: "chunk", rule: "1 or more bytes") }
    let settings = try options.checked()
    let loop = loop ?? EventLoop.current ?? EventLoop.background
    let pair =
        loop.isCurrent
        ? makePair(loop, settings, capacity, chunk)
        : await loop.hop { makePair(loop, settings, capacity, chunk) }
    return (
        (StreamReader(pair.0), StreamWriter(pair.0)), (StreamReader(pair.1), StreamWriter(pair.1))
    )
}

private func makePair(
    _ loop: EventLoop, _ settings: StreamSettings, _ capacity: Int, _ chunk: Int
) -> (MemoryTransport, MemoryTransport) {
    MemoryTransport.makePair(loop: loop, settings: settings, capacity: capacity, chunk: chunk)
}
