// FileReceiver: stores the files that clients send.
//
//   swift run FileReceiver [port] [folder]   prints "listening on 127.0.0.1:8891"; stores in the
//                                            folder "received" unless told otherwise
//   printf '\0\0\0\0\0\0\0\5hello' | nc -N 127.0.0.1 8891    prints "1 5"
//
// A file is its length, 8 bytes with the most significant first, and its bytes. When it is stored
// the client is told its name, which is a number, and its length; then the next one may come.
// While the disk is busy nothing is read, so the client waits. SIGTERM or Ctrl-C lets clients
// finish, a second one does not.

import Glibc
import Sluice

/// A file of which a part has arrived. Unless it is kept, it goes when this does.
final class PartialFile: Sendable {
    private let path: String
    private let fd: Int32

    /// Blocks, as the other calls do.
    init(_ path: String) throws(SystemError) {
        self.path = path
        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard fd >= 0 else { throw SystemError(call: "open", errno: errno) }
    }

    deinit {
        close(fd)
        unlink(path)
    }

    func append(_ bytes: [UInt8]) throws(SystemError) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { write(fd, $0.baseAddress, $0.count) }
            guard count >= 0 || errno == EINTR else {
                throw SystemError(call: "write", errno: errno)
            }
            rest = rest.dropFirst(max(0, count))
        }
    }

    /// Gives the file a name that no other file has: it is there with all its bytes or not at all.
    func keep(as name: String) throws(SystemError) {
        guard fsync(fd) == 0 else { throw SystemError(call: "fsync", errno: errno) }
        guard link(path, name) == 0 else { throw SystemError(call: "link", errno: errno) }
        unlink(path)
    }
}

struct Receiver {
    static let lengthMax: UInt64 = 1 << 32
    static let chunk = 1 << 18
    let folder: String
    private let lastNumber = LoopBound(0)

    /// One client: file after file.
    func serve(_ reader: StreamReader, _ writer: StreamWriter) async throws {
        while try await reader.hasMore() {
            let length: UInt64 = try await reader.readInteger()
            guard length <= Self.lengthMax else {
                return try await writer.send("too long: \(length) bytes\n")
            }
            let number = lastNumber.withValue { number in
                repeat { number += 1 } while access(folder + "/\(number)", F_OK) == 0
                return number
            }
            let (name, path) = (folder + "/\(number)", folder + "/\(number).part")
            let file = try await offload { try PartialFile(path) }
            var left = Int(length)
            while left > 0 {
                let bytes = try await reader.readExactly(min(left, Self.chunk))
                try await offload { try file.append(bytes) }
                left -= bytes.count
            }
            try await offload { try file.keep(as: name) }
            try await writer.send("\(number) \(length)\n")
        }
    }
}

let arguments = CommandLine.arguments.dropFirst()
let folder = arguments.dropFirst().first ?? "received"
guard let port = Int(arguments.first ?? "8891"), mkdir(folder, 0o700) == 0 || errno == EEXIST else {
    print("usage: FileReceiver [port] [folder]")
    exit(2)
}
let server = try await startServer(port: port, handler: Receiver(folder: folder).serve)
print("listening on \(server.addresses[0])")
fflush(nil)  // standard output may be a pipe
let counts = try await server.serveForever(until: [.terminate, .interrupt])
exit(counts?.allFinished == false ? 1 : 0)
