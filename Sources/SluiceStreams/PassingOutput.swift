// PassingOutput: ancillary data among the queued output, each piece tied to the byte that it leaves
// with. Floor 2, the loop's thread; a transport has one only while such data is on its way.

internal import CEpoll
internal import Glibc
internal import SluiceReactor

final class PassingOutput {
    private struct Message {
        /// Bytes of the stream before the one it leaves with.
        let mark: UInt64
        let ancillary: Ancillary
        let control: [UInt8]
        /// Whether the descriptors are duplicates, to be closed here.
        var isKept: Bool
    }

    /// In their order, those from `head` on: the ones before have left.
    private var messages: [Message] = []
    private var head = 0
    /// What the kernel had against the newest message, whose sender is told.
    private(set) var refusal: Int32?
    /// Armed while the kernel has too many descriptors on their way to take more.
    var retryTimer: TimerToken = 0

    /// Descriptors kept open here.
    private(set) var descriptorsKept = 0

    var isEmpty: Bool { head == messages.count }

    deinit {
        for message in messages[head...] { release(message) }
    }

    private var first: Message? { isEmpty ? nil : messages[head] }

    /// Ties ancillary data to the byte behind `mark`. The descriptors stay the caller's until
    /// `keep`.
    func append(_ ancillary: Ancillary, mark: UInt64) {
        refusal = nil
        messages.append(
            Message(mark: mark, ancillary: ancillary, control: ancillary.control, isKept: false))
    }

    /// The newest message has to wait: keeps duplicates of its descriptors, which outlive the
    /// caller's. Throws what fcntl(2) says, and nothing is kept then.
    func keep(_ reactor: OpaquePointer) throws(SystemError) {
        guard let message = messages.last else { return }
        let copies = try duplicates(reactor, of: message.ancillary.descriptors)
        let kept = Ancillary(descriptors: copies, credentials: message.ancillary.credentials)
        descriptorsKept += copies.count
        messages[messages.count - 1] = Message(
            mark: message.mark, ancillary: kept, control: kept.control, isKept: true)
    }

    /// Drops the newest message, which has not left.
    func removeLast() {
        if let message = messages.popLast() { release(message) }
    }

    /// How many bytes may leave in one call at most, `sent` having left: no message's first byte
    /// leaves but at the beginning of a call.
    func limit(_ share: Int, sent: UInt64) -> Int {
        let next = first?.mark == sent ? head + 1 : head
        guard next < messages.count else { return share }
        return min(share, Int(clamping: messages[next].mark - sent))
    }

    /// The control messages to send with the next byte, if any.
    func control(sent: UInt64) -> [UInt8]? {
        guard let first, first.mark == sent else { return nil }
        return first.control
    }

    /// Bytes have left, up to `sent`: and with them what was tied to them.
    func left(sent: UInt64) {
        while let first, first.mark < sent {
            release(first)
            head += 1
        }
        // Not one by one: there may be as many as bytes.
        guard head * 2 >= messages.count else { return }
        messages.removeFirst(head)
        head = 0
    }

    /// The kernel refuses a call. True if that is about the newest message, whose sender still
    /// waits to be told: nothing of it has left, and the stream is whole.
    func refuses(_ errno: Int, sent: UInt64) -> Bool {
        guard messages.count == head + 1, let last = messages.last, last.mark == sent, !last.isKept,
            Self.refusals.contains(Int32(truncatingIfNeeded: errno))
        else { return false }
        refusal = Int32(truncatingIfNeeded: errno)
        return true
    }

    /// What sendmsg(2) says to ancillary data as such: no descriptor, too many, more on their way
    /// than the process may have open, credentials that are not true.
    static let refusals: Set<Int32> = [EBADF, EINVAL, ETOOMANYREFS, EPERM, ESRCH]

    private func release(_ message: Message) {
        guard message.isKept else { return }
        descriptorsKept -= message.ancillary.descriptors.count
        for descriptor in message.ancillary.descriptors { ce_discard(descriptor) }
    }
}
