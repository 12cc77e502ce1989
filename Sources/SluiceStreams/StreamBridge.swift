// StreamBridge: a reader and a writer over somebody else's callbacks. Floor 2, the loop's thread.
//
// Where bytes arrive by another loop's or a C library's callbacks, a bridge feeds them to the same
// StreamReader and StreamWriter as a socket does: asyncio's StreamReaderProtocol.

internal import CEpoll
internal import Glibc
public import SluiceReactor

/// What a bridge asks of the source behind it. All closures run on the bridge's loop and must not
/// block.
public struct StreamBridgeSource: Sendable {
    /// Takes bytes to send. Returns how many were taken; fewer than given means: full, call
    /// ``StreamBridge/resumeWriting()`` when there is room again.
    public var send: @Sendable (RawSpan) -> Int
    /// Everything queued has been sent and the writer was finished: say the end to the peer.
    public var sendEnd: @Sendable () -> Void
    /// Give up what carries the bytes. `isAborted`: bytes were lost.
    public var close: @Sendable (_ isAborted: Bool) -> Void
    /// More is waiting to be read than the stream's limit allows: deliver no more for now.
    public var pauseReading: @Sendable () -> Void
    /// Deliver again.
    public var resumeReading: @Sendable () -> Void

    /// A source; only `send` is always needed.
    public init(
        send: @escaping @Sendable (RawSpan) -> Int,
        sendEnd: @escaping @Sendable () -> Void = {},
        close: @escaping @Sendable (_ isAborted: Bool) -> Void = { _ in },
        pauseReading: @escaping @Sendable () -> Void = {},
        resumeReading: @escaping @Sendable () -> Void = {}
    ) {
        self.send = send
        self.sendEnd = sendEnd
        self.close = close
        self.pauseReading = pauseReading
        self.resumeReading = resumeReading
    }
}

/// A stream fed by hand: callbacks deliver bytes, a source takes them.
///
/// Its calls belong on its loop's thread (from elsewhere: `loop.post { }`), in the order of a
/// connection's life: ``receive(_:)-([UInt8])`` any number of times, ``receiveEnd()``,
/// ``connectionLost(_:)``.
// @unchecked Sendable: an immutable reference to a transport; every entry checks the thread.
public final class StreamBridge: @unchecked Sendable {
    /// The receiving half.
    public let reader: StreamReader
    /// The sending half.
    public let writer: StreamWriter
    private let transport: BridgeTransport

    /// Makes a bridge. On the loop's thread.
    ///
    /// - Parameters:
    ///   - loop: where reader and writer live.
    ///   - source: what is behind it.
    ///   - options: settings of the stream. Twice its `limit` waiting to be read pauses the source.
    /// - Throws: ``StreamError/invalidOption(name:rule:)``.
    public init(
        on loop: EventLoop, source: StreamBridgeSource, options: StreamOptions = StreamOptions()
    ) throws(StreamError) {
        precondition(
            loop.isCurrent, "a StreamBridge is made on its loop: await loop.spawn { }.value")
        transport = BridgeTransport(
            loop: loop, settings: try options.checked(), source: source)
        reader = StreamReader(transport)
        writer = StreamWriter(transport)
    }

    /// Makes a reader that is fed by hand and has no source: its writer says `closed` from the
    /// beginning, and nobody is told to pause. On the loop's thread.
    ///
    /// - Throws: ``StreamError/invalidOption(name:rule:)``.
    public convenience init(
        on loop: EventLoop, options: StreamOptions = StreamOptions()
    ) throws(StreamError) {
        try self.init(on: loop, source: StreamBridgeSource(send: { _ in 0 }), options: options)
        transport.becomeReadOnly()
    }

    /// Bytes came. They wait for the reader however many they are; `pauseReading` is asked of the
    /// source when they are more than twice the limit.
    public func receive(_ bytes: [UInt8]) {
        check("receive")
        bytes.withUnsafeBytes { transport.feed($0) }
    }

    /// Bytes came; as the array form.
    public func receive(_ bytes: RawSpan) {
        check("receive")
        bytes.withUnsafeBytes { transport.feed($0) }
    }

    /// The peer has sent its end; reads see it behind the bytes that came before.
    public func receiveEnd() {
        check("receiveEnd")
        transport.feedEnd()
    }

