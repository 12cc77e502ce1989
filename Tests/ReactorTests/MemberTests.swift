// Members, tokens and readiness: an event finds whom it is for or nobody, whoever closes what and
// when. Members here are eventfds, which are ready at once and cost no peer.

import CEpoll
import Glibc
import Sluice
import SluiceTestKit
import Testing

/// eventfd(2), which Glibc does not import; its flags are those of open(2).
private func makeEventfd(_ initial: UInt32) -> Int32 {
    let kernel = ce_system_kernel().pointee
    return kernel.eventfd(kernel.state, initial, O_NONBLOCK | O_CLOEXEC)
}

/// A registered eventfd that tells its test what the loop called.
// @unchecked Sendable by LoopMember: used on the loop's thread alone.
private final class Eventfd: LoopMember, @unchecked Sendable {
    private(set) var fd: Int32
    private(set) var isOpen = true
    var onReady: (Eventfd) -> Void = { _ in }
    var onTimer: (Eventfd) -> Void = { _ in }
    var onFlush: (Eventfd) -> Void = { _ in }
    /// Calls of the loop that came although this member was closed.
    var strayCalls = 0
    var calls = 0

    init(loop: EventLoop, isReady: Bool = true) {
        fd = makeEventfd(isReady ? 1 : 0)
        super.init(loop: loop)
        register()
    }

    /// Registers a descriptor that takes the number of another one in one step, as when the number
    /// is used again at once.
    init(replacing other: Int32, loop: EventLoop) {
        fd = other
        super.init(loop: loop)
        let fresh = makeEventfd(0)
        dup2(fresh, other)
        Glibc.close(fresh)
        register()
    }

    private func register() {
        loop.admit(self)
        let interest = CE_WANT_IN.rawValue | CE_WANT_OUT.rawValue | CE_EDGE.rawValue
        precondition(ce_add(loop.reactor, fd, interest, token) == 0)
    }

    /// As a transport closes: leaves everything that knows it, then the descriptor goes.
    func close(keepingDescriptor: Bool = false) {
        guard isOpen else { return }
        isOpen = false
        loop.withdraw(self)
        ce_remove(loop.reactor, fd)
        if !keepingDescriptor { Glibc.close(fd) }
        loop.dismiss(self)
    }

    /// Writing to an eventfd makes an edge.
    func trigger() {
        var one: UInt64 = 1
        if isOpen { _ = write(fd, &one, 8) }
    }

    private func called(_ then: (Eventfd) -> Void) {
        calls += 1
        if isOpen { then(self) } else { strayCalls += 1 }
    }

    override func becameReady(_ ready: UInt32) { called(onReady) }
    override func timerFired(_ purpose: UInt32) { called(onTimer) }
    override func flushOutput() { called(onFlush) }
    override func loopStopped() { close() }
}

@Suite struct TokenTests {
    /// Two descriptors are ready in one batch. Whoever is called first closes the other one and
    /// registers a new descriptor under the same number: the batch's second event is for nobody.
    /// A million rounds with SLUICE_LONG=1.
    @Test func `an event for a descriptor closed and used again in the same batch finds nobody`()
        async throws
    {
        let rounds = isLongRun ? 1_000_000 : 5_000
        try await withLoop(deadline: .seconds(300)) { loop in
            let misdelivered = LoopBound(0)
            let replaced = LoopBound(0)
            for _ in 0..<rounds {
                let born = LoopBound<Eventfd?>(nil)
                let pair = [Eventfd(loop: loop), Eventfd(loop: loop)]
                for (index, member) in pair.enumerated() {
                    member.onReady = { _ in
                        guard born.withValue({ $0 }) == nil else { return }
                        let other = pair[1 - index]
                        let number = other.fd
                        other.close(keepingDescriptor: true)
                        let fresh = Eventfd(replacing: number, loop: member.loop)
                        // The new one is writable, which is an edge of its own, but not in this
                        // batch.
                        let turn = member.loop.turnNumber
                        fresh.onReady = { fresh in
                            if fresh.loop.turnNumber == turn { misdelivered.withValue { $0 += 1 } }
                        }
                        born.withValue { $0 = fresh }
                        replaced.withValue { $0 += 1 }
                    }
                }
                await EventLoop.yield()
                await EventLoop.yield()
                for member in pair {
                    if member.strayCalls > 0 { misdelivered.withValue { $0 += 1 } }
                    member.close()
                    member.onReady = { _ in }
                }
                born.withValue { $0 }?.close()
            }
            #expect(misdelivered.withValue { $0 } == 0)
            #expect(replaced.withValue { $0 } == rounds)
        }
    }

