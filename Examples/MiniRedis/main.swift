// MiniRedis: PING ECHO SET (with EX or PX) GET DEL INCR EXPIRE, as Redis has them, in memory.
//
//   swift run MiniRedis [port]             prints "listening on 127.0.0.1:6380"; port 0: a free one
//   redis-cli -p 6380 set greeting hello   prints OK; then "redis-cli -p 6380 get greeting": hello
//   redis-benchmark -p 6380 -P 16 -t ping,set,get
//
// What has arrived is executed in one go, so its replies leave in one system call. A key goes when
// it is asked for after its time. SIGTERM or Ctrl-C lets clients finish, a second one does not.

import Glibc
import Sluice

/// The client does not speak the protocol: it is told so, and not listened to any more.
struct Malformed: Error { let text: String }

/// What a client has sent and was not executed yet.
struct Requests {
    static let bulkMax = 512 << 10, argumentsMax = 1_024, lineMax = 64 << 10, requestMax = 1 << 20
    private var (bytes, start): ([UInt8], Int) = ([], 0)

    mutating func append(_ more: [UInt8]) {
        bytes.removeFirst(start)
        start = 0
        if bytes.isEmpty { bytes = more } else { bytes += more }
    }

    /// The arguments of the next request, `nil` if it has not all arrived.
    mutating func next() throws(Malformed) -> [ArraySlice<UInt8>]? {
        guard case (let lineEnd, var end)? = try line(at: start) else { return nil }
        let isInline = bytes[start] != UInt8(ascii: "*")
        var arguments = isInline ? bytes[start..<lineEnd].split(separator: UInt8(ascii: " ")) : []
        let count = isInline ? arguments.count : integer(bytes[start + 1..<lineEnd]) ?? .max
        guard count <= Self.argumentsMax else { throw Malformed(text: "too many arguments") }
        while arguments.count < count {
            guard let (sizeEnd, begin) = try line(at: end) else { return nil }
            guard bytes[end] == UInt8(ascii: "$"), let length = integer(bytes[end + 1..<sizeEnd]),
                (0...Self.bulkMax).contains(length), begin + length - start < Self.requestMax
            else { throw Malformed(text: "invalid bulk length") }
            end = begin + length + 2
            guard bytes.count >= end else { return nil }
            guard bytes[end - 2] == 13, bytes[end - 1] == 10 else {
                throw Malformed(text: "no CRLF")
            }
            arguments.append(bytes[begin..<begin + length])
        }
        start = end
        return arguments
    }

    /// The end of a line without CR and LF, and where the next one begins.
    private func line(at index: Int) throws(Malformed) -> (Int, Int)? {
        guard let end = bytes[index...].prefix(Self.lineMax).firstIndex(of: 10) else {
            if bytes.count - index < Self.lineMax { return nil }
            throw Malformed(text: "too big inline request")
        }
        return (end > index && bytes[end - 1] == 13 ? end - 1 : end, end + 1)
    }
}

/// A value and, by `age`, the end of its time.
struct Entry {
    var value: [UInt8], end: Duration? = nil
    static let began = ContinuousClock.now
    static var age: Duration { began.duration(to: .now) }
}

struct Database {
    private static let (ok, pong, nothing) = (line("+OK"), line("+PONG"), line("$-1"))
    private static let badNumber = line("-ERR value is not an integer or out of range")
    private var entries: [[UInt8]: Entry] = [:]

    mutating func reply(to arguments: [ArraySlice<UInt8>]) -> [UInt8] {
        guard let first = arguments.first else { return [] }
        let name = String(decoding: first, as: UTF8.self).uppercased()
        switch (name, arguments.count) {
        case ("PING", 1): return Self.pong
        case ("PING", 2), ("ECHO", 2): return bulk(arguments[1])
        case ("GET", 2): return value(of: Array(arguments[1])).map { bulk($0[...]) } ?? Self.nothing
        case ("SET", 3), ("SET", 5):
            let end = arguments.count == 5 ? time(arguments[3], arguments[4]) : nil
            guard arguments.count == 3 || end != nil else { return Self.badNumber }
            entries[Array(arguments[1])] = Entry(value: Array(arguments[2]), end: end)
            return Self.ok
        case ("DEL", 2...):
            let there = Set(arguments.dropFirst().map(Array.init)).filter { value(of: $0) != nil }
            for key in there { entries[key] = nil }
            return line(":\(there.count)")
        case ("INCR", 2):
            let key = Array(arguments[1])
            let number = integer(value(of: key)?[...] ?? [UInt8(ascii: "0")])
            guard let number, number < .max else { return Self.badNumber }
            entries[key, default: Entry(value: [])].value = Array("\(number + 1)".utf8)
            return line(":\(number + 1)")
        case ("EXPIRE", 3):
            guard let end = time(Array("EX".utf8)[...], arguments[2]) else { return Self.badNumber }
            let isThere = value(of: Array(arguments[1])) != nil
            if isThere { entries[Array(arguments[1])]?.end = end }
            return line(isThere ? ":1" : ":0")
        case ("CONFIG", _), ("COMMAND", _): return line("*0")
        default:
            let shown = name.filter(\.isLetter).prefix(32)
            return line("-ERR unknown command or wrong number of arguments: \(shown)")
        }
    }

    private mutating func value(of key: [UInt8]) -> [UInt8]? {
        guard let entry = entries[key] else { return nil }
        guard let end = entry.end, end <= Entry.age else { return entry.value }
        entries[key] = nil
        return nil
    }
}

func line(_ text: String) -> [UInt8] { Array("\(text)\r\n".utf8) }

func bulk(_ bytes: ArraySlice<UInt8>) -> [UInt8] { line("$\(bytes.count)") + bytes + [13, 10] }

func integer(_ text: ArraySlice<UInt8>) -> Int? {
    text.first == UInt8(ascii: "+") ? nil : Int(String(decoding: text, as: UTF8.self))
}

/// When so many seconds (EX) or milliseconds (PX) are over.
func time(_ unit: ArraySlice<UInt8>, _ text: ArraySlice<UInt8>) -> Duration? {
    guard let count = integer(text), (-1 << 40..<1 << 40).contains(count) else { return nil }
    let lengths: [String: Duration] = ["EX": .seconds(count), "PX": .milliseconds(count)]
    return lengths[String(decoding: unit, as: UTF8.self).uppercased()].map { Entry.age + $0 }
}

guard let port = Int(CommandLine.arguments.dropFirst().first ?? "6380") else {
    print("usage: MiniRedis [port]")
    exit(2)
}
let database = LoopBound(Database())
let server = try await startServer(port: port) { [database] reader, writer in
    var requests = Requests()
    while let bytes = try await reader.read() {
        requests.append(bytes)
        do {
            while let arguments = try requests.next() {
                try await writer.send(database.withValue { $0.reply(to: arguments) })
            }
        } catch let error as Malformed {
            return try await writer.send(line("-ERR Protocol error: \(error.text)"))
        }
    }
}
print("listening on \(server.addresses[0])")
fflush(nil)  // standard output may be a pipe
let counts = try await server.serveForever(until: [.terminate, .interrupt])
exit(counts?.allFinished == false ? 1 : 0)
