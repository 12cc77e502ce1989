// Scenarios around servers: what the examples do, and every way in which a connection ends.

import Glibc
import Sluice
import SluiceTestKit

extension Scenario {
    static let all: [Scenario] = [
        echo, chat, unixPath, abstractName, severalHosts, inheritedDescriptor, cappedChurn,
        shutdownWithGrace, endings, droppedHandles, raceOfAddresses, proxy, adoptedPipes,
        adoptedSockets, detachedStream, bulkBothWays, deadlines,
        datagrams,
    ]

    static let echo = Scenario(name: "an echo server") { stage in
        try await stage.serve(handler: echoLines) { server in
            try await stage.connect(server) { client in
                for text in ["one", "two", "three"] { try await client.exchange(text) }
                try client.writer.finishWriting()
                guard try await client.reader.read() == nil else {
                    throw WrongResult(description: "bytes behind the last line")
                }
            }
        }
    }

    static let chat = Scenario(name: "a chat of three") { stage in
        let members = LoopBound<[StreamWriter]>([])
        let handler: ClientHandler = { reader, writer in
            members.withValue { $0.append(writer) }
            defer { members.withValue { $0.removeAll { $0 === writer } } }
            try await writer.send("welcome\n")
            while let line = try await reader.readLine() {
                // A member whose connection broke is its own handler's business.
                for member in members.withValue({ $0 }) { try? member.write(line) }
                try await writer.drain()
            }
        }
        try await stage.serve(handler: handler) { server in
            try await stage.connect(server) { one in
                try await one.expect("welcome")
                try await stage.connect(server) { two in
                    try await two.expect("welcome")
                    try await stage.connect(server) { three in
                        try await three.expect("welcome")
                        for speaker in [one, two, three] {
                            try await speaker.writer.send("hear me\n")
                            // First whoever spoke: if the line was lost, so was that stream.
                            try await speaker.expect("hear me")
                            for listener in [one, two, three]
                            where listener.reader !== speaker.reader {
                                try await listener.expect("hear me")
                            }
                        }
                    }
                }
            }
        }
    }

