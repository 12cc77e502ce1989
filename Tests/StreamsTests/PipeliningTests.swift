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
}