    @Test func `tokens are never 0, never the shim's own, and not given out twice`() async throws {
        try await withLoop { loop in
            var seen: Set<UInt64> = []
            for _ in 0..<2_000 {
                let member = LoopMember(loop: loop)
                loop.admit(member)
                #expect(member.token != 0 && member.token != UInt64.max)
                #expect(seen.insert(member.token).inserted)
                loop.dismiss(member)
                #expect(member.token == 0)
            }
        }
    }

    @Test func `a loop keeps its members alive until they are dismissed`() async throws {
        try await withLoop { loop in
            weak var kept: LoopMember?
            var held: LoopMember? = LoopMember(loop: loop)
            kept = held
            held.map(loop.admit)
            held = nil
            #expect(kept != nil)
            kept.map(loop.dismiss)
            #expect(kept == nil)
        }
    }
}

@Suite struct MemberTests {
    /// Members that trigger, arm, list and close each other at random in every kind of callback. A
    /// closed one must never be called again. A million callbacks with SLUICE_LONG=1.
    @Test func `closing any member from any callback is safe`() async throws {
        let callbacks = isLongRun ? 1_000_000 : 20_000
        let seed = SeededGenerator().seed
        try await withLoop(deadline: .seconds(300)) { loop in
            let zoo = Zoo(loop: loop, generator: SeededGenerator(seed: seed))
            while zoo.calls < callbacks {
                zoo.fill()
                await EventLoop.yield()
            }
            zoo.clear()
            await EventLoop.yield()
            #expect(zoo.strayCalls == 0, "seed \(seed)")
        }
    }

    @Test func `a member on the flush list is flushed once in a turn, and not after its close`()
        async throws
    {
        try await withLoop { loop in
            let one = Eventfd(loop: loop, isReady: false)
            let two = Eventfd(loop: loop, isReady: false)
            let flushed = LoopBound(0)
            one.onFlush = { _ in
                flushed.withValue { $0 += 1 }
                two.close()
            }
            for _ in 0..<3 {
                loop.listForFlush(one)
                loop.listForFlush(two)
            }
            // The edges of being writable came with the registration.
            let strayBefore = two.strayCalls
            await EventLoop.yield()
            #expect(flushed.withValue { $0 } == 1)
            #expect(two.strayCalls == strayBefore)
            #expect(!two.isOpen)
            one.close()
        }
    }

    @Test func `a stopping loop tells every member`() async throws {
        try await withDeadline {
            let faults = FaultTable()
            let loop = try startLoop(faults: faults)
            let members = try await loop.spawn {
                (0..<10).map { _ in Eventfd(loop: loop, isReady: false) }
            }.value
            await loop.stop()
            #expect(members.allSatisfy { !$0.isOpen })
        }
    }
}

/// A population of members that do random things to each other.
private final class Zoo {
    private let loop: EventLoop
    private var generator: SeededGenerator
    private var members: [Eventfd] = []
    private var closedCalls = 0
    private(set) var calls = 0

    init(loop: EventLoop, generator: SeededGenerator) {
        self.loop = loop
        self.generator = generator
    }

    var strayCalls: Int { closedCalls + members.reduce(0) { $0 + $1.strayCalls } }

    func fill() {
        while members.count < 20 {
            let member = Eventfd(loop: loop)
            member.onReady = { [unowned self] in act($0) }
            member.onTimer = { [unowned self] in act($0) }
            member.onFlush = { [unowned self] in act($0) }
            members.append(member)
        }
        members.randomElement(using: &generator)?.trigger()
    }

    func clear() {
        while let member = members.last { remove(member) }
    }

    private func act(_ current: Eventfd) {
        calls += 1
        for _ in 0..<2 {
            let member = members.randomElement(using: &generator) ?? current
            switch Int.random(in: 0..<8, using: &generator) {
            case 0: remove(member)
            case 1: remove(current)
            case 2: if members.count < 30 { fill() }
            case 3, 4: if member.isOpen { loop.listForFlush(member) }
            case 5:
                guard member.isOpen else { break }
                let timer = loop.arm(member, purpose: 1, deadline: loop.now())
                // What a member arms it disarms at its close; here the close is always first.
                timers[ObjectIdentifier(member), default: []].append(timer)
            default: member.trigger()
            }
        }
    }

    private var timers: [ObjectIdentifier: [TimerToken]] = [:]

    private func remove(_ member: Eventfd) {
        guard let index = members.firstIndex(where: { $0 === member }) else { return }
        for timer in timers.removeValue(forKey: ObjectIdentifier(member)) ?? [] {
            loop.disarm(timer)
        }
        members.remove(at: index)
        closedCalls += member.strayCalls
        member.close()
    }
}
