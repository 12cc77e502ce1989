// Boxes for a codec whose type the endpoint that owns it hides behind a closure. Floor 3; on the
// endpoint's loop.
//
// A closure, since its body is specialised where the endpoint is made; a virtual method of a
// generic class never is, and would ask the runtime for types at every packet. What changes with
// each packet lies behind a pointer: fields of a class would be checked for exclusive access at
// every use.

public import SluiceStreams

@usableFromInline
struct DecoderState<D: PacketDecoder> {
    @usableFromInline var decoder: D
    /// Bytes that have to be there before the decoder is worth asking again.
    @usableFromInline var wanted = 1
    /// Nothing can be decoded any more.
    @usableFromInline var isPoisoned = false
    /// What the receive in progress has come to, until it is taken.
    @usableFromInline var outcome: Result<D.Received?, PacketError>?

    @inlinable
    init(_ decoder: D) { self.decoder = decoder }
}

@usableFromInline
final class DecoderBox<D: PacketDecoder> {
    @usableFromInline let state: UnsafeMutablePointer<DecoderState<D>>

    @inlinable
    init(_ decoder: D) {
        state = .allocate(capacity: 1)
        state.initialize(to: DecoderState(decoder))
    }

    @inlinable
    deinit {
        state.deinitialize(count: 1)
        state.deallocate()
    }

    /// A packet out of the buffered bytes, if there is a whole one.
    @inlinable
    func next(from reader: StreamReader) throws(PacketError) -> D.Received? {
        if state.pointee.isPoisoned { throw .desynchronized }
        let bytes = reader.undecoded
        guard bytes.count >= state.pointee.wanted else { return nil }
        let step = state.pointee.decoder.decode(bytes.bytes)
        switch step {
        case .packet(let packet, let used):
            packetEnded(used, reader)
            return packet
        case .more(let missing, let used):
            moreIsMissing(missing, used: used, of: bytes.count, reader)
            return nil
        case .malformed(let error, let used):
            packetEnded(used, reader)
            throw error
        case .poisoned(let error):
            state.pointee.isPoisoned = true
            throw error
        }
    }

    /// What the buffered bytes are if no more come; `nil` without any.
    @inlinable
    func last(from reader: StreamReader) throws(PacketError) -> D.Received? {
        let bytes = reader.undecoded
        guard !bytes.isEmpty || state.pointee.decoder.isGathering else { return nil }
        switch state.pointee.decoder.decodeEnd(bytes.bytes) {
        case .packet(let packet, let used):
            packetEnded(used, reader)
            return packet
        case .more(_, let used):
            packetEnded(bytes.count, reader)
            throw .truncated(received: bytes.count - used)
        case .malformed(let error, let used):
            packetEnded(min(max(1, used), bytes.count), reader)
            throw error
        case .poisoned(let error):
            state.pointee.isPoisoned = true
            throw error
        }
    }

    /// One receive, into the buffer or straight into the decoder's storage.
    @inlinable
    func fill(from reader: StreamReader) throws(StreamError) -> StreamReader.Filling {
        // What lies in the buffer comes before what would be received past it.
        guard state.pointee.decoder.isGathering, reader.undecoded.isEmpty else {
            return try reader.fillBuffer()
        }
        return try reader.fill { receive in state.pointee.decoder.gather(receive) }
    }

    /// Decodes and receives by turns, without a wait, until there is an outcome.
    ///
    /// - Parameter failure: of the wait since the last attempt, or of the beginning; it is the
    ///   outcome then.
    /// - Returns: `bytes` if there is one, else what to wait for.
    @inlinable
    func attempt(_ reader: StreamReader, after failure: (any Error)?) -> StreamReader.Filling {
        if let failure { return came(to: .failure(PacketError(ofReceive: failure))) }
        while true {
            do throws(PacketError) {
                if let packet = try next(from: reader) { return came(to: .success(packet)) }
            } catch {
                return came(to: .failure(error))
            }
            do throws(StreamError) {
                let filling = try fill(from: reader)
                if filling == .end { break }
                if filling != .bytes { return filling }
            } catch {
                return came(to: .failure(.stream(error)))
            }
        }
        do throws(PacketError) { return came(to: .success(try last(from: reader))) } catch {
            return came(to: .failure(error))
        }
    }

    @inlinable
    func came(to outcome: Result<D.Received?, PacketError>) -> StreamReader.Filling {
        state.pointee.outcome = outcome
        return .bytes
    }

    /// Takes the outcome of the attempt that had one.
    @inlinable
    func takeOutcome() throws(PacketError) -> D.Received? {
        let outcome = state.pointee.outcome
        state.pointee.outcome = nil
        return try outcome?.get()
    }

    @inlinable
    func moreIsMissing(_ missing: Int, used: Int, of count: Int, _ reader: StreamReader) {
        let isGathering = state.pointee.decoder.isGathering
        let rest = count - used
        // What is used with nothing behind it came between two packets.
        if isGathering || rest > 0 { reader.markBegun(used) } else { reader.markDecoded(used) }
        // It may become whole without a byte in the buffer.
        if isGathering { return state.pointee.wanted = 0 }
        // Compared before it is added: a length from the wire may be anything.
        state.pointee.wanted = missing < Int.max - rest ? rest + max(1, missing) : .max
    }

    @inlinable
    func packetEnded(_ used: Int, _ reader: StreamReader) {
        reader.packetEnded(used)
        state.pointee.wanted = 1
    }
}

@usableFromInline
final class EncoderBox<E: PacketEncoder> {
    @usableFromInline let encoder: UnsafeMutablePointer<E>

    @inlinable
    init(_ encoder: E) {
        self.encoder = .allocate(capacity: 1)
        self.encoder.initialize(to: encoder)
    }

    @inlinable
    deinit {
        encoder.deinitialize(count: 1)
        encoder.deallocate()
    }

    /// Queues a packet whole, or throws and queues nothing.
    @inlinable
    func write(_ packet: E.Sent, to writer: StreamWriter) throws(PacketError) {
        var output = try PacketOutput(of: writer)
        do throws(PacketError) {
            try encoder.pointee.encode(packet, into: &output)
        } catch {
            output.removeAll()
            throw error
        }
        output.leave(by: writer)
    }
}
