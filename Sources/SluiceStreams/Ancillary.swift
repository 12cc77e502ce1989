// Ancillary data: descriptors and credentials that travel beside the bytes of a Unix socket,
// unix(7). Floor 2; plain values, any thread.

internal import CEpoll
internal import Glibc
public import SluiceReactor

/// What is sent beside bytes: descriptors and credentials.
///
/// The receiver gets descriptors of its own for the same open files; the sender's stay the
/// sender's, and may be closed as soon as the sending call has returned.
public struct Ancillary: Hashable, Sendable {
    /// Open descriptors, at most ``descriptorsMax``; SCM_RIGHTS.
    public var descriptors: [Int32]
    /// Who says so; SCM_CREDENTIALS. The kernel refuses what is not true (EPERM), but for
    /// privileged processes. `process` 0 stands for this process, with its user and group.
    public var credentials: PeerCredentials?

    /// Descriptors of one message at most: SCM_MAX_FD of unix(7).
    public static let descriptorsMax = Int(CE_DESCRIPTORS_MAX)

    /// What is to be sent; by default nothing.
    public init(descriptors: [Int32] = [], credentials: PeerCredentials? = nil) {
        self.descriptors = descriptors
        self.credentials = credentials
    }

    /// Nothing of either sort.
    public var isEmpty: Bool { descriptors.isEmpty && credentials == nil }

    /// The control messages of sendmsg(2).
    var control: [UInt8] {
        let space =
            (descriptors.isEmpty ? 0 : ce_ancillary_space(4 * descriptors.count))
            + (credentials == nil ? 0 : ce_ancillary_space(MemoryLayout<ce_credentials>.size))
        return [UInt8](unsafeUninitializedCapacity: space) { buffer, used in
            func append(_ type: Int, _ data: UnsafeRawBufferPointer) {
                let result = ce_ancillary_append(
                    buffer.baseAddress, space, &used, SOL_SOCKET, Int32(type), data.baseAddress,
                    data.count)
                precondition(result == 0, "the space was counted")
            }
            used = 0
            if let credentials = credentials?.shim {
                withUnsafeBytes(of: credentials) { append(Int(CE_CREDENTIALS), $0) }
            }
            if !descriptors.isEmpty {
                descriptors.withUnsafeBytes { append(Int(CE_RIGHTS), $0) }
            }
        }
    }
}

/// What came beside bytes. Descriptors that nobody takes are closed with this value.
///
/// They are close-on-exec from birth, and may be anything the peer can open: check them.
public struct ReceivedAncillary: ~Copyable, Sendable {
    private let arrived: ArrivedAncillary

    package init(_ arrived: ArrivedAncillary) {
        self.arrived = arrived
    }

    /// Descriptors not taken yet.
    public var count: Int { arrived.descriptors.count }
    /// Nothing came, or all was taken.
    public var isEmpty: Bool { arrived.descriptors.isEmpty && arrived.credentials == nil }
    /// Who sent the first of the bytes, if ``StreamWriter/setReceivesCredentials(_:)`` or
    /// ``DatagramOptions/receivesCredentials`` asked for that; checked by the kernel, and unlike
    /// ``StreamWriter/peerCredentials()`` those of the process that sent, not of the one that
    /// connected.
    public var credentials: PeerCredentials? { arrived.credentials }

    /// Takes the first descriptor that is left; `nil` if none is.
    public mutating func takeDescriptor() -> OwnedDescriptor? {
        guard !arrived.descriptors.isEmpty else { return nil }
        return OwnedDescriptor(taking: arrived.descriptors.removeFirst())
    }

    /// Takes the numbers of all descriptors that are left, which the caller closes.
    public mutating func takeAll() -> [Int32] {
        defer { arrived.descriptors = [] }
        return arrived.descriptors
    }
}

/// Descriptors and credentials on their way from the kernel to whoever they are for.
// @unchecked Sendable: one holder at a time, which passes it on whole; in the end a noncopyable
// value holds it, whose mutating calls are exclusive.
@usableFromInline
package final class ArrivedAncillary: @unchecked Sendable {
    /// Open and owned.
    package fileprivate(set) var descriptors: [Int32] = []
    package fileprivate(set) var credentials: PeerCredentials?
    /// Some did not arrive, or more came than there may be; those that had come are closed.
    package private(set) var isCut = false

    package init() {}

    deinit { closeAll() }

    /// Bytes of room for so many descriptors, and credentials.
    static func room(capacity: Int) -> Int {
        ce_ancillary_space(4 * capacity) + ce_ancillary_space(MemoryLayout<ce_credentials>.size)
    }

    package var isEmpty: Bool { descriptors.isEmpty && credentials == nil && !isCut }

    /// Takes over what one recvmsg(2) has stored.
    ///
    /// - Parameters:
    ///   - control: the bytes the kernel filled.
    ///   - isCut: MSG_CTRUNC: not all had room.
    ///   - capacity: descriptors that there may be in all. The kernel fills the padding too, so
    ///     more than there was room for may have come.
    func takeIn(_ control: UnsafeRawBufferPointer, isCut: Bool, capacity: Int) {
        var offset = 0
        var item = ce_ancillary_item()
        var result = ce_ancillary_next(control.baseAddress, control.count, &offset, &item)
        while result == 1 {
            take(item)
            result = ce_ancillary_next(control.baseAddress, control.count, &offset, &item)
        }
        if isCut || result < 0 || descriptors.count > capacity { self.isCut = true }
        if self.isCut { closeAll() }
    }

    private func take(_ item: ce_ancillary_item) {
        guard item.level == SOL_SOCKET else { return }
        let data = UnsafeRawBufferPointer(start: item.data, count: item.length)
        switch Int(item.type) {
        case Int(CE_RIGHTS):
            // A part of a number at the end stands for none.
            for place in stride(from: 0, to: data.count - data.count % 4, by: 4) {
                descriptors.append(data.loadUnaligned(fromByteOffset: place, as: Int32.self))
            }
        case Int(CE_CREDENTIALS) where data.count >= MemoryLayout<ce_credentials>.size:
            let sent = data.loadUnaligned(as: ce_credentials.self)
            if credentials == nil {
                credentials = PeerCredentials(sent)
            }
        case Int(CE_PROCESS) where data.count >= 4:
            // SO_PASSPIDFD, which somebody has asked for, opens a descriptor too.
            ce_discard(data.loadUnaligned(as: Int32.self))
        default: break
        }
    }

    private func closeAll() {
        for descriptor in descriptors { ce_discard(descriptor) }
        descriptors = []
    }
}
