// Control messages put together and taken apart; nothing outside their bytes is touched, which the
// run under the address sanitizer sees. ENDPOINTS 30.

import CEpoll
import Glibc
import Testing

private struct Item: Equatable {
    var level: Int32 = SOL_SOCKET
    var type = Int32(CE_RIGHTS)
    var bytes: [UInt8]
}

@Suite struct AncillaryTests {
    @Test func `what was appended comes out again, each item for itself`() throws {
        let items = (0..<9).map { Item(type: Int32($0), bytes: Array(repeating: 7, count: $0 * 3)) }
        let control = Control(capacity: 512)
        for item in items { #expect(control.append(item)) }
        let walk = control.walk()
        #expect(walk.items == items && walk.end == 0)
    }

    @Test func `an item that does not fit changes nothing`() throws {
        let control = Control(capacity: 47)
        #expect(control.append(Item(bytes: [1, 2, 3, 4])))
        #expect(control.length == 24)
        // Its data would fit and its padding would not.
        #expect(!control.append(Item(bytes: [1, 2, 3, 4])))
        #expect(!control.append(Item(bytes: Array(repeating: 0, count: 100))))
        #expect(control.length == 24)
        #expect(control.walk().items == [Item(bytes: [1, 2, 3, 4])])
    }

    /// ENDPOINTS 30, RELIABILITY 67: as the kernel cuts it when there is not room for all.
    @Test func `a cut buffer gives the items before the cut and an error or the end`() throws {
        let items = [Item(bytes: [1, 2, 3, 4]), Item(bytes: Array(5...16))]
        let control = Control(capacity: 128)
        for item in items { #expect(control.append(item)) }
        for length in 0...control.length {
            let walk = control.walk(length: length)
            // Of an item's last bytes, its padding, nothing is missed.
            let whole = length >= 24 + 28 ? 2 : length >= 20 ? 1 : 0
            #expect(walk.items == Array(items.prefix(whole)), "\(length) bytes")
            let begun = length - (whole == 0 ? 0 : whole == 1 ? 24 : control.length)
            #expect(walk.end == (begun >= 16 && whole < 2 ? -EBADMSG : 0), "\(length) bytes")
        }
    }

    @Test(arguments: [0, 1, 15, 1 << 20, Int.max, -1, -8, -15])
    func `a length that cannot be is an error, again and again`(_ length: Int) throws {
        let control = Control(capacity: 64)
        #expect(control.append(Item(bytes: [1, 2, 3, 4])))
        #expect(control.append(Item(bytes: [5, 6, 7, 8])))
        withUnsafeBytes(of: length) { control.bytes.replaceSubrange(24..<32, with: $0) }
        #expect(control.walk().items == [Item(bytes: [1, 2, 3, 4])])
        #expect(control.walk().end == -EBADMSG)
        var item = ce_ancillary_item()
        var offset = 24
        for _ in 0..<3 {
            #expect(ce_ancillary_next(control.bytes, control.length, &offset, &item) == -EBADMSG)
            #expect(offset == 24)
        }
    }

    @Test func `random bytes never lead outside the buffer`() {
        for seed in 0..<20_000 as Range<UInt64> {
            var random = SplitMix(state: seed)
            let length = Int(random.next() % 96)
            let control = Control(capacity: length)
            control.length = length
            for index in 0..<length { control.bytes[index] = UInt8(random.next() & 0xFF) }
            // Most lengths are small, so that some of them are possible.
            for index in stride(from: 0, to: length, by: 8) where random.next() & 1 == 0 {
                let value = random.next() % 64
                for byte in 0..<min(8, length - index) {
                    control.bytes[index + byte] = UInt8(value >> (8 * UInt64(byte)) & 0xFF)
                }
            }
            let walk = control.walk()
            let taken = walk.items.reduce(0) { $0 + 16 + $1.bytes.count }
            #expect(taken <= length, "seed \(seed)")
        }
    }

    /// ENDPOINTS 24. RELIABILITY 67: room for one descriptor receives two, because of the padding.
    @Test func `descriptors cross a socket, close-on-exec, also into the padding`() throws {
        try withShim { shim in
            let (client, server) = try shim.makePair(on: uniqueUnix(abstract: true))
            let rights = Control(capacity: 64)
            #expect(rights.append(.descriptors([0, 1, 2])))
            try #expect(shim.send([9], with: rights, to: client) == 1)
            let got = try shim.receiveMessage(from: server, room: ce_ancillary_space(12))
            #expect(got.bytes == [9] && got.flags & Int32(MSG_CTRUNC) == 0)
            #expect(got.descriptors.count == 3)
            for fd in got.descriptors { #expect(fcntl(fd, F_GETFD) & FD_CLOEXEC != 0) }
            for fd in got.descriptors { #expect(ce_discard(fd) == 0) }

            try #expect(shim.send([9], with: rights, to: client) == 1)
            let cut = try shim.receiveMessage(from: server, room: ce_ancillary_space(4))
            #expect(cut.descriptors.count == 2)
            #expect(cut.flags & Int32(MSG_CTRUNC) != 0)
            for fd in cut.descriptors { #expect(ce_discard(fd) == 0) }
            shim.close(client, server)
        }
    }

    @Test func `a 254th descriptor is refused by the kernel, 253 pass`() throws {
        try withShim { shim in
            let (client, server) = try shim.makePair(on: uniqueUnix(abstract: true))
            let most = Int(CE_DESCRIPTORS_MAX)
            for count in [most, most + 1] {
                let rights = Control(capacity: 2_048)
                #expect(rights.append(.descriptors(Array(repeating: 0, count: count))))
                let sent = try? shim.send([9], with: rights, to: client)
                #expect(sent == (count == most ? 1 : nil))
            }
            let got = try shim.receiveMessage(from: server, room: 2_048)
            #expect(got.descriptors.count == most)
            for fd in got.descriptors { #expect(ce_discard(fd) == 0) }
            shim.close(client, server)
        }
    }
}

private struct SplitMix {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
        return z ^ z >> 31
    }
}

/// A control buffer, of exactly as many bytes as it may hold.
private final class Control {
    var bytes: [UInt8]
    var length = 0

    init(capacity: Int) {
        bytes = Array(repeating: 0xAA, count: capacity)
    }

    func append(_ item: Item) -> Bool {
        let result = ce_ancillary_append(
            &bytes, bytes.count, &length, item.level, item.type, item.bytes, item.bytes.count)
        #expect(result == 0 || result == -ENOBUFS)
        return result == 0
    }

    /// All items, and what the walk ended with. The bytes lie in a block of exactly their size.
    func walk(length: Int? = nil) -> (items: [Item], end: Int32) {
        let length = length ?? self.length
        let exact = UnsafeMutableRawPointer.allocate(byteCount: max(1, length), alignment: 16)
        defer { exact.deallocate() }
        bytes.withUnsafeBytes {
            if length > 0 { exact.copyMemory(from: $0.baseAddress!, byteCount: length) }
        }
        var items: [Item] = []
        var offset = 0
        var item = ce_ancillary_item()
        while true {
            let result = ce_ancillary_next(exact, length, &offset, &item)
            if result != 1 { return (items, result) }
            let data = UnsafeRawBufferPointer(start: item.data, count: item.length)
            items.append(Item(level: item.level, type: item.type, bytes: Array(data)))
        }
    }
}

extension Item {
    fileprivate static func descriptors(_ descriptors: [Int32]) -> Item {
        Item(bytes: descriptors.withUnsafeBytes(Array.init))
    }
}

extension Shim {
    fileprivate func send(_ bytes: [UInt8], with control: Control, to fd: Int32) throws -> Int {
        var bytes = bytes
        return try bytes.withUnsafeMutableBytes { bytes in
            try control.bytes.withUnsafeMutableBytes { items in
                var piece = iovec(iov_base: bytes.baseAddress, iov_len: bytes.count)
                return try withUnsafeMutablePointer(to: &piece) { piece in
                    var message = msghdr()
                    (message.msg_iov, message.msg_iovlen) = (piece, 1)
                    message.msg_control = items.baseAddress
                    message.msg_controllen = control.length
                    return try check(ce_send_message(reactor, fd, &message, 0))
                }
            }
        }
    }

    fileprivate func receiveMessage(
        from fd: Int32, room: Int
    ) throws -> (bytes: [UInt8], descriptors: [Int32], flags: Int32) {
        var bytes = [UInt8](repeating: 0, count: 64)
        let control = Control(capacity: room)
        var flags: Int32 = 0
        let received = try bytes.withUnsafeMutableBytes { bytes in
            try control.bytes.withUnsafeMutableBytes { items in
                var piece = iovec(iov_base: bytes.baseAddress, iov_len: bytes.count)
                return try withUnsafeMutablePointer(to: &piece) { piece in
                    var message = msghdr()
                    (message.msg_iov, message.msg_iovlen) = (piece, 1)
                    (message.msg_control, message.msg_controllen) = (items.baseAddress, room)
                    let received = try retrying {
                        ce_receive_message(reactor, fd, &message, 0)
                    }
                    control.length = message.msg_controllen
                    flags = message.msg_flags
                    return received
                }
            }
        }
        let walk = control.walk()
        #expect(walk.end == 0)
        let descriptors = walk.items.flatMap { item in
            item.bytes.withUnsafeBytes { Array($0.bindMemory(to: Int32.self)) }
        }
        return (Array(bytes.prefix(Int(received))), descriptors, flags)
    }
}
