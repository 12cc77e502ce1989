// What the tests of paths, pipes and signals share: a directory of one's own, a pipe's two ends,
// and a thread that signals reach.

import CEpoll
import CFaults
import Glibc
import Testing

/// A path in a directory that nobody else uses, so that nobody else locks it.
struct Place {
    let directory: String
    var path: String { directory + "/socket" }
    let address: ce_address

    /// Of what is at the path now.
    var status: stat? {
        var status = stat()
        return lstat(path, &status) == 0 ? status : nil
    }

    var inode: UInt64? { status.map { UInt64($0.st_ino) } }

    /// A lock as another program would hold it; closing the descriptor ends it. Never waits.
    func lock() throws -> Int32 {
        let fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        try #require(fd >= 0)
        guard flock(fd, LOCK_EX | LOCK_NB) == 0 else {
            defer { Glibc.close(fd) }
            throw Failure(errno: errno, call: "flock")
        }
        return fd
    }

    /// What a server leaves that was killed: a socket file without a listener.
    func leaveStaleFile(_ shim: Shim) throws {
        shim.close(try shim.listen(on: address))
    }
}

/// Runs the body with a fresh directory and removes it.
func withPlace(_ body: (Place) throws -> Void) throws {
    var template = Array("/tmp/sluice-XXXXXX".utf8CString)
    try #require(mkdtemp(&template) != nil)
    let directory = String(decoding: template.dropLast().map { UInt8($0) }, as: UTF8.self)
    let place = Place(directory: directory, address: try unixAddress(directory + "/socket"))
    defer {
        unlink(place.path)
        rmdir(directory)
    }
    try body(place)
}

func unixAddress(_ path: String) throws -> ce_address {
    var address = ce_address()
    _ = try check(ce_address_unix(&address, path, path.utf8.count, false))
    return address
}

extension Shim {
    /// `ce_listen_unix`, with the name of the call that failed.
    func takePath(
        _ address: ce_address, mode: UInt32 = 0o600, backlog: Int32 = 16
    ) -> (result: Int32, file: ce_file_id, call: String?) {
        var address = address
        var (options, file) = (ce_listen_options(), ce_file_id())
        var call: UnsafePointer<CChar>?
        options.backlog = backlog
        let result = ce_listen_unix(reactor, &address, &options, mode, &file, &call)
        return (result, file, call.map { String(cString: $0) })
    }

    func unlinkFile(_ address: ce_address, _ file: ce_file_id) -> Int32 {
        var address = address
        return ce_unlink_file(reactor, &address, file)
    }

    /// A pipe made elsewhere and adopted.
    func makePipe() throws -> (read: Int32, write: Int32) {
        var ends: [Int32] = [-1, -1]
        try #require(pipe(&ends) == 0)
        for end in ends {
            cf_adopt(faults, end)
            _ = try check(ce_adopt(reactor, end))
        }
        return (ends[0], ends[1])
    }

    func write(_ bytes: [UInt8], to fd: Int32) -> Int {
        bytes.withUnsafeBytes { buffer in
            var piece = iovec(
                iov_base: UnsafeMutableRawPointer(mutating: buffer.baseAddress),
                iov_len: buffer.count)
            return ce_write(reactor, fd, &piece, 1)
        }
    }

    func read(from fd: Int32, upTo count: Int = 65_536) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        let received = try check(ce_read(reactor, fd, &bytes, count))
        return Array(bytes.prefix(received))
    }
}

/// Runs the body with no signal blocked, here and on the threads it makes: a pool's threads, on
/// which tests run, block them all.
func withSignals(_ body: () throws -> Void) throws {
    var (none, before) = (sigset_t(), sigset_t())
    sigemptyset(&none)
    pthread_sigmask(SIG_SETMASK, &none, &before)
    defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
    try body()
}
