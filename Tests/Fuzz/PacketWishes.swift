// What a script has others do with its packet connection: watch, iterate, listen. Each tells the
// model what it was shown and given.

import Sluice
@testable import SluicePackets
@testable import SluiceReactor
@testable import SluiceStreams

/// A watch of any kind.
struct AnyWatch: Sendable {
    let next: @Sendable () async throws(PacketError) -> (any Packet)?
    let cancel: @Sendable () -> Void
    let log: ArrivalLog
}

/// A sequence of any kind.
struct AnySequence: Sendable {
    let next: @Sendable () async throws(PacketError) -> (any Packet)?
    let log: ArrivalLog
}

extension ConnectionScript {
    /// Which packets are accepted; the model is told of each, and some interfere.
    func accepting<T: Sendable>(
        _ log: ArrivalLog, _ modulus: Int
    ) -> @Sendable (T) -> Bool {
        { [model, weak self] packet in
            guard let packet = packet as? any Packet else { return false }
            let place = model.arrives(packet, for: log)
            trace("a \(log.kind) is shown \(String(describing: place)): \(packet)")
            let isWanted = (place ?? 0) % modulus == 0
            self?.interfere(with: log)
            if isWanted, let place {
                log.accepted.append(place)
                log.acceptedAt = model.pump?.counts.received ?? 0
                model.see(place)
            }
            return isWanted
        }
    }

    /// - Parameter seesPresent: made in the middle of a delivery, it may see what is delivered.
    func makeLog(_ kind: ArrivalKind, seesPresent: Bool = false) -> ArrivalLog {
        ArrivalLog(
            kind, next: isInCallback ? model.afterPresent : model.upcoming,
            isInMiddle: isInCallback && seesPresent)
    }

    /// Who was woken by a packet, not by a cancellation, runs before the next one is decoded.
    private func checkPromptness(_ log: ArrivalLog) {
        guard !log.isUncertain, !Task.isCancelled, log.acceptedAt != model.pump?.counts.received
        else { return }
        fail("connections: a packet was decoded before who waited for the last one has run")
    }

    /// Checks what a wait has thrown.
    func check(_ error: PacketError, isTimed: Bool = false, isShared: Bool = false) {
        switch error {
        case .stream(.cancelled):
            guard Task.isCancelled else { fail("connections: cancelled by nobody") }
        case .stream(.timedOut):
            guard isTimed else { fail("connections: timed out without a deadline") }
        case .busy:
            guard isShared else { fail("connections: busy") }
        default: model.checkEnd(error)
        }
    }

    // MARK: Watches

    func addWatch(_ kind: Int, _ number: Int) {
        switch ArrivalKind(rawValue: kind % 6) ?? .any {
        case .any: addWatch((any Packet).self, .any, number)
        case .asked: addWatch(Asked.self, .asked, number)
        case .noted: addWatch(Noted.self, .noted, number)
        case .numbered: addWatch((any Numbered).self, .numbered, number)
        case .stated: addWatch(Stated.self, .stated, number)
        case .unknown: addWatch(UnknownPacket.self, .unknown, number)
        }
    }

    private func addWatch<T: Sendable>(_ type: T.Type, _ kind: ArrivalKind, _ number: Int) {
        guard let connection else { return }
        let log = makeLog(kind)
        let within: Duration? = [nil, nil, .zero, .seconds(3_600)][number & 3]
        let watch = connection.watch(
            for: type, where: accepting(log, 1 + number >> 2 & 3), within: within)
        if connection.pump.watches.contains(where: { $0.kind == type }),
            !connection.isWatching(for: type)
        {
            fail("connections: a watch is not known")
        }
        let any = AnyWatch(
            next: { () throws(PacketError) in try await watch.next() as? any Packet },
            cancel: {
                log.isUncertain = true
                watch.cancel()
            }, log: log)
        if number & 0x80 == 0 { watches.append(any) }
        if number & 0x10 == 0 { wait(for: any, number) }
    }

    /// Waits for a watch, and then perhaps for another packet, so that it misses nothing.
    private func wait(for watch: AnyWatch, _ number: Int) {
        spawn { [self] connection in
            let mayBePrompt = watch.log.accepted.isEmpty
            do throws(PacketError) {
                guard let packet = try await watch.next() else { return checkEnd(of: watch) }
                if mayBePrompt { checkPromptness(watch.log) }
                check(packet, watch)
            } catch {
                if error != .busy { watch.log.isUncertain = true }
                return check(error, isTimed: true, isShared: true)
            }
            guard number & 0x20 != 0, self.connection === connection else { return }
            addWatch(watch.log.kind.rawValue, number & ~0x22)
        }
    }

    private func check(_ packet: any Packet, _ watch: AnyWatch) {
        defer { watch.log.isUncertain = true }
        guard !watch.log.isUncertain, let place = SentPacket.number(of: packet) else { return }
        if watch.log.accepted != [place] {
            fail("connections: a watch accepted \(watch.log.accepted) and gave \(packet)")
        }
    }

    private func checkEnd(of watch: AnyWatch) {
        // Nothing more is known of one that was cancelled or given out.
        guard !watch.log.isUncertain else { return }
        model.checkOrderlyEnd()
        if !model.isClosedHere { model.checkNoneMissed(watch.log, before: model.upcoming) }
        if !watch.log.accepted.isEmpty { fail("connections: a watch has lost its packet") }
    }

    func touchWatch(_ number: Int) {
        guard !watches.isEmpty else { return }
        let watch = watches[number / 4 % watches.count]
        switch number % 4 {
        case 0, 1: wait(for: watch, number)
        case 2:
            // What it has accepted may not be given out.
            model.isUncertain = true
            watch.cancel()
        default: watches.remove(at: number / 4 % watches.count)
        }
    }

