// The requests of the block store, for both sides. The store works off the loop, so a slow disk
// holds up no other client.

import Sluice

/// All of them, as a service of this folder.
public func blockService(
    _ folder: BlockFolder
) throws(PacketError) -> RequestService<BlockFolder> {
    try RequestService(
        folder, [AddBlock.self, GetBlock.self, ContainsBlock.self, CountBlocks.self])
}

/// Stores a block; its hash is the answer.
public struct AddBlock: TypedRequest, Record {
    public typealias Reply = BlockHash
    public static let requestType: UInt64 = 0
    private var kind = BlockHash.kind
    private var block: [UInt8] = []

    public init() {}
    public init(_ block: [UInt8]) { self.block = block }

    public mutating func fields(_ wire: inout FieldCoder) {
        wire.varint("kind", &kind, .base128)
        wire.check(kind == BlockHash.kind, "the hash is a SHA-256")
        wire.bytes("block", &block, .prefixed(.varint(.base128)))
    }

    public func fulfil(_ folder: BlockFolder) async throws -> Answer {
        try .record(await offload { try folder.add(block) })
    }
}

/// Asks for a block: the flags 1 and its bytes are the answer, or nothing if it is not there.
public struct GetBlock: TypedRequest, Record {
    public static let requestType: UInt64 = 1
    private var hash = BlockHash()

    public init() {}
    public init(_ hash: BlockHash) { self.hash = hash }

    public mutating func fields(_ wire: inout FieldCoder) { hash.fields(&wire) }

    public func fulfil(_ folder: BlockFolder) async throws -> Answer {
        guard let block = try await offload({ try folder.get(hash) }) else { return .nothing }
        return Answer(flags: 1, payload: block)
    }

    public static func decodeResponse(_ response: Response) -> [UInt8]? {
        response.flags == 1 ? response.payload : nil
    }
}

/// Asks whether there is a block: the flags 1 say that there is.
public struct ContainsBlock: TypedRequest, Record {
    public static let requestType: UInt64 = 2
    private var hash = BlockHash()

    public init() {}
    public init(_ hash: BlockHash) { self.hash = hash }

    public mutating func fields(_ wire: inout FieldCoder) { hash.fields(&wire) }

    public func fulfil(_ folder: BlockFolder) async throws -> Answer {
        .flags(try await offload { folder.contains(hash) } ? 1 : 0)
    }

    public static func decodeResponse(_ response: Response) -> Bool { response.flags == 1 }
}

/// Asks how many blocks there are.
public struct CountBlocks: TypedRequest, Record {
    public typealias Reply = BlockCount
    public static let requestType: UInt64 = 3

    public init() {}
    public mutating func fields(_ wire: inout FieldCoder) {}

    public func fulfil(_ folder: BlockFolder) async throws -> Answer {
        try .record(BlockCount(await offload { try folder.count() }))
    }
}

/// A number of blocks.
public struct BlockCount: Record {
    public private(set) var count = 0

    public init() {}
    init(_ count: Int) { self.count = count }

    public mutating func fields(_ wire: inout FieldCoder) { wire.varint("count", &count, .base128) }
}
