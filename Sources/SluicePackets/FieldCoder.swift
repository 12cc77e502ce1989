// FieldCoder: reads, writes, measures or prints a record's fields. Floor 3; on the thread of the
// call it is lent to.
//
// Reading: from `cursor` to `end` lies what has not been read. Writing: from `base` to `cursor`
// lies what has not been given to the output yet, to `end` there is room; so that a small field
// costs a store, not a call. Once it has failed, reading finds no bytes, and what is written is
// taken back in the end. It is concrete, and what is generic in it is inlinable: a field costs no
// call of a witness.

public import SluiceStreams

/// What a record's ``Record/fields(_:)`` is given: it does the same to each field it is shown.
///
/// It cannot be kept: it is lent for the call.
public struct FieldCoder: ~Copyable {
    @usableFromInline enum Mode: UInt8 {
        case decoding, encoding, sizing, describing
    }

    @usableFromInline let mode: Mode
    @usableFromInline var cursor: UnsafeMutableRawPointer
    @usableFromInline var end: UnsafeMutableRawPointer
    let base: UnsafeMutableRawPointer
    /// Bytes before `base`: given to the output already.
    var flushed = 0
    /// Where the record begins: positions are counted from here.
    private var origin = 0
    let output: UnsafeMutablePointer<PacketOutput>?

    /// The order of the bytes of integers and floats whose field does not say its own. It may be
    /// set between fields; a nested record's setting ends with it.
    public var endianness: Endianness
    let surroundings: (any Hashable & Sendable)?

    @usableFromInline var hasFailed = false
    private(set) var failure: PacketError?
    /// Whether it failed because the bytes ended.
    var isShort = false
    /// Whether a field was visited whose size depends on its value.
    @usableFromInline var varies = false
    var depth = 0
    /// How many more elements may take no byte at all.
    var emptyElements = PacketBounds.emptyElements
    /// What was printed.
    var printed = ""

    /// The most that is gathered before it is given to the output, in bytes.
    @usableFromInline static var scratchSize: Int { 256 }

    // MARK: Making one

    @usableFromInline
    init(
        decoding bytes: UnsafeRawBufferPointer, _ endianness: Endianness,
        in context: (any Hashable & Sendable)?
    ) {
        mode = .decoding
        base = bytes.baseAddress.map { UnsafeMutableRawPointer(mutating: $0) } ?? Self.nowhere
        cursor = base
        end = base + bytes.count
        output = nil
        self.endianness = endianness
        surroundings = context
    }

    /// - Parameter output: without one the bytes are counted; the first ones stay in the scratch.
    @usableFromInline
    init(
        encodingInto output: UnsafeMutablePointer<PacketOutput>?,
        scratch: UnsafeMutableRawBufferPointer, _ endianness: Endianness,
        in context: (any Hashable & Sendable)?
    ) {
        mode = .encoding
        base = scratch.baseAddress ?? Self.nowhere
        cursor = base
        end = base + scratch.count
        self.output = output
        self.endianness = endianness
        surroundings = context
    }

    init(describingIn context: (any Hashable & Sendable)?) {
        self.init(without: .describing, context)
    }

    init(sizingIn context: (any Hashable & Sendable)?) {
        self.init(without: .sizing, context)
    }

    private init(without mode: Mode, _ context: (any Hashable & Sendable)?) {
        self.mode = mode
        (base, cursor, end) = (Self.nowhere, Self.nowhere, Self.nowhere)
        output = nil
        endianness = .big
        surroundings = context
    }

    /// Where there are no bytes. Only the address 0 would be none.
    private static var nowhere: UnsafeMutableRawPointer { UnsafeMutableRawPointer(bitPattern: 1)! }

    // MARK: What a record may ask