    /// The connection is gone. Reads see `error`, or the end if there is none, behind the bytes
    /// that came before; writes fail with it.
    ///
    /// - Parameter errno: what broke it, such as ECONNRESET; `nil` for a clean end.
    public func connectionLost(errno: Int32? = nil) {
        check("connectionLost")
        transport.lose(errno)
    }

    /// The source takes no more for now. (It may also say so by what `send` returns.)
    public func pauseWriting() {
        check("pauseWriting")
        transport.isSourcePaused = true
    }

    /// The source takes bytes again.
    public func resumeWriting() {
        check("resumeWriting")
        transport.resumeSource()
    }

    private func check(_ name: String) {
        precondition(
            transport.loop.isCurrent,
            "StreamBridge.\(name) was called off its loop; from elsewhere use loop.post { }")
    }
}

// @unchecked Sendable by Transport.
final class BridgeTransport: Transport, @unchecked Sendable {
    /// `nil` once closed: what the closures hold goes with the connection.
    private var source: StreamBridgeSource?
    /// Fed and not yet received; `head` bytes of it are spent.
    private var fed: [UInt8] = []
    private var head = 0
    private var hasEnded = false
    private var lost: Int32?
    private var isReadingPaused = false
    var isSourcePaused = false
    /// How often the source has said that there is room: it may do so inside `send`.
    private var resumptions = 0

    init(loop: EventLoop, settings: StreamSettings, source: StreamBridgeSource) {
        self.source = source
        super.init(loop: loop, settings: settings)
        loop.admit(self)
    }

    private var waiting: Int { fed.count - head }

    func feed(_ bytes: UnsafeRawBufferPointer) {
        guard !bytes.isEmpty, !hasEnded, token != 0 else { return }
        fed.append(contentsOf: bytes)
        if !isReadingPaused, waiting > 2 * settings.limit {
            isReadingPaused = true
            source?.pauseReading()
        }
        loop.signal(self, readinessIn)
    }

    func feedEnd() {
        hasEnded = true
        if token != 0 { loop.signal(self, readinessIn | readinessHangUp) }
    }

    func lose(_ errno: Int32?) {
        hasEnded = true
        lost = errno ?? 0
        if token != 0 {
            loop.signal(self, readinessIn | readinessOut | readinessHangUp | readinessError)
        }
    }

    func resumeSource() {
        isSourcePaused = false
        resumptions &+= 1
        if token != 0 { loop.signal(self, readinessOut) }
    }

    override func receive(into buffer: UnsafeMutableRawPointer, count: Int) -> Int {
        let taken = min(count, waiting)
        guard taken > 0 else {
            if let lost, lost != 0 { return -Int(lost) }
            return hasEnded ? 0 : -Int(EAGAIN)
        }
        fed.withUnsafeBytes { bytes in
            if let base = bytes.baseAddress { memcpy(buffer, base + head, taken) }
        }
        head += taken
        if head == fed.count {
            (fed, head) = ([], 0)
        } else if head >= 65_536 {
            fed.removeFirst(head)
            head = 0
        }
        if isReadingPaused, waiting <= settings.limit {
            isReadingPaused = false
            source?.resumeReading()
        }
        // A short count means drained, so an end left behind has to be announced.
        if hasEnded { loop.signal(self, readinessIn) }
        return taken
    }

    override func transmit(_ pieces: UnsafePointer<iovec>, count: Int) -> Int {
        if let lost { return -Int(lost == 0 ? EPIPE : lost) }
        var sent = 0
        for index in 0..<count where !isSourcePaused {
            let piece = UnsafeRawBufferPointer(
                start: pieces[index].iov_base, count: pieces[index].iov_len)
            guard let source else { return -Int(EPIPE) }
            let resumptionsBefore = resumptions
            let taken = source.send(piece.bytes)
            precondition(
                taken >= 0 && taken <= piece.count, "send returns 0 up to the bytes it was given")
            sent += taken
            if taken < piece.count, resumptions == resumptionsBefore { isSourcePaused = true }
            if taken < piece.count { break }
        }
        return sent > 0 ? sent : -Int(EAGAIN)
    }

    override func finish() { source?.sendEnd() }

    override func release(reset: Bool) {
        (fed, head) = ([], 0)
        let source = self.source
        self.source = nil
        source?.close(reset)
    }

    override func label() -> String { "the holder of a bridge" }
}
