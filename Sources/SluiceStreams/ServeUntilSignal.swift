// A server's life until the operator ends it. Floor 2; any task.

public import SluiceReactor

extension Server {
    /// Serves until one of the signals comes, then shuts down in order; a second one forces it.
    ///
    /// The first signal drains, as ``shutdown(grace:)`` does: no new clients, requests under way
    /// are answered, then handlers are cancelled and, a second later, aborted. The second signal
    /// ends that at once: handlers are cancelled and their connections aborted. A service that
    /// exits with 0 if ``ShutdownCounts/allFinished`` and with 1 else tells the supervisor how it
    /// ended:
    ///
    /// ```swift
    /// let counts = try await server.serveForever(until: [.terminate, .interrupt])
    /// exit(counts?.allFinished == false ? 1 : 0)
    /// ```
    ///
    /// The signals are watched from the begin to the end of this call; afterwards they do again
    /// what they did before.
    ///
    /// - Parameters:
    ///   - kinds: one or more; any of them is the first or the second.
    ///   - grace: how long handlers may take to finish, zero or more; 10 s by default.
    /// - Returns: how many handlers ended in which way; `nil` if the server was closed elsewhere
    ///   and its last connection ended before any signal.
    /// - Throws: ``StreamError/reactor(_:)`` if a signal cannot be watched, while the server goes
    ///   on; else as ``serveForever()``. Cancelled after the first signal it does not throw, but
    ///   forces as the second one does.
    @discardableResult
    public nonisolated(nonsending) func serveForever(
        until kinds: [Signal], grace: Duration = .seconds(10)
    ) async throws(StreamError) -> ShutdownCounts? {
        let arrivals: SignalSequence
        do throws(ReactorError) {
            arrivals = try await signals(kinds, on: loop)
        } catch {
            throw .reactor(error)
        }
        if let end = await endOrSignal(of: arrivals) {
            try end.get()
            return nil
        }
        return await shutdown(grace: grace, orAtOnceAt: arrivals)
    }

    /// How the server ended by itself; `nil` when a signal came first.
    private nonisolated(nonsending) func endOrSignal(
        of arrivals: SignalSequence
    ) async -> Result<Void, StreamError>? {
        await withTaskGroup(of: ServingStep.self) { group in
            group.addTask { await arrivals.hasNext() ? .signalCame : .signalsEnded }
            group.addTask {
                do throws(StreamError) {
                    return .served(.success(try await self.serveForever()))
                } catch {
                    return .served(.failure(error))
                }
            }
            for await step in group {
                switch step {
                case .signalsEnded: continue  // with the loop or the task: so does the server
                case .signalCame:
                    group.cancelAll()
                    return nil
                case .served(let end):
                    group.cancelAll()
                    return end
                }
            }
            return nil
        }
    }

    /// Shuts down; when a signal comes, as if the calling task had been cancelled.
    private nonisolated(nonsending) func shutdown(
        grace: Duration, orAtOnceAt arrivals: SignalSequence
    ) async -> ShutdownCounts {
        await withTaskGroup(of: ShutdownCounts?.self) { group in
            group.addTask { await self.shutdown(grace: grace) }
            group.addTask {
                _ = await arrivals.hasNext()
                return nil
            }
            var counts = ShutdownCounts()
            for await ended in group {
                if let ended { counts = ended }
                group.cancelAll()
            }
            return counts
        }
    }
}

private enum ServingStep: Sendable {
    case signalCame
    case signalsEnded
    case served(Result<Void, StreamError>)
}

extension SignalSequence {
    /// Takes the next signal; false at the end.
    fileprivate func hasNext() async -> Bool {
        var iterator = makeAsyncIterator()
        return await iterator.next() != nil
    }
}

extension ShutdownCounts {
    /// Whether every handler ended by itself: no request was cut off.
    public var allFinished: Bool { cancelled == 0 && aborted == 0 }
}
