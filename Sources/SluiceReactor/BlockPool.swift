// BlockPool: the loop's buffer memory. Connections own none while idle: blocks come from here when
// bytes arrive and go back when empty, last in first out, so that the same warm ones serve all.
// Floor 1, the loop's thread. Invariant: every block handed out comes back with its capacity.

internal import Glibc

package struct BlockPool {
    /// Sizes kept for reuse. Larger blocks go straight to the allocator.
    package static let sizes = (small: 1_024, medium: 4_096, large: 16_384, huge: 65_536)

    private struct FreeList {
        var blocks: UnsafeMutablePointer<UnsafeMutableRawPointer>
        var count = 0
        let capacity: Int

        init(blockSize: Int) {
            capacity = ReactorBounds.freeBytesPerBlockSize / blockSize
            blocks = .allocate(capacity: capacity)
        }
    }

    private var small = FreeList(blockSize: sizes.small)
    private var medium = FreeList(blockSize: sizes.medium)
    private var large = FreeList(blockSize: sizes.large)
    private var huge = FreeList(blockSize: sizes.huge)
    /// Blocks handed out and not given back.
    package private(set) var blocksInUse = 0
    /// Bytes of them.
    package private(set) var bytesInUse = 0

    package init() {}

    /// The capacity that `take(atLeast:)` gives for a wish.
    package static func capacity(atLeast bytes: Int) -> Int {
        if bytes <= sizes.small { return sizes.small }
        if bytes <= sizes.medium { return sizes.medium }
        if bytes <= sizes.large { return sizes.large }
        if bytes <= sizes.huge { return sizes.huge }
        return bytes
    }

    /// A block of `capacity(atLeast:)` bytes, uninitialised, aligned to 16.
    package mutating func take(atLeast bytes: Int) -> UnsafeMutableRawPointer {
        let capacity = Self.capacity(atLeast: bytes)
        blocksInUse += 1
        bytesInUse += capacity
        let block =
            switch capacity {
            case Self.sizes.small: Self.pop(&small)
            case Self.sizes.medium: Self.pop(&medium)
            case Self.sizes.large: Self.pop(&large)
            case Self.sizes.huge: Self.pop(&huge)
            default: nil as UnsafeMutableRawPointer?
            }
        return block ?? .allocate(byteCount: capacity, alignment: 16)
    }

    /// Takes a block back. `capacity` is what it was handed out with.
    package mutating func give(_ block: UnsafeMutableRawPointer, capacity: Int) {
        blocksInUse -= 1
        bytesInUse -= capacity
        switch capacity {
        case Self.sizes.small: Self.push(&small, block)
        case Self.sizes.medium: Self.push(&medium, block)
        case Self.sizes.large: Self.push(&large, block)
        case Self.sizes.huge: Self.push(&huge, block)
        default: block.deallocate()
        }
    }

    /// Frees all free blocks; those handed out stay the holders'.
    package mutating func deallocate() {
        for list in [small, medium, large, huge] {
            for index in 0..<list.count { list.blocks[index].deallocate() }
            list.blocks.deallocate()
        }
    }

    private static func pop(_ list: inout FreeList) -> UnsafeMutableRawPointer? {
        guard list.count > 0 else { return nil }
        list.count -= 1
        return list.blocks[list.count]
    }

    private static func push(_ list: inout FreeList, _ block: UnsafeMutableRawPointer) {
        guard list.count < list.capacity else { return block.deallocate() }
        list.blocks[list.count] = block
        list.count += 1
    }
}
