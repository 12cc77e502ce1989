// The functions of include/sluice.h. Floor 4. The header documents them; `@implementation` lets the
// compiler compare each one with its declaration there.

internal import CSluice
internal import Glibc
internal import Sluice
internal import SluiceReactor

/// The loops that exist, by the address that C knows them by: an argument is looked up here before
/// anything is done with it.
private let loops = Locked<[OpaquePointer: HostedLoop]>([:])

/// See `sluice.h`.
@c @implementation
public func sluice_create() -> OpaquePointer? {
    do throws(SystemError) {
        let loop = try HostedLoop()
        let address = OpaquePointer(Unmanaged.passUnretained(loop).toOpaque())
        loops.withLock { $0[address] = loop }
        return address
    } catch {
        remember("\(error)")
        return nil
    }
}

/// See `sluice.h`.
@c @implementation
public func sluice_destroy(_ address: OpaquePointer?) -> CInt {
    guard let address else { return 0 }
    return result(of: "sluice_destroy", address) { (loop) throws(Failure) in
        loops.withLock { $0[address] = nil }
        loop.loop.close()
        return 0
    }
}

/// See `sluice.h`.
@c @implementation
public func sluice_descriptor(_ address: OpaquePointer?) -> CInt {
    do throws(Failure) {
        return try loop(at: address, "sluice_descriptor").loop.fileDescriptor
    } catch {
        return fail(error)
    }
}

/// See `sluice.h`.
@c @implementation
public func sluice_turn(_ address: OpaquePointer?, _ timeoutMilliseconds: CInt) -> CInt {
    result(of: "sluice_turn", address) { (loop) throws(Failure) in
        try loop.turn(milliseconds: timeoutMilliseconds)
        return 0
    }
}

/// See `sluice.h`.
@c @implementation
public func sluice_start(
    _ address: OpaquePointer?, _ name: UnsafePointer<CChar>?, _ host: UnsafePointer<CChar>?,
    _ port: CInt
) -> CInt {
    result(of: "sluice_start", address) { (loop) throws(Failure) in
        guard let name, let host else {
            throw Failure(EINVAL, "sluice_start needs a name and a host")
        }
        guard (0...65_535).contains(port) else {
            throw Failure(EINVAL, "sluice_start: the port \(port) is not in 0...65535")
        }
        let wanted = String(cString: name)
        guard let start = starter(named: wanted) else {
            throw Failure(ENOENT, "no service is registered as \"\(wanted)\"")
        }
        return try loop.start(start, host: String(cString: host), port: Int(port))
    }
}

/// See `sluice.h`.
@c @implementation
public func sluice_port(_ address: OpaquePointer?, _ service: CInt) -> CInt {
    result(of: "sluice_port", address) { (loop) throws(Failure) in
        CInt(try loop.service(service).server.port)
    }
}

/// See `sluice.h`.
@c @implementation
public func sluice_stop(
    _ address: OpaquePointer?, _ service: CInt, _ graceMilliseconds: CInt
) -> CInt {
    result(of: "sluice_stop", address) { (loop) throws(Failure) in
        guard graceMilliseconds >= 0 else {
            throw Failure(EINVAL, "sluice_stop: the grace \(graceMilliseconds) is negative")
        }
        return try loop.stop(service, graceMilliseconds: graceMilliseconds) ? 1 : 0
    }
}

/// See `sluice.h`.
@c @implementation
public func sluice_error() -> UnsafePointer<CChar>? {
    let text = errorKey.flatMap { pthread_getspecific($0) }
    return UnsafePointer(text?.assumingMemoryBound(to: CChar.self)) ?? emptyText
}

/// Runs a call on a loop that exists, by the thread that may.
private func result(
    of call: String, _ address: OpaquePointer?, _ body: (HostedLoop) throws(Failure) -> CInt
) -> CInt {
    do throws(Failure) {
        let loop = try loop(at: address, call)
        try loop.checkThread(call)
        return try body(loop)
    } catch {
        return fail(error)
    }
}

private func loop(at address: OpaquePointer?, _ call: String) throws(Failure) -> HostedLoop {
    guard let address, let loop = loops.withLock({ $0[address] }) else {
        throw Failure(EINVAL, "\(call) was given no loop, or one that was destroyed")
    }
    return loop
}

// MARK: The last error of each thread

private func fail(_ failure: Failure) -> CInt {
    remember(failure.text)
    return failure.code
}

/// Each thread's own; freed with it. `nil`: the program is out of keys, and errors have no words.
private let errorKey: pthread_key_t? = {
    var key = pthread_key_t()
    return pthread_key_create(&key) { free($0) } == 0 ? key : nil
}()

private func remember(_ text: String) {
    guard let errorKey, let copy = strdup(text) else { return }
    free(pthread_getspecific(errorKey))
    pthread_setspecific(errorKey, copy)
}

nonisolated(unsafe) private let emptyText: UnsafePointer<CChar> = {
    // One byte for the whole of the program's life.
    let byte = UnsafeMutablePointer<CChar>.allocate(capacity: 1)
    byte.initialize(to: 0)
    return UnsafePointer(byte)
}()
