// Kinds of streams that come from elsewhere: Unix sockets, adopted socket pairs, stapled pipes; and
// what their tests share.

import Glibc
import Sluice
import SluiceTestKit
import Testing

/// The kinds of streams besides those of `PairKind`.
enum AdoptedKind: String, CaseIterable, Sendable, CustomTestStringConvertible {
    case unixPath
    case unixAbstract
    case socketPair
    case pipes

    var testDescription: String { rawValue }

    /// Two connected ends.
    func makePair(options: StreamOptions = .init()) async throws -> (StreamEnd, StreamEnd) {
        switch self {
        case .unixPath:
            return try await withDirectory { directory in
                try await makeUnixPair(.unix(path: directory + "/s"), options) {
                    try await openUnixConnection(path: directory + "/s", options: options)
                }
            }
        case .unixAbstract:
            let name = freshName()
            return try await makeUnixPair(.abstract(name), options) {
                try await openUnixConnection(abstract: name, options: options)
            }
        case .socketPair:
            let (left, right) = try makeSocketPair()
            return (
                StreamEnd(try await adoptSocket(left, options: options)),
                StreamEnd(try await adoptSocket(right, options: options))
            )
        case .pipes:
            let (there, back) = (try makePipe(), try makePipe())
            return (
                StreamEnd(
                    try await adoptPipes(
                        reading: back.reading, writing: there.writing, options: options)),
                StreamEnd(
                    try await adoptPipes(
                        reading: there.reading, writing: back.writing, options: options))
            )
        }
    }

    /// Two connected ends, of which the first has more queued than the far one takes unread.
    func makeCloggedPair() async throws -> (near: StreamEnd, far: StreamEnd, queued: Int) {
        var options = StreamOptions()
        options.highWaterMark = 4_096
        options.lowWaterMark = 1_024
        let (near, far) = try await makePair(options: options)
        if self != .pipes {
            try near.writer.setSocketOption(level: SOL_SOCKET, name: SO_SNDBUF, value: 16_384)
        }
        return (near, far, try await clog(near.writer, highWaterMark: options.highWaterMark))
    }
}

/// The first end connected, the second was accepted; the server is closed already.
private func makeUnixPair(
    _ address: ListenAddress, _ options: StreamOptions,
    connect: () async throws -> StreamPair
) async throws -> (StreamEnd, StreamEnd) {
    var serverOptions = ServerOptions()
    serverOptions.stream = options
    let accepted = Handover<StreamEnd>()
    let server = try await startServer(address, options: serverOptions) {
        (reader: StreamReader, writer: StreamWriter) -> Void in
        accepted.give(StreamEnd((reader, writer)))
    }
    let near = StreamEnd(try await connect())
    try await eventually("the connection is accepted") { accepted.hasValue }
    await server.close()
    return (near, accepted.take())
}

/// Runs the body with a fresh directory; afterwards it must be empty, and is removed.
func withDirectory<R>(_ body: (String) async throws -> R) async throws -> R {
    var template = Array("/tmp/sluice-XXXXXX".utf8CString)
    try #require(mkdtemp(&template) != nil)
    let directory = String(decoding: template.dropLast().map { UInt8($0) }, as: UTF8.self)
    let result: Result<R, any Error>
    do { result = .success(try await body(directory)) } catch { result = .failure(error) }
    #expect(rmdir(directory) == 0, "something was left in \(directory)")
    return try result.get()
}

/// A name for the abstract namespace that nobody else uses.
func freshName() -> String { "sluice-\(getpid())-\(UInt64.random(in: 0 ... .max))" }

func makeSocketPair() throws -> (Int32, Int32) {
    var descriptors: [Int32] = [-1, -1]
    let kind = Int32(SOCK_STREAM.rawValue)
    try #require(socketpair(AF_UNIX, kind, 0, &descriptors) == 0)
    return (descriptors[0], descriptors[1])
}

/// Type and permission bits of what is at a path, `nil` if nothing is.
func mode(of path: String) -> mode_t? {
    var status = stat()
    return lstat(path, &status) == 0 ? status.st_mode : nil
}
