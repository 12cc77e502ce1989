// OwnedDescriptor: a file descriptor with exactly one owner. Floor 1; any thread.

internal import CEpoll

/// A file descriptor that is closed when nobody holds it any more.
///
/// It cannot be copied, so it cannot be closed twice, and forgetting it does not leak it. What it
/// is, a socket, a pipe or a file, is the owner's to know.
public struct OwnedDescriptor: ~Copyable, Sendable {
    /// Its number, to be lent to calls while this value lives. Who closes it by its number breaks
    /// the ownership; ``take()`` gives it away.
    public let number: Int32

    /// Takes over an open descriptor, which nobody else closes from now on.
    ///
    /// - Parameter number: 0 or more.
    public init(taking number: Int32) {
        precondition(number >= 0, "a descriptor is 0 or more")
        self.number = number
    }

    /// Gives the descriptor away: from now on the caller closes it.
    public consuming func take() -> Int32 {
        let number = number
        discard self
        return number
    }

    deinit {
        // close(2): what it reports is too late to be of use, the number is free all the same.
        ce_discard(number)
    }
}
