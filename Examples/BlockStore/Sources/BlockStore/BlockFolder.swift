// Blocks in files, each named by its hash. These calls wait for the disk: the service makes them by
// `offload`.

import Glibc
import Sluice

/// A folder with a file for each block.
///
/// A file has its name from the moment it is whole and on the disk, whatever happens before: it is
/// written under another name, flushed and renamed. So any number of threads may add and read at
/// once, of one process: the next one begins by removing what is half-written.
public struct BlockFolder: Sendable {
    private let path: String
    private static let unfinished = "unfinished-"

    /// The folder, made if it is not there; what was left half-written in it is removed.
    public init(_ path: String) throws {
        self.path = path
        guard mkdir(path, 0o777) == 0 || errno == EEXIST else { throw failure("mkdir") }
        for name in try names() where name.hasPrefix(Self.unfinished) { unlink("\(path)/\(name)") }
    }

    /// Stores a block. One that is there already, and undamaged, stays as it is.
    public func add(_ block: [UInt8]) throws -> BlockHash {
        let hash = BlockHash(of: block)
        if let stored = try? get(hash), stored == block { return hash }
        var name = Array("\(path)/\(Self.unfinished)XXXXXX".utf8CString)
        let file = mkstemp(&name)
        guard file >= 0 else { throw failure("mkstemp") }
        defer { close(file) }
        do {
            try write(block, to: file)
            guard fsync(file) == 0 else { throw failure("fsync") }
            guard rename(name, self.name(of: hash)) == 0 else { throw failure("rename") }
        } catch {
            unlink(name)
            throw error
        }
        try flushNames()
        return hash
    }

    /// A block's bytes, `nil` if it is not there. Those of a damaged file are never returned.
    public func get(_ hash: BlockHash) throws -> [UInt8]? {
        let file = open(name(of: hash), O_RDONLY | O_CLOEXEC)
        guard file >= 0 else {
            if errno == ENOENT { return nil }
            throw failure("open")
        }
        defer { close(file) }
        let block = try read(from: file)
        guard BlockHash(of: block) == hash else {
            throw RequestFailure("the block \(hash.hex) is damaged")
        }
        return block
    }

    /// Whether there is such a block, damaged or not.
    public func contains(_ hash: BlockHash) -> Bool { access(name(of: hash), F_OK) == 0 }

    /// How many blocks there are.
    public func count() throws -> Int { try names().count { BlockHash($0) != nil } }

    private func name(of hash: BlockHash) -> String { "\(path)/\(hash.hex)" }

    private func names() throws -> [String] {
        guard let folder = opendir(path) else { throw failure("opendir") }
        defer { closedir(folder) }
        var names: [String] = []
        while let entry = readdir(folder) {
            names.append(
                withUnsafeBytes(of: &entry.pointee.d_name) { name in
                    String(decoding: name.prefix { $0 != 0 }, as: UTF8.self)
                })
        }
        return names
    }

    private func write(_ block: [UInt8], to file: Int32) throws {
        var rest = block[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
            guard count >= 0 || errno == EINTR else { throw failure("write") }
            rest.removeFirst(max(count, 0))
        }
    }

    private func read(from file: Int32) throws -> [UInt8] {
        var status = stat()
        guard fstat(file, &status) == 0 else { throw failure("fstat") }
        return try [UInt8](unsafeUninitializedCapacity: Int(status.st_size)) { bytes, count in
            while count < bytes.count {
                let room = UnsafeMutableBufferPointer(rebasing: bytes[count...])
                let more = Glibc.read(file, room.baseAddress, room.count)
                guard more >= 0 || errno == EINTR else { throw failure("read") }
                if more == 0 { return }
                count += max(more, 0)
            }
        }
    }

    /// A new name is on the disk only when its folder is.
    private func flushNames() throws {
        let folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard folder >= 0 else { throw failure("open") }
        defer { close(folder) }
        guard fsync(folder) == 0 else { throw failure("fsync") }
    }
}

private func failure(_ call: String) -> SystemError { SystemError(call: call, errno: errno) }
