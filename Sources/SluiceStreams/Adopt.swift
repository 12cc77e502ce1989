// Adopting descriptors from elsewhere, and pairing halves. Floor 2; any thread.

internal import CEpoll
public import SluiceReactor

/// Makes a stream of a connected stream socket, or of one end of a socketpair(2).
///
/// The stream takes the descriptor over, makes it nonblocking and closes it in the end.
///
/// - Parameters:
///   - descriptor: stays the caller's if this throws `invalidOption`; is closed if it throws
///     `system`.
///   - loop: carries it; by default the loop the caller runs on, else ``EventLoop/background``.
///   - options: limits and deadlines of the stream.
/// - Throws: ``StreamError/invalidOption(name:rule:)`` if it is no connected stream socket.
public nonisolated(nonsending) func adoptSocket(
    _ descriptor: Int32, on loop: EventLoop? = nil, options: StreamOptions = StreamOptions()
) async throws(StreamError) -> StreamPair {
    let settings = try options.checked()
    let loop = loop ?? EventLoop.current ?? EventLoop.background
    let result: Result<SocketTransport, StreamError> = await loop.hop {
        var (local, remote) = (ce_address(), ce_address())
        let result = ce_connected(loop.reactor, descriptor, &local, &remote)
        guard result == 0 else {
            return .failure(.notUsable("socket", "a connected stream socket", result))
        }
        return made { () throws(SystemError) in
            try SocketTransport(
                fd: descriptor, loop: loop, settings: settings, local: SocketAddress(local),
                remote: SocketAddress(remote))
        }
    }
    let transport = try result.get()
    return (StreamReader(transport), StreamWriter(transport))
}

/// Makes a stream of a connected stream socket that somebody has passed; otherwise as for a number.
///
/// - Parameter descriptor: closed if this throws.
public nonisolated(nonsending) func adoptSocket(
    _ descriptor: consuming OwnedDescriptor, on loop: EventLoop? = nil,
    options: StreamOptions = StreamOptions()
) async throws(StreamError) -> StreamPair {
    do throws(StreamError) {
        let pair = try await adoptSocket(descriptor.number, on: loop, options: options)
        _ = descriptor.take()
        return pair
    } catch {
        // A failed system call has cost the descriptor already.
        if case .system = error { _ = descriptor.take() }
        throw error
    }
}

/// Makes a reader of a pipe's reading end, a FIFO or a terminal: anything pollable that is read.
///
/// Otherwise as `adoptSocket`. A regular file is not pollable and is refused with EPERM.
public nonisolated(nonsending) func adoptPipe(
    reading descriptor: Int32, on loop: EventLoop? = nil, options: StreamOptions = StreamOptions()
) async throws(StreamError) -> StreamReader {
    StreamReader(whole: try await adoptPipe(descriptor, .reading, loop, options))
}

/// Makes a writer of a pipe's writing end, a FIFO or a terminal. Otherwise as for reading.
public nonisolated(nonsending) func adoptPipe(
    writing descriptor: Int32, on loop: EventLoop? = nil, options: StreamOptions = StreamOptions()
) async throws(StreamError) -> StreamWriter {
    StreamWriter(whole: try await adoptPipe(descriptor, .writing, loop, options))
}

/// Makes a stream of two pipes: one to read from, one to write to, closed together.
public nonisolated(nonsending) func adoptPipes(
    reading: Int32, writing: Int32, on loop: EventLoop? = nil,
    options: StreamOptions = StreamOptions()
) async throws(StreamError) -> StreamPair {
    let loop = loop ?? EventLoop.current ?? EventLoop.background
    let reader: StreamReader
    do throws(StreamError) {
        reader = try await adoptPipe(reading: reading, on: loop, options: options)
    } catch {
        // Both go or both stay: the caller cannot tell which one it was.
        if case .system = error { await loop.hop { loop.closeDescriptor(writing) } }
        throw error
    }
    let writer = try await adoptPipe(writing: writing, on: loop, options: options)
    return await staple(reader, writer)
}

private nonisolated(nonsending) func adoptPipe(
    _ descriptor: Int32, _ direction: PipeTransport.Direction, _ loop: EventLoop?,
    _ options: StreamOptions
) async throws(StreamError) -> PipeTransport {
    let settings = try options.checked()
    let loop = loop ?? EventLoop.current ?? EventLoop.background
    let result: Result<PipeTransport, StreamError> = await loop.hop {
        made { () throws(SystemError) in
            try PipeTransport(
                fd: descriptor, direction: direction, loop: loop, settings: settings)
        }
    }
    return try result.get()
}

/// Joins a reader and a writer of different streams to one pair, of the same loop: closing or
/// aborting its writer closes the reader's stream too.
///
/// - Returns: the two, joined.
public nonisolated(nonsending) func staple(
    _ reader: StreamReader, _ writer: StreamWriter
) async -> StreamPair {
    precondition(reader.loop === writer.loop, "stapled halves live on one loop")
    await writer.loop.hop {
        writer.transport.partner = reader.transport
        writer.transport.stapled = reader.transport
        reader.transport.state.pointee.readWatch?.outgoing = writer.transport
    }
    return (reader, writer)
}

private func made<T>(_ make: () throws(SystemError) -> T) -> Result<T, StreamError> {
    do throws(SystemError) { return .success(try make()) } catch { return .failure(.system(error)) }
}

extension StreamError {
    fileprivate static func notUsable(_ name: String, _ rule: String, _ errno: Int32) -> StreamError
    {
        .invalidOption(name: name, rule: "\(rule) (\(SystemError.text(of: -errno)))")
    }
}
