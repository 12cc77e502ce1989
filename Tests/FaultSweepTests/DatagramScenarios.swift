// Scenarios of datagrams, which a call that fails may lose: then they are sent again.

import Sluice
import SluiceTestKit

extension Scenario {
    static let datagrams = Scenario(name: "an echo of datagrams") { stage in
        let echo = try await bindDatagramSocket(port: 0)
        let answering = stage.loop.spawn { try await answer(on: echo) }
        let result: Result<Void, any Error>
        do {
            result = .success(try await ask(echo.localAddress.port ?? 0))
        } catch {
            result = .failure(error)
        }
        await echo.close()
        // What it throws but for the end is no datagram's.
        try await withTimeout(Stage.patience) { try await answering.value }
        try result.get()
    }
}

/// Sends back what comes, until the socket is closed.
private func answer(on echo: DatagramSocket) async throws {
    while true {
        do {
            let datagram = try await echo.receive()
            try await echo.send(datagram.bytes, to: datagram.source)
        } catch StreamError.closed {
            return
        } catch {
            try expectLoss(error)
        }
    }
}

/// Has a few datagrams echoed one after the other, each sent until its echo comes.
private func ask(_ port: Int) async throws {
    let client = try await connectDatagramSocket(host: "127.0.0.1", port: port)
    let result: Result<Void, any Error>
    do {
        for number in 0..<5 as Range<UInt8> { try await exchange(number, client) }
        result = .success(())
    } catch {
        result = .failure(error)
    }
    await client.close()
    try result.get()
}

private func exchange(_ number: UInt8, _ client: DatagramSocket) async throws {
    let tail = TestBytes.make(count: 100)
    for _ in 0..<100 {
        do {
            try await client.send([number] + tail)
            while true {
                let echoed = try await withTimeout(.seconds(1)) { try await client.receive().bytes }
                if echoed == [number] + tail { return }
                // Only the echo of an earlier one that was sent twice may come instead.
                guard let first = echoed.first, first < number, echoed == [first] + tail else {
                    throw WrongResult(description: "\(echoed) came for \(number)")
                }
            }
        } catch StreamError.timedOut {
            // Lost: once more.
        } catch {
            try expectLoss(error)
        }
    }
    throw WrongResult(description: "a hundred datagrams are lost")
}

/// What a failing call may do to datagrams: the socket lives on.
private func expectLoss(_ error: any Error) throws {
    switch error {
    case StreamError.peerFailed, StreamError.system: return
    default: throw error
    }
}
