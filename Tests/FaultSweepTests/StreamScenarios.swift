// Scenarios around streams that no server made: connected, adopted, detached, copied, and what a
// sweep has to find.

import Glibc
import Sluice
import SluiceStreams
import SluiceTestKit
import Testing

extension Scenario {
    /// The first address refuses, the second one never answers, the third one is alive.
    static let raceOfAddresses = Scenario(name: "a race of addresses") { stage in
        let refusing = try stage.unusedAddress()
        try await stage.serve(handler: echoLines) { server in
            guard let alive = server.addresses.first else { return }
            let race = await raceToConnect(
                [refusing, alive, alive], from: [], host: "several", port: server.port,
                on: stage.loop)
            let winner = try race.get()
            // Also the descriptor of a winner that nobody wants has to go.
            stage.loop.closeDescriptor(winner.fd)
            try await stage.connect(server) { try await $0.exchange("connected") }
        }
    }

    static let proxy = Scenario(name: "a proxy") { stage in
        try await stage.serve(handler: echoLines) { target in
            let handler: ClientHandler = { reader, writer in
                let pair = try await openConnection(host: "127.0.0.1", port: target.port)
                try await stage.using(StreamEnd(pair)) {
                    _ = try await copyBothWays((reader, writer), pair)
                }
            }
            try await stage.serve(handler: handler) { server in
                try await stage.connect(server) { client in
                    try await client.exchange("through")
                    try await client.exchange("and back")
                    try client.writer.finishWriting()
                    guard try await client.reader.read() == nil else {
                        throw WrongResult(description: "bytes behind the last line")
                    }
                }
            }
        }
    }

    static let adoptedPipes = Scenario(name: "stapled pipes") { stage in
        let (there, back) = (try stage.pipe(), try stage.pipe())
        let near: StreamEnd
        do {
            near = StreamEnd(
                try await adoptPipes(reading: back.reading, writing: there.writing))
        } catch {
            stage.closeOwn(there.reading)
            stage.closeOwn(back.writing)
            throw error
        }
        try await stage.using(near) {
            let far = StreamEnd(
                try await adoptPipes(reading: there.reading, writing: back.writing))
            try await stage.using(far) {
                try await withTimeout(Stage.patience) {
                    for text in ["one", "two"] {
                        try await near.writer.send(text + "\n")
                        try await far.expect(text)
                        try await far.writer.send(text + "\n")
                        try await near.expect(text)
                    }
                    try near.writer.finishWriting()
                    guard try await far.reader.read() == nil else {
                        throw WrongResult(description: "bytes behind the last line")
                    }
                }
            }
        }
    }

    static let adoptedSockets = Scenario(name: "an adopted pair of sockets") { stage in
        let (left, right) = try stage.socketPair()
        let near: StreamEnd
        do {
            near = try await stage.adopt(socket: left)
        } catch {
            stage.closeOwn(right)
            throw error
        }
        try await stage.using(near) {
            let far = try await stage.adopt(socket: right)
            try await stage.using(far) {
                try await withTimeout(Stage.patience) {
                    try await near.writer.send("through\n")
                    // Nobody reads from this end, so nobody else would learn of a loss.
                    try await near.writer.flush()
                    try await far.expect("through")
                    let notice = Shared(false)
                    far.writer.onPeerClosed { notice.set(true) }
                    near.writer.startClosing()
                    try await far.writer.waitPeerClosed()
                    try await eventually("the peer's end is noticed") { notice.value }
                }
            }
        }
    }

    /// The client's connection goes through another owner's hands.
    static let detachedStream = Scenario(name: "a stream detached and adopted again") { stage in
        try await stage.serve(handler: echoLines) { server in
            let first = StreamEnd(try await openConnection(host: "127.0.0.1", port: server.port))
            let detached: DetachedStream
            do {
                try await first.exchange("before")
                try await first.writer.send("in between\n")
                detached = try await first.writer.detach()
            } catch {
                await first.writer.abort()
                throw error
            }
            let second = try await stage.adopt(socket: detached.descriptor)
            try await stage.using(second) {
                second.reader.unread(detached.unread)
                try await second.expect("in between")
                try await second.exchange("after")
            }
        }
    }

