// Workers: the tasks that run handlers. Floor 3, the loop's thread.
//
// One worker pulls requests out of the stream and runs their handlers one after the other, without
// suspending as long as the handlers do not. When one waits for something, the loop finds the
// worker still in its handler at the end of the turn, and another worker goes on pulling. So a
// request costs no task, and none holds up the next one.

internal import SluiceReactor
internal import SluiceStreams

// @unchecked Sendable: touched on the loop's thread alone.
final class RequestWorker: @unchecked Sendable {
    /// The request whose handler it runs.
    var current: IncomingRequest?
    /// Its handler waits for something: others are served meanwhile.
    var isAside = false
    /// Its tag was used again: what the handler answers is dropped.
    var isDiscarded = false
    /// Set while it waits for a request.
    var continuation: UnsafeContinuation<Void, Never>?
    /// The task it is; or the one it is run in.
    var task: Task<Void, Never>?
    var outerTask: UnsafeCurrentTask?
    var hasEnded = false

    /// Nobody waits for what its handler does.
    func cancel() {
        task?.cancel()
        outerTask?.cancel()
    }
}

extension RequestPump {
    /// A worker's whole life.
    ///
    /// - Parameter stays: whether it goes on waiting for requests as long as the connection lives.
    nonisolated(nonsending) func run(_ worker: RequestWorker, stays: Bool = false) async {
        guard let handler = settings.handler else { return }
        while !hasEnded {
            if worker.current != nil || pull(worker) {
                if let connection {
                    await serve(worker, handler, connection)
                } else {
                    refuse(worker)
                }
            }
            guard !hasEnded, stays || state.pointee.idle.count < PacketBounds.idleWorkers else {
                break
            }
            await rest(worker)
        }
        worker.hasEnded = true
        worker.task = nil
    }

    /// Nobody holds the connection any longer, so it is about to be closed.
    @inline(never)
    private func refuse(_ worker: RequestWorker) {
        repeat {
            failed(worker, RequestFailure("rejecting request: the connection is closing"))
        } while pull(worker)
    }

    /// Runs handlers until there is no request to pull. Not inlined: its frame would stay on the
    /// task of a worker that rests.
    @inline(never)
    private nonisolated(nonsending) func serve(
        _ worker: RequestWorker, _ handler: RequestHandler, _ connection: RequestConnection
    ) async {
        repeat {
            do {
                guard let request = worker.current?.request else { return }
                answered(worker, try await handler(request, connection))
            } catch {
                failed(worker, error)
            }
        } while pull(worker)
    }

    /// Waits for a request to be handed over, or for the end.
    @inline(never)
    private nonisolated(nonsending) func rest(_ worker: RequestWorker) async {
        await withUnsafeContinuation { continuation in
            if hasEnded { return continuation.resume() }
            worker.continuation = continuation
            state.pointee.idle.append(worker)
        }
    }

    /// Hands a request to a worker that rests, or to a new one. Not from within a user's task.
    func start(_ incoming: IncomingRequest) {
        let worker = state.pointee.idle.popLast() ?? RequestWorker()
        hold(incoming, worker)
        if let continuation = worker.continuation {
            worker.continuation = nil
            return continuation.resume()
        }
        let task = Task.immediate(executorPreference: loop) { await self.run(worker) }
        if !worker.hasEnded { worker.task = task }
    }

    /// The worker has this request now, and pulls the next one after it.
    func hold(_ incoming: IncomingRequest, _ worker: RequestWorker) {
        worker.current = incoming
        state.pointee.puller = worker
        // At the turn's end it is seen whether the handler waits.
        loop.listForFlush(self)
    }

    /// Lets every worker that rests look at the end.
    func releaseWorkers() {
        let idle = state.pointee.idle
        state.pointee.idle = []
        for worker in idle {
            worker.continuation?.resume()
            worker.continuation = nil
        }
    }

    /// The turn is over, and the one who pulls is still in its handler, which waits for something.
    func setPullerAside() {
        guard let worker = state.pointee.puller, let incoming = worker.current else { return }
        state.pointee.puller = nil
        worker.isAside = true
        state.pointee.serving += 1
        channel(of: incoming).serving += 1
        state.pointee.inProgress[incoming.key] = .served(worker)
    }

    /// A handler has returned: takes its request off the books. `nil` if nobody wants the answer.
    private func takeBack(_ worker: RequestWorker) -> IncomingRequest? {
        guard let incoming = worker.current else { return nil }
        worker.current = nil
        let isWanted = !worker.isDiscarded
        if !isWanted {
            worker.isDiscarded = false
            state.pointee.discarded.removeAll { $0 === worker }
        }
        if worker.isAside {
            worker.isAside = false
            state.pointee.serving -= 1
            channel(of: incoming).serving -= 1
            if isWanted { state.pointee.inProgress[incoming.key] = nil }
        }
        if !isWanted { reader.becameIdle() }
        return isWanted && !hasEnded ? incoming : nil
    }

    @inline(never)
    private func answered(_ worker: RequestWorker, _ answer: Answer) {
        if let incoming = takeBack(worker) {
            respond(incoming, isOK: true, answer.flags, answer.payload)
        }
        goOnEnding()
    }

    /// Out of line: what it needs would widen the frame of the one that waits in a handler.
    @inline(never)
    private func failed(_ worker: RequestWorker, _ error: any Error) {
        if let incoming = takeBack(worker) {
            let failure = error as? RequestFailure ?? RequestFailure("exception during handler")
            respond(incoming, isOK: false, failure.flags, failure.payload)
        }
        goOnEnding()
    }
}