    /// What the two sides have agreed on, as the codec was given it: a protocol version, a state.
    ///
    /// - Parameter assumed: what is taken when the codec has none. A codec that has one of another
    ///   type fails.
    public mutating func context<C: Hashable & Sendable>(or assumed: @autoclosure () -> C) -> C {
        guard let surroundings else { return assumed() }
        guard let context = surroundings as? C else {
            fail("context", "a \(type(of: surroundings)) where the fields ask for a \(C.self)")
            return assumed()
        }
        return context
    }

    /// Refuses the record unless something holds, in both directions.
    ///
    /// - Parameter rule: what should hold, for the error.
    public mutating func check(_ holds: Bool, _ rule: StaticString) {
        if !holds, mode != .describing { fail("rule", "\(rule)") }
    }

    /// Whether fields are being read, and there are bytes left to read.
    public var hasMore: Bool { mode == .decoding && cursor < end }

    /// Bytes of the record before the next field.
    public var position: Int { flushed + (cursor - base) - origin }

    /// Bytes to read.
    @usableFromInline var remaining: Int { end - cursor }

    // MARK: Failing

    /// Fails, if it has not before: nothing more is read, and what was written is taken back.
    @usableFromInline @inline(never)
    mutating func fail(_ label: StaticString, _ reason: String) {
        guard !hasFailed else { return }
        hasFailed = true
        let words = "\(label): \(reason)"
        switch mode {
        case .decoding:
            failure = .malformed(words)
            cursor = end
        case .encoding, .sizing: failure = .unencodable(words)
        case .describing: printed += "…"
        }
    }

    /// A header says another size than there is.
    @usableFromInline @inline(never)
    mutating func failSize(_ size: Int) {
        fail("size", "\(size), but \(remaining) bytes follow")
    }

    /// A header with a size is written twice, so it has to fit in what is gathered.
    @usableFromInline @inline(never)
    mutating func failLongHeader() {
        fail("header", "more than \(Self.scratchSize) bytes")
    }

    /// There are fewer bytes than a field takes.
    @usableFromInline @inline(never)
    mutating func failShort(_ label: StaticString, _ wanted: Int) {
        guard !hasFailed else { return }
        isShort = true
        fail(label, "\(wanted) bytes are needed, \(remaining) are left")
    }

    /// The field of a nested record, or a record itself, in which it failed stands before the rest.
    mutating func blame(_ name: String) {
        failure =
            switch failure {
            case .malformed(let reason): .malformed("\(name).\(reason)")
            case .unencodable(let reason): .unencodable("\(name).\(reason)")
            default: failure
            }
    }

    // MARK: Beginning and ending

    /// What follows is a record of its own: its positions begin here.
    @usableFromInline
    mutating func beginRecord(_ endianness: Endianness) {
        origin += position
        self.endianness = endianness
    }

    /// Throws what it failed with, or what is left over.
    @usableFromInline
    mutating func endDecoding(_ type: Any.Type, _ trailing: TrailingBytes) throws(PacketError) {
        if !hasFailed, trailing == .refused, remaining > 0 {
            fail("end", "\(remaining) bytes are left behind the last field")
        }
        if hasFailed { throw takeFailure(type) }
    }

    @usableFromInline
    mutating func endEncoding(_ type: Any.Type) throws(PacketError) {
        if hasFailed { throw takeFailure(type) }
        flush()
    }

    @inline(never)
    private mutating func takeFailure(_ type: Any.Type) -> PacketError {
        blame("\(type)")
        return failure ?? .malformed("\(type)")
    }

    /// Appends a record to an output.
    @inlinable
    static func encode<R: Record>(
        _ record: R, into output: inout PacketOutput, _ endianness: Endianness,
        in context: (any Hashable & Sendable)?
    ) throws(PacketError) {
        try withUnsafeTemporaryAllocation(byteCount: scratchSize, alignment: 16) {
            scratch throws(PacketError) in
            try withUnsafeMutablePointer(to: &output) { output throws(PacketError) in
                var wire = FieldCoder(
                    encodingInto: output, scratch: scratch, endianness, in: context)
                var copy = record
                copy.fields(&wire)
                try wire.endEncoding(R.self)
            }
        }
    }
}
