// copyBothWays: the whole of a proxy. Floor 2.

internal import SluiceReactor

/// Bytes copied each way by ``copyBothWays(_:_:)``.
public struct CopiedBytes: Hashable, Sendable {
    /// From the first stream's reader to the second's writer.
    public var forth: UInt64
    /// From the second stream's reader to the first's writer.
    public var back: UInt64
}

/// Copies what each of two streams sends to the other, until both have ended.
///
/// The end of one becomes a half-close of the other (`finishWriting`), which goes on sending. A
/// slow side slows the other by its drain; nothing is gathered. Neither stream is closed at the
/// end.
///
/// - Returns: how many bytes went each way.
/// - Throws: the first error of either direction, once the other one has been cancelled; what the
///   other side had not taken by then is lost with the stream. Close or abort both.
public nonisolated(nonsending) func copyBothWays(
    _ first: StreamPair, _ second: StreamPair
) async throws(StreamError) -> CopiedBytes {
    let result = await withTaskGroup(of: CopyEnd.self) { group in
        group.addTask { await copy(from: first.reader, to: second.writer, isForth: true) }
        group.addTask { await copy(from: second.reader, to: first.writer, isForth: false) }
        var copied = CopiedBytes(forth: 0, back: 0)
        var failure: StreamError?
        for await end in group {
            switch end {
            case .copied(let bytes, let isForth):
                if isForth { copied.forth = bytes } else { copied.back = bytes }
            case .failed(let error):
                if failure == nil { failure = error }
                group.cancelAll()
            }
        }
        return failure.map { Result.failure($0) } ?? .success(copied)
    }
    return try result.get()
}

private enum CopyEnd: Sendable {
    case copied(UInt64, isForth: Bool)
    case failed(StreamError)
}

/// One direction, until the reader's end has been passed on.
private func copy(from reader: StreamReader, to writer: StreamWriter, isForth: Bool) async
    -> CopyEnd
{
    do throws(StreamError) {
        var copied: UInt64 = 0
        while let bytes = try await reader.read() {
            try await writer.send(bytes)
            copied += UInt64(bytes.count)
        }
        try await writer.sendEnd()
        return .copied(copied, isForth: isForth)
    } catch {
        return .failed(error)
    }
}

extension StreamWriter {
    /// `finishWriting` from any task, waiting until the end has been sent.
    nonisolated(nonsending) func sendEnd() async throws(StreamError) {
        guard loop.isCurrent else {
            return try await hop { writer throws(StreamError) in try await writer.sendEnd() }
        }
        try finishWriting()
        try await flush()
    }
}
