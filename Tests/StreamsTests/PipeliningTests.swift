// Auto-cork: the output of a turn leaves in one sendmsg. Counted by the call table, over TCP; both
// ends live on the one loop, so both are in the counts.

import Sluice
import SluiceTestKit
import Testing

@Suite struct PipeliningTests {
    @Test func `sixteen pipelined lines, answered one await at a time, leave in one sendmsg`()
        async throws
    {
        let faults = FaultTable()
        try await withPair(.tcp, faults: faults) { near, far in
            let serving = await started {
                while let line = try await near.reader.readLine() {
                    try await near.writer.send(line)
                }
            }
            try await far.say("warm\n")
            #expect(try await far.reader.readLine() == bytes("warm\n"))
            let request = (0..<16).map { "request \($0)\n" }.joined()
            for _ in 0..<5 {
                faults.resetCounts()
                try await far.writer.send(request)
                #expect(try await far.reader.readExactly(request.utf8.count) == bytes(request))
                #expect(faults.calls(CF_SENDMSG) == 2, "one each way: \(faults)")
                #expect(faults.calls(CF_RECV) == 2, "one each way: \(faults)")
            }
            try far.writer.finishWriting()
            try await serving.value
        }
    }

    @Test func `writes of one turn leave in one sendmsg, also small ones between large ones`()
        async throws
    {
        let faults = FaultTable()
        try await withPair(.tcp, faults: faults) { near, far in
            faults.resetCounts()
            var expected: [UInt8] = []
            for round in 0..<10 {
                let large = TestBytes.make(from: round, count: 5_000)
                try near.writer.write("small \(round) ")
                try near.writer.write(large)
                expected += bytes("small \(round) ") + large
            }
            #expect(faults.calls(CF_SENDMSG) == 0, "nothing leaves before the end of the turn")
            try await near.writer.flush()
            #expect(faults.calls(CF_SENDMSG) == 1)
            #expect(same(try await far.reader.readExactly(expected.count), expected))
        }
    }

    @Test func `an empty write and a drain cost no system call`() async throws {
        let faults = FaultTable()
        try await withPair(.tcp, faults: faults) { near, far in
            faults.resetCounts()
            for _ in 0..<10 {
                try near.writer.write("")
                try await near.writer.send([])
                try await near.writer.drain()
                try await near.writer.flush()
            }
            await settle()
            #expect(faults.calls(CF_SENDMSG) == 0)
        }
    }

    @Test func `after a short receive a read waits without asking the kernel again`()
        async throws
    {
        let faults = FaultTable()
        try await withPair(.tcp, faults: faults) { near, far in
            let reading = EventLoop.current!.spawn {
                while let _ = try await near.reader.readLine() {}
            }
            try await far.say("first\n")
            faults.resetCounts()
            for _ in 0..<10 { try await far.say("next\n") }
            #expect(faults.calls(CF_RECV) == 10, "\(faults)")
            #expect(faults.counts(CF_RECV).would_block == 0)
            try await far.finish()
            try await reading.value
        }
    }

    @Test func `RELIABILITY 62: a line handed from connection to connection passes them all`()
        async throws
    {
        try await withLoop(faults: FaultTable()) { loop in
            // Each link's reading task writes into the next link.
            var ends: [(StreamEnd, StreamEnd)] = []
            for index in 0..<6 {
                ends.append(try await (index % 2 == 0 ? PairKind.tcp : .memory).makePair())
            }
            let links = ends
            let passing = (0..<5).map { index in
                loop.spawn {
                    for try await line in links[index].1.reader.lines {
                        try links[index + 1].0.writer.write(line + [10])
                    }
                    try links[index + 1].0.writer.finishWriting()
                }
            }
            for number in 0..<20 { try await links[0].0.writer.send("line \(number)\n") }
            try links[0].0.writer.finishWriting()
            let all = try await links[5].1.reader.readToEnd()
            #expect(all == bytes((0..<20).map { "line \($0)\n" }.joined()))
            for task in passing { try await task.value }
            for (near, far) in links {
                await near.writer.abort()
                await far.writer.abort()
            }
        }
    }
}
