// Threads of our own: made by pthread_create(3), named, with every signal blocked, so that signals
// go to the program's own threads. Floor 1.

internal import CEpoll
internal import Glibc

/// Starts a detached thread. False: the system would not make one.
func startDetachedThread(name: String, _ body: @escaping @Sendable () -> Void) -> Bool {
    let start = Unmanaged.passRetained(ThreadStart(name: name, body: body))
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    defer { pthread_attr_destroy(&attributes) }
    pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
    var thread = pthread_t()
    var blocked = sigset_t()
    var before = sigset_t()
    sigfillset(&blocked)
    pthread_sigmask(SIG_BLOCK, &blocked, &before)
    let result = pthread_create(
        &thread, &attributes,
        { argument in
            guard let argument else { return nil }
            let start = Unmanaged<ThreadStart>.fromOpaque(argument).takeRetainedValue()
            ce_name_thread(start.name)
            start.body()
            return nil
        }, start.toOpaque())
    pthread_sigmask(SIG_SETMASK, &before, nil)
    if result != 0 { start.release() }
    return result == 0
}

private final class ThreadStart: Sendable {
    let name: String
    let body: @Sendable () -> Void

    init(name: String, body: @escaping @Sendable () -> Void) {
        self.name = name
        self.body = body
    }
}

/// Ignores SIGPIPE, unless the program has a handler of its own. Every send of ours says
/// MSG_NOSIGNAL as well; this covers whatever else the program writes to.
func ignoreSIGPIPE() {
    _ = sigPipeIgnored
}

private let sigPipeIgnored: Bool = {
    var present = sigaction()
    sigaction(SIGPIPE, nil, &present)
    // SIG_DFL is the null pointer; anything else is the program's choice.
    guard present.__sigaction_handler.sa_handler == nil else { return false }
    signal(SIGPIPE, SIG_IGN)
    return true
}()
