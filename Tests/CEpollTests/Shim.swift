// What the tests of floor 0 share: a reactor on a counting call table, connected pairs, threads.
// Every test runs in `withShim`, which also checks that each descriptor opened was closed once.

import CEpoll
import CFaults
import Glibc
import Testing

struct Failure: Error, CustomStringConvertible {
    let errno: Int32
    let call: String
    var description: String { "\(call): \(String(cString: strerror(errno)))" }
}

/// Passes a count or a descriptor on, and throws what is negative.
func check<Result: SignedInteger>(_ result: Result, _ call: String = #function) throws -> Result {
    if result < 0 { throw Failure(errno: Int32(-result), call: call) }
    return result
}

let want = (
    in: CE_WANT_IN.rawValue, out: CE_WANT_OUT.rawValue, edge: CE_EDGE.rawValue,
    all: CE_WANT_IN.rawValue | CE_WANT_OUT.rawValue | CE_EDGE.rawValue
)

struct Event: Equatable {
    var token: UInt64
    var ready: UInt32
    func has(_ bit: ce_readiness) -> Bool { ready & bit.rawValue != 0 }
}

/// A reactor and its call table. The table is locked inside and the reactor's only call from other
/// threads is `ce_wake`: hence unchecked.
final class Shim: @unchecked Sendable {
    let reactor: OpaquePointer
    let faults: OpaquePointer

    init() throws {
        faults = cf_create()
        var table = cf_table(faults)
        var made: OpaquePointer?
        _ = try check(ce_reactor_create(&made, &table, nil))
        reactor = try #require(made)
    }

    deinit {
        cf_free(faults)
    }

    func counts(_ call: cf_call) -> cf_counts { cf_counts(faults, call) }

    func setQuirks(_ change: (inout cf_quirks) -> Void) {
        var quirks = cf_quirks()
        change(&quirks)
        cf_set_quirks(faults, &quirks)
    }

    /// One `ce_wait`.
    func wait(nanoseconds: Int64, capacity: Int = 16) throws -> [Event] {
        var events = [ce_event](repeating: ce_event(), count: capacity)
        let count = try check(ce_wait(reactor, &events, Int32(capacity), nanoseconds))
        return events.prefix(Int(count)).map { Event(token: $0.token, ready: $0.ready) }
    }

    /// Waits until a wake-up ends the wait, and throws if it took five seconds.
    func waitForWake() throws {
        let deadline = ce_now(reactor) + 5_000_000_000
        let events = try wait(nanoseconds: 5_000_000_000)
        if !events.isEmpty || ce_now(reactor) >= deadline {
            throw Failure(errno: ETIMEDOUT, call: "waitForWake")
        }
    }

    /// Waits until something is ready, five seconds at most.
    func waitForEvents() throws -> [Event] {
        let deadline = ce_now(reactor) + 5_000_000_000
        while ce_now(reactor) < deadline {
            let events = try wait(nanoseconds: 5_000_000_000)
            if !events.isEmpty { return events }
        }
        throw Failure(errno: ETIMEDOUT, call: "waitForEvents")
    }

    func add(_ fd: Int32, _ interest: UInt32, token: UInt64) throws {
        _ = try check(ce_add(reactor, fd, interest, token))
    }

    func close(_ fds: Int32...) {
        for fd in fds { #expect(ce_close(reactor, fd) == 0) }
    }

    // MARK: Sockets

    func listen(
        on address: ce_address = loopback(), backlog: Int32 = 16, flags: UInt32 = 0
    ) throws -> Int32 {
        var address = address
        var options = ce_listen_options()
        options.backlog = backlog
        options.socket.flags = flags
        return try check(ce_listen(reactor, &address, &options, nil))
    }

    func localAddress(of fd: Int32) throws -> ce_address {
        var address = ce_address()
        _ = try check(ce_local_address(reactor, fd, &address))
        return address
    }

    func connect(to address: ce_address) throws -> Int32 {
        var address = address
        var inProgress = false
        return try check(ce_connect(reactor, &address, nil, nil, &inProgress, nil))
    }

    func accept(from listener: Int32) throws -> Int32 {
        try retrying { ce_accept(reactor, listener, nil) }
    }

    /// Two connected stream sockets.
    func makePair(on address: ce_address = loopback()) throws -> (client: Int32, server: Int32) {
        let listener = try listen(on: address)
        defer { close(listener) }
        let client = try connect(to: localAddress(of: listener))
        return (client, try accept(from: listener))
    }

    func send(_ bytes: [UInt8], to fd: Int32) throws -> Int {
        try bytes.withUnsafeBytes { buffer in
            var piece = iovec(
                iov_base: UnsafeMutableRawPointer(mutating: buffer.baseAddress),
                iov_len: buffer.count)
            return try check(ce_send(reactor, fd, &piece, 1))
        }
    }

    /// One `ce_receive` of what is there or comes.
    func receive(from fd: Int32, upTo count: Int = 65_536) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        let received = try retrying { ce_receive(reactor, fd, &bytes, count) }
        return Array(bytes.prefix(Int(received)))
    }