    /// More than fits into any buffer, both ways at once.
    static let bulkBothWays = Scenario(name: "bulk both ways") { stage in
        let count = 60_000
        let options = Stage.quiet {
            $0.stream.highWaterMark = 4_096
            $0.socket.sendBuffer = 8_192
            $0.socket.receiveBuffer = 8_192
        }
        let handler: ClientHandler = { reader, writer in
            try await together([
                {
                    for start in stride(from: 0, to: count, by: 6_000) {
                        try await writer.send(TestBytes.make(from: start, count: 6_000))
                    }
                    try await writer.flush()
                },
                {
                    let received = try await reader.readExactly(count)
                    guard TestBytes.match(received, from: 0) else {
                        throw WrongResult(description: "wrong bytes")
                    }
                },
            ])
        }
        try await stage.serve(options: options, handler: handler) { server in
            try await stage.connect(server) { client in
                client.writer.setWriteMarks(high: 4_096)
                try await together([
                    { try await client.writer.send(TestBytes.make(count: count)) },
                    {
                        let received = try await client.reader.readExactly(count)
                        guard TestBytes.match(received, from: 0) else {
                            throw WrongResult(description: "wrong bytes")
                        }
                    },
                ])
            }
        }
    }

    /// Reads that time out or are cancelled, with a peer that is silent on purpose.
    static let deadlines = Scenario(name: "deadlines and cancellation") { stage in
        let handler: ClientHandler = { reader, writer in
            while let line = try await reader.readLine() {
                try await sleep(for: .milliseconds(700))
                try await writer.send(line)
            }
        }
        try await stage.serve(handler: handler) { server in
            try await stage.connect(server) { client in
                try await client.writer.send("slowly\n")
                do {
                    let early = try await withTimeout(.milliseconds(100)) {
                        try await client.reader.readLine()
                    }
                    guard early == nil else {
                        throw WrongResult(description: "an answer before its time")
                    }
                    throw StreamError.truncated(received: [], expected: nil)
                } catch StreamError.timedOut {
                    // As it should be.
                }
                let reading = stage.loop.spawn { try await client.reader.readLine() }
                await settle()
                reading.cancel()
                do {
                    guard try await reading.value == nil else {
                        throw WrongResult(description: "an answer before its time")
                    }
                    throw StreamError.truncated(received: [], expected: nil)
                } catch StreamError.cancelled {
                    // As it should be.
                }
                try await client.expect("slowly")
            }
        }
    }

    // MARK: What the sweep has to find

    /// Keeps a connected socket for itself when a call fails.
    static let leaking = Scenario(name: "a leak") { stage in
        let connected = await raceToConnect(
            [try stage.unusedAddress()], from: [], host: "none", port: 0, on: stage.loop)
        if case .success(let winner) = connected { stage.loop.closeDescriptor(winner.fd) }
        if stage.faults.counts(CF_ANY).injected > 0 {
            _ = try stage.pipe()
        }
    }

    /// Waits for ever when a call fails.
    static let hanging = Scenario(name: "a hang") { stage in
        try await stage.serve(handler: echoLines) { server in
            try await stage.connect(server) { client in
                if stage.faults.counts(CF_ANY).injected > 0 { _ = try await client.reader.read() }
            }
        }
    }

    /// Sends something else than the peer expects when a call fails.
    static let lying = Scenario(name: "a lie") { stage in
        let handler: ClientHandler = { reader, writer in
            while let line = try await reader.readLine() {
                let isTrue = stage.faults.counts(CF_ANY).injected == 0
                try await writer.send(isTrue ? line : bytes("something else\n"))
            }
        }
        try await stage.serve(handler: handler) { server in
            try await stage.connect(server) { try await $0.exchange("the truth") }
        }
    }
}
