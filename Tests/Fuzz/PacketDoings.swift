// What a script has others do with its packet connection besides wanting packets: send, ask, read
// bytes, close, go on with hooks; and what callbacks do in the middle of a delivery.

import Sluice
@testable import SluicePackets
@testable import SluiceReactor
@testable import SluiceStreams

extension ConnectionScript {
    // MARK: Sending

    func write(_ kind: Int, _ number: Int) {
        guard let connection else { return }
        if number & 0xF0 == 0xF0 { return checkUnencodable(connection) }
        switch number % 4 {
        case 0, 1: writeNow(kind)
        case 2:
            spawn { [self] connection in
                let next = written.next(kind % 4, where: connection.context as? Agreed)
                let packet = next.sent.packet(where: connection.context as? Agreed)
                await note(next.number) { () throws(PacketError) in
                    try await connection.send(packet, within: number & 4 == 0 ? nil : .zero)
                }
            }
        default:
            spawn { [self] connection in
                let next = written.next(3, where: nil)
                let frame = written.frame(next.number)
                await note(next.number) { () throws(PacketError) in
                    try await connection.writeData(frame)
                }
            }
        }
    }

    private func writeNow(_ kind: Int) {
        guard let connection else { return }
        let agreed = connection.context as? Agreed
        let next = written.next(kind % 4, where: agreed)
        do throws(PacketError) {
            try connection.write(next.sent.packet(where: agreed))
            written.promise(next.number)
        } catch {
            checkSending(error)
        }
    }

    /// A packet that was written leaves, also when the wait behind it ends in another way.
    private func note(_ number: Int, _ send: () async throws(PacketError) -> Void) async {
        do throws(PacketError) {
            try await send()
            written.promise(number)
        } catch .stream(.cancelled), .stream(.timedOut) {
            written.promise(number)
        } catch {
            checkSending(error)
        }
    }

    private func checkSending(_ error: PacketError) {
        switch error {
        case .notWritable: break
        case .stream(.closed), .stream(.aborted), .stream(.reset):
            guard model.isClosedHere || model.hasEnded || model.isAbortedThere else {
                fail("connections: not sent: \(error)")
            }
        default: fail("connections: not sent: \(error)")
        }
    }

    private func checkUnencodable(_ connection: PacketConnection) {
        let queued = connection.writer?.bytesQueued
        do throws(PacketError) {
            try connection.write(Asked(number: 1, text: String(repeating: "y", count: 300)))
            fail("connections: a text too long was written")
        } catch {
            if case .unencodable = error, connection.pump.hooks?.writing == nil,
                connection.writer?.bytesQueued != queued
            {
                fail("connections: \(error) left bytes")
            }
        }
    }

    // MARK: Asking, reading bytes

    func ask(_ number: Int) {
        spawn { [self] connection in
            let agreed = connection.context as? Agreed
            let next = written.next(number % 4, where: agreed)
            let packet = next.sent.packet(where: agreed)
            let log = makeLog(.noted)
            let within: Duration? = [nil, .zero, .seconds(3_600), nil][number >> 2 & 3]
            do throws(PacketError) {
                let answer = try await connection.request(
                    packet, expecting: Noted.self,
                    where: accepting(log, 1 + number >> 4 & 3), within: within)
                written.promise(next.number)
                guard !log.isUncertain, log.accepted != [Int(answer.number)] else { return }
                fail("connections: \(answer) is the answer, not \(log.accepted)")
            } catch {
                check(asking: error, isTimed: within != nil)
            }
        }
    }

    private func check(asking error: PacketError, isTimed: Bool) {
        switch error {
        case .peerClosed: model.checkOrderlyEnd()
        case .stream(.closed), .stream(.aborted), .stream(.reset), .notWritable:
            checkSending(error)
        default: check(error, isTimed: isTimed)
        }
    }

    func readBytes(_ number: Int) {
        let count = number & 1 == 0 ? model.size(of: 1 + number >> 1 & 1) : number >> 2
        spawn { [self] connection in
            do throws(PacketError) {
                if let bytes = try await connection.readData(count) {
                    trace("read \(bytes)")
                    guard bytes.count == count else { fail("connections: read \(bytes)") }
                    model.read(bytes)
                } else {
                    model.readWasCut()
                }
            } catch {
                trace("read of \(count): \(error)")
                if error == .stream(.closed), model.isClosedHere || model.hasEnded { return }
                check(error, isShared: true)
            }
        }
    }

    // MARK: Hooks

