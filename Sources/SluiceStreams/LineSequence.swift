// LineSequence: `for try await line in reader.lines`. Floor 2.

/// The lines of a stream, without LF or CRLF, until its end; the unfinished last line is included.
///
/// Stopping early leaves the reader at the next line, so that another loop or read goes on there.
public struct LineSequence: AsyncSequence, Sendable {
    /// A line's bytes.
    public typealias Element = [UInt8]
    /// What reading may throw.
    public typealias Failure = StreamError

    let reader: StreamReader
    let limit: Int?

    /// Reads the lines one by one.
    public struct AsyncIterator: AsyncIteratorProtocol {
        let reader: StreamReader
        let limit: Int?

        /// The next line, or `nil` at the end; throws as `readLine`.
        public mutating func next() async throws(StreamError) -> [UInt8]? {
            try await reader.readLine(limit: limit, strippingTerminator: true)
        }

        /// The next line, on the caller's actor.
        public mutating func next(
            isolation actor: isolated (any Actor)?
        ) async throws(StreamError) -> [UInt8]? {
            try await reader.readLine(limit: limit, strippingTerminator: true)
        }
    }

    /// Starts where the reader is.
    public func makeAsyncIterator() -> AsyncIterator {
        AsyncIterator(reader: reader, limit: limit)
    }
}

extension StreamReader {
    /// The lines from here to the end, with the stream's limit.
    public var lines: LineSequence { LineSequence(reader: self, limit: nil) }

    /// The lines from here to the end.
    ///
    /// - Parameter limit: bytes allowed before each LF, 1 or more.
    public func lines(limit: Int) -> LineSequence { LineSequence(reader: self, limit: limit) }
}