    // MARK: Sequences

    func addSequence(_ kind: Int, _ number: Int) {
        if number & 0x80 != 0, let last = sequences.last { return iterate(last, number) }
        switch ArrivalKind(rawValue: kind % 6) ?? .any {
        case .any: addSequence((any Packet).self, .any, number)
        case .asked: addSequence(Asked.self, .asked, number)
        case .noted: addSequence(Noted.self, .noted, number)
        case .numbered: addSequence((any Numbered).self, .numbered, number)
        case .stated: addSequence(Stated.self, .stated, number)
        case .unknown: addSequence(UnknownPacket.self, .unknown, number)
        }
    }

    private func addSequence<T: Sendable>(_ type: T.Type, _ kind: ArrivalKind, _ number: Int) {
        guard let connection else { return }
        let log = makeLog(kind)
        let sequence = connection.packets(
            of: type, buffering: 1 + number & 3, where: accepting(log, 1 + number >> 2 & 1))
        let any = AnySequence(
            next: { () throws(PacketError) in
                var iterator = sequence.makeAsyncIterator()
                return try await iterator.next() as? any Packet
            }, log: log)
        if number & 0x20 == 0 { sequences.append(any) }
        if number & 0x10 == 0 { iterate(any, number) }
    }

    private func iterate(_ sequence: AnySequence, _ number: Int) {
        spawn { [self] _ in
            for _ in 0..<(number & 0x40 == 0 ? Int.max : 2) {
                let mayBePrompt = sequence.log.accepted.isEmpty
                do throws(PacketError) {
                    guard let packet = try await sequence.next() else {
                        return checkEnd(of: sequence)
                    }
                    if mayBePrompt, sequence.log.accepted.count == 1 {
                        checkPromptness(sequence.log)
                    }
                    check(packet, sequence.log)
                } catch {
                    return check(error, isShared: true)
                }
                if number & 0x08 != 0 { await gate.wait() }
            }
        }
    }

    private func check(_ packet: any Packet, _ log: ArrivalLog) {
        guard !log.isUncertain, let place = SentPacket.number(of: packet) else { return }
        guard log.accepted.first == place else {
            fail("connections: a sequence accepted \(log.accepted) and gave \(packet)")
        }
        log.accepted.removeFirst()
    }

    private func checkEnd(of sequence: AnySequence) {
        model.checkOrderlyEnd()
        guard !sequence.log.isUncertain, !model.isClosedHere else { return }
        model.checkNoneMissed(sequence.log, before: model.upcoming)
        if !sequence.log.accepted.isEmpty {
            fail("connections: a sequence keeps \(sequence.log.accepted)")
        }
    }

    // MARK: Loops and listeners

    /// A loop over all packets: to the end, or to a break; its iterator may stay.
    func iterate(_ kind: Int, _ number: Int) {
        let kept = number & 0x80 != 0 && !iterators.isEmpty ? iterators.removeLast() : nil
        spawn { [self] connection in
            var iterator = kept ?? connection.packets.makeAsyncIterator()
            var previous: Int?
            for _ in 0..<(number & 3 == 0 ? Int.max : number & 3) {
                do throws(PacketError) {
                    guard let packet = try await next(&iterator, isTimed: number & 0x40 != 0)
                    else { return model.checkOrderlyEnd() }
                    previous = model.take(packet, after: previous)
                } catch {
                    return check(error, isTimed: number & 0x40 != 0, isShared: true)
                }
                if number & 0x04 != 0 { await gate.wait() }
                if number & 0x08 != 0 { await EventLoop.yield() }
            }
            if number & 0x10 != 0, !isEnding { iterators.append(iterator) }
        }
    }

    /// The next packet; perhaps with a deadline, after which another try loses nothing.
    private func next(
        _ iterator: inout ConnectionPackets.Iterator, isTimed: Bool
    ) async throws(PacketError) -> (any Packet)? {
        guard isTimed else { return try await iterator.next() }
        do {
            return try await withTimeout(.nanoseconds(1)) { try await iterator.next() }
        } catch let error as PacketError {
            guard error == .stream(.timedOut) else { throw error }
            return try await iterator.next()
        } catch {
            fail("connections: a wait threw \(error)")
        }
    }

    func addListener(_ kind: Int, _ number: Int) {
        switch kind % 4 {
        case 0: addListener((any Packet).self, .any, number)
        case 1: addListener(Asked.self, .asked, number)
        case 2: addListener(Noted.self, .noted, number)
        default: addListener((any Numbered).self, .numbered, number)
        }
    }

    private func addListener<T: Sendable>(_ type: T.Type, _ kind: ArrivalKind, _ number: Int) {
        let log = makeLog(kind, seesPresent: true)
        connection?.on(type) { [weak self] packet in
            guard let packet = packet as? any Packet else { return }
            try await self?.hear(packet, log, number)
        }
    }

    private func hear(_ packet: any Packet, _ log: ArrivalLog, _ number: Int) async throws {
        model.arrivesLater(packet, for: log)
        let pump = model.pump
        let received = pump?.counts.received
        if number & 1 != 0 { await gate.wait() }
        if number & 2 != 0 { await EventLoop.yield() }
        interfere(with: nil)
        if received != pump?.counts.received {
            fail("connections: a packet was decoded while a listener ran")
        }
        if number & 0x7C == 0x7C {
            model.hasThrown = true
            throw FuzzedFailure()
        }
    }
}

struct FuzzedFailure: Error {}
