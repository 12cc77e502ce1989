// Locked: a value that several threads share, behind a pthread mutex. Floor 1; any thread.
//
// Not the standard library's Mutex: that one parks on a futex the thread sanitizer cannot see,
// which then reports every access as a race and hides the real ones.

internal import Glibc

// @unchecked Sendable: the value is touched with the mutex held alone.
package final class Locked<Value>: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private var value: Value

    package init(_ value: sending Value) {
        self.value = value
        mutex.initialize(to: pthread_mutex_t())
        pthread_mutex_init(mutex, nil)
    }

    deinit {
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
    }

    /// Runs `body` with the value, alone. It must not suspend, resume a task, or come back here.
    package func withLock<R>(_ body: (inout Value) throws -> R) rethrows -> R {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return try body(&value)
    }
}
