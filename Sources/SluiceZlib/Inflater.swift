// zlib's inflate and deflate with bounded output. Beside the floors; pure, but for zlib's own
// memory.

internal import CZlib
internal import Sluice

/// A compressed stream being read: its output so far, never more than the limit.
///
/// It owns zlib's state, which knows its own address and so cannot be copied as bytes.
// @unchecked Sendable: the decoder that holds it makes a copy before it changes one that another
// holds too.
final class Inflater: @unchecked Sendable {
    enum Step {
        /// All input was taken and the stream goes on.
        case more
        /// The stream ended behind so many bytes of the input.
        case end(used: Int)
        case failed(PacketError)
    }

    private let stream: UnsafeMutablePointer<z_stream>
    private let limit: Int
    private(set) var output: [UInt8] = []
    private(set) var bytesTaken = 0

    /// - Returns: `nil` without memory for zlib's state, about 7 KiB and a window of 32 KiB.
    init?(limit: Int) {
        self.limit = limit
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        let result = inflateInit_(stream, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
        if result != Z_OK { return nil }
    }

    /// A copy that reads on by itself.
    init?(copying other: Inflater) {
        (limit, output, bytesTaken) = (other.limit, other.output, other.bytesTaken)
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        if inflateCopy(stream, other.stream) != Z_OK { return nil }
    }

    deinit {
        // Without a state, as after a failed init, this only says so.
        inflateEnd(stream)
        stream.deallocate()
    }

    /// Takes more of the stream.
    func take(_ bytes: RawSpan) -> Step {
        bytes.withUnsafeBytes { bytes in
            var taken = 0
            while true {
                let (step, used) = inflateOnce(bytes[taken...])
                taken += used
                switch step {
                case .some(.end): return .end(used: taken)
                case .some(let step): return step
                case .none: continue
                }
            }
        }
    }

    /// One call of inflate(3) with room for one byte over the limit at most, which tells that there
    /// would be more; `nil` if there is something left to do.
    private func inflateOnce(_ bytes: Slice<UnsafeRawBufferPointer>) -> (Step?, used: Int) {
        let input = UnsafeMutableRawBufferPointer(
            mutating: UnsafeRawBufferPointer(rebasing: bytes))
        let chunk = min(input.count, 1 << 30)
        stream.pointee.next_in = input.baseAddress?.assumingMemoryBound(to: UInt8.self)
        stream.pointee.avail_in = UInt32(chunk)
        let size = roomSize(for: chunk)
        let (result, isFull) = withUnsafeTemporaryAllocation(of: UInt8.self, capacity: size) {
            room in
            stream.pointee.next_out = room.baseAddress
            stream.pointee.avail_out = UInt32(room.count)
            let result = inflate(stream, Z_NO_FLUSH)
            let made = room.count - Int(stream.pointee.avail_out)
            output.append(contentsOf: UnsafeBufferPointer(rebasing: room.prefix(made)))
            return (result, made == room.count)
        }
        let used = chunk - Int(stream.pointee.avail_in)
        bytesTaken &+= used
        if output.count > limit { return (.failed(.limitExceeded(limit: limit)), used) }
        switch result {
        case Z_STREAM_END: return (.end(used: used), used)
        case Z_OK where isFull || used < input.count: return (nil, used)
        // Z_BUF_ERROR: no input and nothing left to write, which is no error.
        case Z_OK, Z_BUF_ERROR: return (.more, used)
        case Z_MEM_ERROR: return (.failed(.malformed("zlib: no memory")), used)
        default: return (.failed(.malformed("not a zlib stream")), used)
        }
    }

    /// 1 byte to 64 KiB, less when the limit is near. A little input gets what fits on the stack;
    /// should that be filled, there is a next call.
    private func roomSize(for bytes: Int) -> Int {
        let size = bytes < ZlibBounds.little ? 4 * ZlibBounds.little : ZlibBounds.chunk
        let left = limit - output.count
        return left < size ? left + 1 : size
    }
}

/// Compresses some bytes to a whole zlib stream.
func deflated(_ bytes: [UInt8], level: Int) throws(PacketError) -> [UInt8] {
    var stream = z_stream()
    let size = Int32(MemoryLayout<z_stream>.size)
    guard deflateInit_(&stream, Int32(level), ZLIB_VERSION, size) == Z_OK else {
        throw .unencodable("zlib: no memory")
    }
    defer { deflateEnd(&stream) }
    var bytes = bytes
    var output: [UInt8] = []
    let bound = deflateBound(&stream, UInt(bytes.count))
    var room = [UInt8](repeating: 0, count: Int(min(bound, UInt(ZlibBounds.chunk))))
    let ended = bytes.withUnsafeMutableBufferPointer { bytes in
        var rest = UnsafeMutableBufferPointer(rebasing: bytes[...])
        while true {
            let chunk = min(rest.count, 1 << 30)
            stream.next_in = rest.baseAddress
            stream.avail_in = UInt32(chunk)
            let isLast = chunk == rest.count
            let result = room.withUnsafeMutableBufferPointer { room in
                stream.next_out = room.baseAddress
                stream.avail_out = UInt32(room.count)
                return deflate(&stream, isLast ? Z_FINISH : Z_NO_FLUSH)
            }
            output.append(contentsOf: room.prefix(room.count - Int(stream.avail_out)))
            rest = .init(rebasing: rest[(chunk - Int(stream.avail_in))...])
            if result == Z_STREAM_END { return true }
            if result != Z_OK { return false }
        }
    }
    if !ended { throw .unencodable("zlib could not compress it") }
    return output
}

/// The bounds and defaults of compression.
public enum ZlibBounds {
    /// Bytes of output made in one call of zlib.
    static let chunk = 65_536
    /// Bytes of input below which the output made in one call is four times this.
    static let little = 256
    /// How hard zlib tries, 0 to 9, unless told.
    public static let level = 6
}