    func readByHook(_ connection: PacketConnection) async throws -> (any Packet)? {
        guard let head = try await connection.readData(2) else { return nil }
        hookReads += 1
        if hookReads % 5 == 4 { await gate.wait() }
        let size = model.format.size(head[...])
        guard size <= 401 else { throw PacketError.limitExceeded(limit: 400) }
        guard let body = try await connection.readData(size) else {
            throw PacketError.truncated(received: 2)
        }
        return try connection.decode(model.format.isHeaded ? head + body : body)
    }

    func writeByHook(
        _ packet: any Packet, _ connection: PacketConnection, _ output: inout PacketOutput
    ) throws(PacketError) {
        let bytes = try connection.encode(packet)
        if bytes.count % 3 == 0, connection.writer?.isClosing == false {
            do { try connection.writer?.write(written.mark()) } catch {
                fail("connections: the hook cannot write: \(error)")
            }
        }
        // Not by writing, which would leave before this one, or between packets only.
        if bytes.count % 5 == 0, let next = planned.first, ![8, 9].contains(next % 12) {
            interfere(with: nil)
        }
        if !model.format.isHeaded { output.append(integer: UInt16(bytes.count)) }
        output.append(bytes)
    }

    // MARK: Closing

    func endHere(_ number: Int) {
        guard number > 96 else { return waitForEnd(number) }
        switch number % 4 {
        case 0: startClosing(number)
        case 1:
            let within: Duration? = number & 8 == 0 ? nil : .zero
            if within != nil { mayLose = true }
            spawn(untilClosed: true) { [self] connection in
                model.isClosedHere = true
                await connection.close(within: within)
                if Task.isCancelled { (model.isAbortedHere, mayLose) = (true, true) }
                checkClosed(connection)
            }
        case 2:
            spawn(untilClosed: true) { [self] connection in
                _ = try? await connection.closing { _ in
                    await gate.wait()
                    model.isClosedHere = true
                }
                if Task.isCancelled { (model.isAbortedHere, mayLose) = (true, true) }
                checkClosed(connection)
            }
        default:
            guard number > 200 else { return }
            spawn(untilClosed: true) { [self] connection in
                (model.isClosedHere, model.isAbortedHere, mayLose) = (true, true, true)
                await connection.abort()
                checkClosed(connection)
            }
        }
    }

    private func startClosing(_ number: Int) {
        guard let connection else { return }
        model.isClosedHere = true
        if number & 8 != 0 { mayLose = true }
        connection.startClosing(within: number & 8 == 0 ? nil : .zero)
        if !connection.isClosing { fail("connections: it does not close") }
    }

    private func waitForEnd(_ number: Int) {
        let within: Duration? = [nil, nil, .zero, .seconds(3_600)][number & 3]
        spawn(untilClosed: true) { [self] connection in
            do throws(PacketError) {
                try await connection.waitClosed(within: within)
                checkClosed(connection)
            } catch {
                check(error, isTimed: within != nil)
            }
        }
    }

    private func checkClosed(_ connection: PacketConnection) {
        guard connection.pump.areStreamsClosed else { fail("connections: closed, but it is not") }
    }

    // MARK: In the middle

    /// One of those who hold something lets go of it.
    func dropOne(_ number: Int) {
        model.isUncertain = true
        switch number % 4 {
        case 0: if !watches.isEmpty { watches.removeFirst() }
        case 1: if !sequences.isEmpty { sequences.removeFirst() }
        case 2: if !iterators.isEmpty { iterators.removeFirst() }
        default:
            guard number > 240 else { return }
            model.isClosedHere = true
            connection = nil
        }
    }

    /// A callback does what is next of what was planned.
    func interfere(with log: ArrivalLog?) {
        guard !isInCallback, !planned.isEmpty, let connection else { return }
        isInCallback = true
        defer { isInCallback = false }
        let number = planned.removeFirst()
        trace("interference \(number % 12) with \(number)")
        log?.isUncertain = true
        model.isUncertain = true
        switch number % 12 {
        case 0: startClosing(number)
        case 1:
            (model.isClosedHere, model.isAbortedHere, mayLose) = (true, true, true)
            connection.writer?.startAborting()
        case 2: touchWatch(number | 2)
        case 3: setContext(number / 12)
        case 4: dropOne(255)
        case 5: addWatch(number / 12, number)
        case 6: addSequence(number / 12, number)
        case 7: dropOne(number / 12)
        case 8: write(number / 12, 0)
        case 9: replaceStreams(number / 12)
        case 10: addListener(number / 12, number)
        default: gate.open(1)
        }
    }
}
