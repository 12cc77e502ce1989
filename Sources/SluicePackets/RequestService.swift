// Requests as types: what each carries, how it is fulfilled, and what its answer is. Floor 3; any
// thread.

internal import SluiceStreams

/// A request that is a type of its own, on both sides.
///
///     struct AddBlock: TypedRequest, Record {
///         static let requestType: UInt64 = 0
///         var data: [UInt8] = []
///
///         mutating func fields(_ wire: inout FieldCoder) {
///             wire.bytes("data", &data, .prefixed(.base128))
///         }
///
///         func fulfil(_ store: BlockStore) async throws -> Answer {
///             .bytes(try await store.add(data))
///         }
///
///         static func decodeResponse(_ response: Response) throws -> Hash {
///             try Hash(response.payload)
///         }
///     }
///
/// One that is a ``Record`` is carried by its fields, big-endian unless they say otherwise, without
/// flags. Where `Reply` is a `Response` or a record, answers are decoded without more words.
public protocol TypedRequest<Context>: Sendable {
    /// What fulfils it: a store, a session.
    associatedtype Context: Sendable
    /// What its answer is decoded to; the answer itself by default.
    associatedtype Reply: Sendable = Response

    /// Its number on the wire: 0 to 2^64 - 2, each once in a service.
    static var requestType: UInt64 { get }

    /// The request that came. What this throws is answered like what ``fulfil(_:)`` throws.
    init(flags: UInt64, payload: [UInt8]) throws

    /// What is sent of it.
    func encode() throws -> (flags: UInt64, payload: [UInt8])

    /// Does what is asked for, on the connection's loop, as a ``RequestHandler`` does.
    func fulfil(_ context: Context) async throws -> Answer

    /// Reads an answer that was not a failure.
    static func decodeResponse(_ response: Response) throws -> Reply
}

extension TypedRequest where Reply == Response {
    /// The answer itself.
    public static func decodeResponse(_ response: Response) throws -> Response { response }
}

extension TypedRequest where Reply: Record {
    /// The record that the answer's payload is.
    public static func decodeResponse(_ response: Response) throws -> Reply {
        try Reply(decoding: response.payload, .big)
    }
}

extension TypedRequest where Self: Record {
    /// The record that the payload is. Flags are refused, for it has none.
    public init(flags: UInt64, payload: [UInt8]) throws {
        guard flags == 0 else {
            throw PacketError.malformed("\(Self.self): flags \(flags), where there are none")
        }
        self = try Self(decoding: payload, .big)
    }

    /// Its fields' bytes, without flags.
    public func encode() throws -> (flags: UInt64, payload: [UInt8]) { (0, try encoded(.big)) }
}

extension Answer {
    /// A record's bytes, big-endian unless its fields say otherwise.
    ///
    /// - Throws: ``PacketError/unencodable(_:)``.
    public static func record(_ record: some Record) throws(PacketError) -> Answer {
        Answer(payload: try record.encoded(.big))
    }
}

/// The requests that one side fulfils: types by their numbers.
///
///     let service = try RequestService(store, [AddBlock.self, GetBlock.self])
///     let server = try await startServer(port: 7777, requestHandler: service.handler)
///
/// A request of another number is answered with a failure, `unknown request type 7`. Both sides of
/// a connection may have one.
public struct RequestService<Context: Sendable>: Sendable {
    private typealias Fulfil = @Sendable (Request, Context) async throws -> Answer

    private var table: [UInt64: (type: String, fulfil: Fulfil)] = [:]
    private let context: @Sendable (RequestConnection) -> Context

    /// A service whose requests all work on the same.
    ///
    /// - Parameters:
    ///   - context: what they are fulfilled by.
    ///   - types: in any order.
    /// - Throws: ``PacketError/duplicateID(_:types:)``; ``PacketError/unencodable(_:)`` for a
    ///   number that the wire has no room for.
    public init(
        _ context: Context, _ types: [any TypedRequest<Context>.Type]
    ) throws(PacketError) {
        try self.init(types) { _ in context }
    }

    /// A service whose requests work on something of their connection's: to ask the peer back.
    ///
    /// - Parameter context: is asked for each request, on the loop; must be quick.
    public init(
        _ types: [any TypedRequest<Context>.Type],
        context: @escaping @Sendable (RequestConnection) -> Context
    ) throws(PacketError) {
        self.context = context
        for type in types { try add(type) }
    }

    private mutating func add<R: TypedRequest>(
        _ type: R.Type
    ) throws(PacketError) where R.Context == Context {
        let number = R.requestType
        guard number < .max else { throw .unencodable("\(R.self): a type over 2^64 - 2") }
        if let first = table[number] {
            throw .duplicateID(number, types: [first.type, "\(R.self)"])
        }
        table[number] = (
            "\(R.self)",
            { request, context in
                try await R(flags: request.flags, payload: request.payload).fulfil(context)
            }
        )
    }

    /// Answers requests by the types' ``TypedRequest/fulfil(_:)``.
    public var handler: RequestHandler {
        { request, connection in
            guard let entry = table[request.type] else {
                throw RequestFailure("unknown request type \(request.type)")
            }
            return try await entry.fulfil(request, context(connection))
        }
    }
}

extension RequestConnection {
    /// Sends a request and waits for what its answer is decoded to.
    ///
    /// - Parameters:
    ///   - request: encoded at once; what that throws is thrown, and nothing sent.
    ///   - channel: as of `submit`, and so are label and within.
    /// - Throws: ``PacketError/requestFailed(_:)`` if it was not fulfilled; what decoding throws;
    ///   as `submit`.
    public nonisolated(nonsending) func call<R: TypedRequest>(
        _ request: R, channel: UInt64 = 0, label: String? = nil, within: Duration? = nil
    ) async throws -> R.Reply {
        let (flags, payload) = try request.encode()
        let response = try await call(
            R.requestType, flags: flags, payload: payload, channel: channel, label: label,
            within: within)
        return try R.decodeResponse(response)
    }

    /// Sends a request, and waits only as `submit` does; the handle's answers are decoded.
    public nonisolated(nonsending) func submit<R: TypedRequest>(
        _ request: R, channel: UInt64 = 0, label: String? = nil, within: Duration? = nil
    ) async throws -> PendingRequest<R.Reply> {
        let (flags, payload) = try request.encode()
        return try await submit(
            R.requestType, flags: flags, payload: payload, channel: channel, label: label,
            within: within, decodeResponse: { try R.decodeResponse($0) })
    }
}