    /// Receives exactly so many bytes, fewer only at the end of the stream.
    func receiveAll(_ count: Int, from fd: Int32) throws -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < count {
            let more = try receive(from: fd, upTo: count - bytes.count)
            if more.isEmpty { break }
            bytes += more
        }
        return bytes
    }

    /// Calls again while the answer is EAGAIN, five seconds at most.
    func retrying<Result: SignedInteger>(_ call: () -> Result) throws -> Result {
        let deadline = ce_now(reactor) + 5_000_000_000
        while ce_now(reactor) < deadline {
            let result = call()
            if Int32(result) != -EAGAIN { return try check(result) }
            sched_yield()
        }
        throw Failure(errno: ETIMEDOUT, call: "retrying")
    }
}

/// Runs the body with a fresh reactor, closes it, and expects the ledger to be even.
func withShim(
    sourceLocation: SourceLocation = #_sourceLocation, _ body: (Shim) throws -> Void
) throws {
    let shim = try Shim()
    let result = Result { try body(shim) }
    ce_reactor_close(shim.reactor)
    let ledger = cf_ledger(shim.faults)
    try result.get()
    #expect(ledger.open == 0, "descriptors left open", sourceLocation: sourceLocation)
    #expect(ledger.double_closes == 0, sourceLocation: sourceLocation)
    #expect(ledger.bad_descriptors == 0, sourceLocation: sourceLocation)
}

// MARK: Sweeps

/// Lets the first, the second, the third … call fail until one attempt is untouched, and expects
/// each failure to be returned, named, and to leave nothing open.
func sweep(
    _ attempt: (Shim, inout UnsafePointer<CChar>?) throws -> Int32
) throws {
    for n in 1...40 as ClosedRange<UInt64> {
        var untouched = false
        try withShim { shim in
            let before = cf_ledger(shim.faults).open
            var call: UnsafePointer<CChar>?
            cf_fail(shim.faults, CF_ANY, n, ENOBUFS, 1)
            let result = try attempt(shim, &call)
            untouched = shim.counts(CF_ANY).injected == 0
            cf_fail_none(shim.faults)
            if untouched {
                shim.close(try check(result))
                return
            }
            #expect(result == -ENOBUFS, "call \(n)")
            #expect(cf_ledger(shim.faults).open == before, "call \(n)")
            let name = try #require(call.map { String(cString: $0) })
            let failed = (0..<UInt32(CF_CALLS.rawValue)).first {
                shim.counts(cf_call($0)).injected == 1
            }
            #expect(failed.map { String(cString: cf_name(cf_call($0))) } == name)
        }
        if untouched {
            #expect(n > 4)
            return
        }
    }
    Issue.record("the sweep found no end")
}

// MARK: Addresses

func loopback(port: UInt16 = 0) -> ce_address {
    var address = ce_address()
    ce_address_v4(&address, [127, 0, 0, 1], port)
    return address
}

func loopback6(port: UInt16 = 0) -> ce_address {
    var address = ce_address()
    ce_address_v6(&address, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], port, 0)
    return address
}

/// A Unix address nobody else has.
func uniqueUnix(abstract: Bool) throws -> ce_address {
    let number = UInt64.random(in: 0 ... .max)
    let path = Array((abstract ? "sluice-\(number)" : "/tmp/sluice-\(number).sock").utf8)
    var address = ce_address()
    let result = path.withUnsafeBufferPointer { bytes in
        bytes.withMemoryRebound(to: CChar.self) {
            ce_address_unix(&address, $0.baseAddress, $0.count, abstract)
        }
    }
    _ = try check(result)
    return address
}

/// The path or name inside a Unix address.
func unixName(_ address: ce_address, capacity: Int = 128) -> (bytes: [UInt8], isAbstract: Bool) {
    var address = address
    var isAbstract = false
    var path = [CChar](repeating: 0, count: capacity)
    let count = ce_address_path(&address, &path, capacity, &isAbstract)
    return (path.prefix(count).map { UInt8(bitPattern: $0) }, isAbstract)
}

let hasIPv6: Bool = {
    let fd = socket(AF_INET6, Int32(SOCK_STREAM.rawValue), 0)
    guard fd >= 0 else { return false }
    defer { Glibc.close(fd) }
    var address = loopback6()
    return withUnsafePointer(to: &address.storage) { storage in
        storage.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            Glibc.bind(fd, $0, address.length) == 0
        }
    }
}()

// MARK: Threads

/// Runs a closure on a thread of its own: the tests here block, which a pool's thread should not.
struct TestThread {
    private let thread: pthread_t

    init(_ body: @escaping @Sendable () -> Void) {
        final class Box {
            let body: @Sendable () -> Void
            init(_ body: @escaping @Sendable () -> Void) { self.body = body }
        }
        var made = pthread_t()
        let box = Unmanaged.passRetained(Box(body))
        let result = pthread_create(
            &made, nil,
            { pointer in
                Unmanaged<Box>.fromOpaque(pointer!).takeRetainedValue().body()
                return nil
            }, box.toOpaque())
        precondition(result == 0, "no thread for the test")
        thread = made
    }

    /// Sends a signal to this thread.
    func send(_ number: Int32) {
        pthread_kill(thread, number)
    }

    func join() {
        pthread_join(thread, nil)
    }
}