    /// The path's file of a server that died is there already.
    static let unixPath = Scenario(name: "a server on a Unix path") { stage in
        var template = Array("/tmp/sluice-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw WrongResult(description: "no directory") }
        let directory = String(decoding: template.dropLast().map { UInt8($0) }, as: UTF8.self)
        let path = directory + "/s"
        defer {
            unlink(path)
            rmdir(directory)
        }
        try leaveStaleSocket(at: path)
        try await stage.serve(.unix(path: path), handler: echoLines) { server in
            let end = StreamEnd(try await openUnixConnection(path: path))
            try await stage.using(end) { try await end.exchange("local") }
        }
    }

    static let abstractName = Scenario(name: "a server on an abstract name") { stage in
        let name = "sluice-sweep-\(getpid())-\(UInt64.random(in: 0 ... .max))"
        try await stage.serve(.abstract(name), handler: echoLines) { server in
            let end = StreamEnd(try await openUnixConnection(abstract: name))
            try await stage.using(end) { try await end.exchange("local") }
        }
    }

    static let severalHosts = Scenario(name: "a server on two addresses") { stage in
        let address = ListenAddress.hosts(["127.0.0.1", "127.0.0.2"], port: 0)
        try await stage.serve(address, handler: echoLines) { server in
            for address in server.addresses {
                let end = StreamEnd(
                    try await openConnection(host: address.host ?? "", port: server.port))
                try await stage.using(end) { try await end.exchange("over \(address)") }
            }
        }
    }

    static let inheritedDescriptor = Scenario(name: "a server on a descriptor") { stage in
        let fd = try stage.listeningSocket()
        do {
            try await stage.serve(.descriptor(fd), handler: echoLines) { server in
                try await stage.connect(server) { try await $0.exchange("inherited") }
            }
        } catch let error as StreamError {
            // Refused before it was taken over.
            if case .invalidOption = error { stage.closeOwn(fd) }
            throw error
        }
    }

    /// Clients come and go, and wait for one another in the backlog.
    static let cappedChurn = Scenario(name: "six clients, two at a time") { stage in
        let options = Stage.quiet {
            $0.maxConnections = 2
            $0.acceptsPerWakeUp = 1
        }
        try await stage.serve(options: options, handler: echoLines) { server in
            try await together(
                (0..<6).map { number in
                    { @Sendable in
                        try await stage.connect(server) { try await $0.exchange("\(number)") }
                    }
                })
        }
    }

    /// One client idle, one in the middle of a line, one that is being answered.
    static let shutdownWithGrace = Scenario(name: "shutdown with grace") { stage in
        let handler: ClientHandler = { reader, writer in
            while let line = try await reader.readLine() {
                if line == bytes("later\n") { try await sleep(for: .milliseconds(300)) }
                try await writer.send(line)
            }
        }
        try await stage.serve(handler: handler) { server in
            try await stage.connect(server) { idle in
                try await idle.exchange("here")
                try await stage.connect(server) { partial in
                    try await partial.exchange("here")
                    try await partial.writer.send("no end of line")
                    try await stage.connect(server) { busy in
                        try await busy.writer.send("later\n")
                        try await busy.writer.flush()
                        await settle()
                        await server.shutdown(grace: .seconds(1))
                        try await busy.expect("later")
                        _ = try await partial.reader.readToEnd()
                        _ = try await idle.reader.readToEnd()
                    }
                }
            }
        }
    }

    /// Each handler ends in another way, and so does each client.
    static let endings = Scenario(name: "connections that end in every way") { stage in
        let handler: ClientHandler = { reader, writer in
            let order = try await reader.readLine(strippingTerminator: true) ?? []
            try await writer.send("as you wish\n")
            switch String(decoding: order, as: UTF8.self) {
            case "return": return
            case "throw": throw WrongResult(description: "on purpose")
            case "abort": await writer.abort()
            case "close": await writer.close(within: .seconds(1))
            default: _ = try await reader.readToEnd()
            }
        }
        try await stage.serve(handler: handler) { server in
            for order in ["return", "throw", "abort", "close", "wait"] {
                try await stage.connect(server) { client in
                    try await client.writer.send(order + "\nand unread input\n")
                    do throws(StreamError) {
                        while try await client.reader.readLine() != nil {
                            if order == "wait" { try client.writer.finishWriting() }
                        }
                    } catch .reset {
                        // Unread input and an abort say so, and a failing call may.
                    }
                }
                // And by a reset of the client's.
                try await stage.connect(server) { client in
                    try await client.writer.send(order + "\n")
                    await client.writer.abort()
                }
            }
        }
    }

    /// Nobody closes: the halves are dropped on both sides.
    static let droppedHandles = Scenario(name: "halves that are dropped") { stage in
        let plain: PlainClientHandler = { _, writer in try? writer.write("bye\n") }
        let server = try await startServer(port: 0, options: Stage.quiet(), handler: plain)
        let result: Result<Void, any Error>
        do {
            let reader = try await openConnection(host: "127.0.0.1", port: server.port).reader
            result = .success(
                try await withTimeout(Stage.patience) {
                    guard try await reader.readToEnd() == bytes("bye\n") else {
                        throw StreamError.truncated(received: [], expected: nil)
                    }
                })
        } catch {
            result = .failure(error)
        }
        await server.shutdown(grace: .seconds(1))
        try await withTimeout(Stage.patience) { try await server.waitClosed() }
        try result.get()
    }
}

/// What a server that was killed leaves behind.
private func leaveStaleSocket(at path: String) throws {
    let fd = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    defer { close(fd) }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    let result = withUnsafeBytes(of: &address) {
        bind(
            fd, $0.baseAddress?.assumingMemoryBound(to: sockaddr.self),
            socklen_t(MemoryLayout<sockaddr_un>.size))
    }
    guard result == 0 else { throw WrongResult(description: "no stale socket: \(errno)") }
}
