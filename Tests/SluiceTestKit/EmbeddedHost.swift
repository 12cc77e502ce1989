// A host program for an embedded loop: its own poll(2) loop, which watches the loop's descriptor
// beside a pipe of its own and knows nothing else of the loop. Test kit.

internal import Glibc
public import Sluice
public import Testing

/// A host waited in vain: nothing became readable although its condition did not hold.
public struct HostStarved: Error, CustomStringConvertible {
    public let description: String
}

/// A thread's own poll loop. Turns are taken when the descriptor calls for them, never otherwise,
/// and never with a timeout: a timer, job or closure that the descriptor does not announce starves
/// the host, which then throws.
// @unchecked Sendable: the counts are used by the host's thread alone; the rest is constant.
public final class EmbeddedHost: @unchecked Sendable {
    /// The embedded loop.
    public let loop: EventLoop
    private let pipeEnds: (read: Int32, write: Int32)
    /// Turns taken, and bytes that came through the host's own pipe.
    public private(set) var turns = 0
    public private(set) var ownBytes = 0

    /// Makes a loop over a fault table, or over the kernel.
    public init(faults: FaultTable? = nil, options: EventLoop.Options = .init()) throws {
        if let faults {
            loop = try faults.withSystem { (system) throws(SystemError) in
                try EventLoop.makeEmbedded(options: options, system: system)
            }
        } else {
            loop = try EventLoop.makeEmbedded(options: options)
        }
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { throw SystemError(call: "pipe", errno: errno) }
        for end in ends {
            _ = fcntl(end, F_SETFD, FD_CLOEXEC)
            _ = fcntl(end, F_SETFL, O_NONBLOCK)
        }
        pipeEnds = (ends[0], ends[1])
    }

    deinit {
        Glibc.close(pipeEnds.read)
        Glibc.close(pipeEnds.write)
    }

    /// Writes one byte into the host's own pipe. Any thread.
    public func ringOwnBell() {
        var byte: UInt8 = 1
        _ = write(pipeEnds.write, &byte, 1)
    }

    /// Whether the loop's descriptor is readable now.
    public func isCalledFor() -> Bool {
        var poller = pollfd(fd: loop.fileDescriptor, events: Int16(POLLIN), revents: 0)
        return poll(&poller, 1, 0) == 1
    }

    /// Takes turns, each without a wait, until the descriptor calls for none.
    public func rest() {
        while isCalledFor() { takeTurn() }
    }

    /// The host's life: polls without end, serves its pipe and the loop, until `isOver`.
    ///
    /// - Throws: ``HostStarved`` if nothing becomes readable for so long that nothing will.
    public func serve(
        silence: Duration = .seconds(20), until isOver: () throws -> Bool
    ) throws {
        while try !isOver() {
            var pollers = [
                pollfd(fd: loop.fileDescriptor, events: Int16(POLLIN), revents: 0),
                pollfd(fd: pipeEnds.read, events: Int16(POLLIN), revents: 0),
            ]
            let count = poll(&pollers, 2, Int32(silence.components.seconds) * 1_000)
            guard count > 0 else {
                throw HostStarved(description: "nothing came in \(silence) after \(turns) turns")
            }
            if pollers[0].revents != 0 { takeTurn() }
            if pollers[1].revents != 0 { takeOwnBytes() }
        }
    }

    /// Runs a task on the loop to its end, in the host's turns.
    public func run<T: Sendable>(_ body: @escaping @Sendable () async throws -> T) throws -> T {
        let result = Shared<Result<T, any Error>?>(nil)
        loop.spawn {
            do {
                let value = try await body()
                result.set(.success(value))
            } catch {
                result.set(.failure(error))
            }
        }
        try serve { result.value != nil }
        guard let result = result.value else { throw ReactorError.stopped }
        return try result.get()
    }

    private func takeTurn() {
        turns += 1
        loop.turn()
    }

    private func takeOwnBytes() {
        var bytes = [UInt8](repeating: 0, count: 4_096)
        ownBytes += max(0, read(pipeEnds.read, &bytes, bytes.count))
    }
}

/// A thread for each job, that is, one for a task without awaits: a host blocks in poll(2), which
/// the threads of Swift's pool should not.
public final class ThreadOfItsOwn: TaskExecutor {
    /// Makes no thread yet.
    public init() {}

    /// Called by the Swift runtime.
    public func enqueue(_ job: consuming ExecutorJob) {
        final class Start: Sendable {
            let job: UnownedJob
            let executor: ThreadOfItsOwn
            init(_ job: UnownedJob, _ executor: ThreadOfItsOwn) {
                self.job = job
                self.executor = executor
            }
        }
        var thread = pthread_t()
        let start = Unmanaged.passRetained(Start(UnownedJob(job), self))
        let result = pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                let start = Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
                start.job.runSynchronously(on: start.executor.asUnownedTaskExecutor())
                return nil
            }, start.toOpaque())
        precondition(result == 0, "no thread for the host")
        pthread_detach(thread)
    }
}

/// Runs a host on a thread of its own, with a deadline, and closes its loop afterwards.
public func withHost<R: Sendable>(
    faults: FaultTable? = nil, options: EventLoop.Options = .init(),
    sourceLocation: SourceLocation = #_sourceLocation,
    _ body: @escaping @Sendable (EmbeddedHost) throws -> R
) async throws -> R {
    try await withDeadline(.seconds(60), sourceLocation: sourceLocation) {
        try await Task(executorPreference: ThreadOfItsOwn()) {
            let host = try EmbeddedHost(faults: faults, options: options)
            defer { host.loop.close() }
            return try body(host)
        }
        .value
    }
}
