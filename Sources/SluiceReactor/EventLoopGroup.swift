// EventLoopGroup: several loops, each on a thread of its own. Floor 1; any thread.

/// Loops for a server that wants more than one processor core.
///
/// A connection lives on one of them for its whole life. Stop the group when it is not needed any
/// more.
public final class EventLoopGroup: Sendable {
    /// The loops, at least one.
    public let loops: [EventLoop]

    /// Starts `count` loops, named after the options' name with a number behind it.
    ///
    /// - Parameters:
    ///   - count: 1 or more; the number of cores is a good choice for services that compute.
    ///   - options: settings of each loop.
    /// - Throws: ``SystemError`` if there are not enough descriptors or threads; those started by
    ///   then are stopped again.
    public init(loops count: Int, options: EventLoop.Options = EventLoop.Options())
        throws(SystemError)
    {
        precondition(count > 0, "a group has at least one loop")
        var loops: [EventLoop] = []
        for index in 0..<count {
            var named = options
            named.name = "\(options.name)-\(index)"
            do throws(SystemError) {
                loops.append(try EventLoop.start(options: named))
            } catch {
                for loop in loops { loop.requestStop() }
                throw error
            }
        }
        self.loops = loops
    }

    /// Stops all loops, as ``EventLoop/stop()`` does each.
    public nonisolated(nonsending) func stop() async {
        for loop in loops { loop.requestStop() }
        for loop in loops { await loop.stop() }
    }
}
