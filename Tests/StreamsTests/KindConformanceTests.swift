// B46 for the kinds that are adopted or live on Unix sockets, and what adopting promises.

import Glibc
import Sluice
import SluiceTestKit
import Testing

@Suite struct KindConformanceTests {
    @Test(arguments: [AdoptedKind.unixPath, .unixAbstract, .socketPair, .pipes])
    func `B46: an adopted or Unix stream passes the conformance suite`(
        _ kind: AdoptedKind
    ) async throws {
        try await withLoop { _ in
            try await checkStream(
                makePair: { try await kind.makePair() },
                makeCloggedPair: { try await kind.makeCloggedPair() })
        }
    }

    @Test func `an adopted socket becomes nonblocking and is closed in the end`() async throws {
        try await withLoop { _ in
            let (left, right) = try makeSocketPair()
            defer { close(right) }
            let end = StreamEnd(try await adoptSocket(left))
            #expect(fcntl(left, F_GETFL) & O_NONBLOCK != 0)
            #expect(fcntl(left, F_GETFD) & FD_CLOEXEC != 0)
            #expect(fcntl(right, F_GETFL) & O_NONBLOCK == 0)
            await end.writer.abort()
            var byte: UInt8 = 0
            #expect(read(right, &byte, 1) == 0)
        }
    }

    @Test func `what is no connected stream socket is refused and stays the caller's`()
        async throws
    {
        try await withLoop { _ in
            let unconnected = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            let pipe = try makePipe()
            for descriptor in [unconnected, pipe.reading, pipe.writing] {
                do throws(StreamError) {
                    _ = try await adoptSocket(descriptor)
                    Issue.record("adopted")
                } catch {
                    guard case .invalidOption("socket", _) = error else { throw error }
                }
                #expect(close(descriptor) == 0)
            }
        }
    }

    @Test func `a regular file is refused as a pipe with EPERM, and is closed`() async throws {
        try await withLoop { _ in
            var template = Array("/tmp/sluice-XXXXXX".utf8CString)
            let file = mkstemp(&template)
            try #require(file >= 0)
            unlink(template)
            await #expect(
                throws: StreamError.system(SystemError(call: "epoll_ctl", errno: EPERM))
            ) { _ = try await adoptPipe(reading: file) }
        }
    }

    @Test func `a pipe's halves stand alone: bytes, then the end when its writer closes`()
        async throws
    {
        try await withLoop { _ in
            let pipe = try makePipe()
            let reader = try await adoptPipe(reading: pipe.reading)
            let writer = try await adoptPipe(writing: pipe.writing)
            try await writer.send("through")
            #expect(try await reader.read() == bytes("through"))
            await writer.close()
            #expect(try await reader.read() == nil)
        }
    }

    @Test func `a pipe whose reader is dropped breaks its writer`() async throws {
        try await withLoop { _ in
            let pipe = try makePipe()
            let writer = try await adoptPipe(writing: pipe.writing)
            _ = try await adoptPipe(reading: pipe.reading)
            let error = await sendUntilError(writer)
            #expect(error == .reset(errno: EPIPE))
            await writer.abort()
        }
    }

    @Test func `aborting a stapled writer closes its reader's stream too`() async throws {
        try await withLoop { _ in
            let (there, back) = (try makePipe(), try makePipe())
            defer { close(there.reading) }
            let end = StreamEnd(
                try await adoptPipes(reading: back.reading, writing: there.writing))
            let other = try await adoptPipe(writing: back.writing)
            await end.writer.abort()
            #expect(await sendUntilError(other) == .reset(errno: EPIPE))
            await #expect(throws: StreamError.aborted) { try await end.reader.read() }
            await other.abort()
        }
    }

    @Test func `a Unix peer's credentials are those of this process`() async throws {
        try await withLoop { _ in
            let (near, far) = try await AdoptedKind.unixPath.makePair()
            try await releasing(near, far) {
                let credentials = try far.writer.peerCredentials()
                #expect(credentials.process == getpid())
                #expect(credentials.user == getuid())
                #expect(credentials.group == getgid())
            }
        }
    }
}
