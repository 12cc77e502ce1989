// Unix sockets with a path: who gets it, what is replaced, and what is left alone.

import CEpoll
import CFaults
import Glibc
import Testing

@Suite struct UnixPathTests {
    @Test func `a free path is taken and one can connect to it`() throws {
        try withPlace { place in
            try withShim { shim in
                let taken = shim.takePath(place.address)
                let listener = try check(taken.result)
                #expect(taken.file.inode == place.inode)
                let client = try shim.connect(to: place.address)
                let server = try shim.accept(from: listener)
                try #expect(shim.send([7], to: client) == 1)
                try #expect(shim.receive(from: server) == [7])
                #expect(cf_ledger(shim.faults).open == 5, "the reactor's two and these three")
                shim.close(client, server, listener)
            }
        }
    }

    @Test func `a full backlog of a path says EAGAIN to a client`() throws {
        try withPlace { place in
            try withShim { shim in
                let listener = try check(shim.takePath(place.address, backlog: 1).result)
                var clients: [Int32] = []
                #expect(throws: Failure.self) {
                    for _ in 0..<8 { clients.append(try shim.connect(to: place.address)) }
                }
                var (address, inProgress) = (place.address, true)
                #expect(ce_connect(shim.reactor, &address, nil, nil, &inProgress, nil) == -EAGAIN)
                #expect(!inProgress)
                // Nor is that server taken for dead.
                #expect(shim.takePath(place.address).result == -EADDRINUSE)
                for client in clients { shim.close(client) }
                shim.close(listener)
            }
        }
    }

    @Test func `a stale socket file is replaced`() throws {
        try withPlace { place in
            try withShim { shim in
                try place.leaveStaleFile(shim)
                #expect(place.inode != nil)
                let listener = try check(shim.takePath(place.address).result)
                shim.close(try shim.connect(to: place.address), listener)
            }
        }
    }

    @Test func `a live server is refused and goes on`() throws {
        try withPlace { place in
            try withShim { shim in
                let listener = try check(shim.takePath(place.address).result)
                let inode = place.inode
                let refused = shim.takePath(place.address)
                #expect(refused.result == -EADDRINUSE && refused.call == "bind")
                #expect(place.inode == inode)
                // The look at it, and then a client.
                shim.close(try shim.accept(from: listener))
                let client = try shim.connect(to: place.address)
                shim.close(try shim.accept(from: listener), client, listener)
            }
        }
    }

    @Test func `a live socket of another type is refused`() throws {
        try withPlace { place in
            try withShim { shim in
                let fd = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
                defer { Glibc.close(fd) }
                var address = place.address
                let bind = try #require(ce_system_kernel().pointee.bind)
                let bound = withUnsafePointer(to: &address.storage) { storage in
                    storage.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                        bind(nil, fd, $0, place.address.length)
                    }
                }
                #expect(bound == 0)
                let inode = place.inode
                #expect(shim.takePath(place.address).result == -EADDRINUSE)
                #expect(place.inode == inode)
            }
        }
    }

    enum Other: CaseIterable { case file, directory, link }

    @Test(arguments: Other.allCases) func `what is no socket is refused and left alone`(
        _ other: Other
    ) throws {
        try withPlace { place in
            try withShim { shim in
                switch other {
                case .file: Glibc.close(creat(place.path, 0o644))
                case .directory: mkdir(place.path, 0o755)
                case .link: symlink("nowhere", place.path)
                }
                defer { rmdir(place.path) }
                let before = try #require(place.status)
                let refused = shim.takePath(place.address)
                #expect(refused.result == -EADDRINUSE && refused.call == "bind")
                let after = try #require(place.status)
                #expect(before.st_ino == after.st_ino && before.st_mode == after.st_mode)
            }
        }
    }

    @Test func `an abstract address and one of another family are refused`() throws {
        try withShim { shim in
            for address in [try uniqueUnix(abstract: true), loopback()] {
                #expect(shim.takePath(address).result == -EINVAL)
                #expect(shim.unlinkFile(address, ce_file_id()) == -EINVAL)
            }
        }
    }

    @Test func `a directory that does not exist is told by open`() throws {
        try withShim { shim in
            let refused = shim.takePath(try unixAddress("/tmp/sluice-no-such/socket"))
            #expect(refused.result == -ENOENT && refused.call == "open")
        }
    }

    // MARK: The mode

    struct Glance {
        var place: Place
        var mode: UInt32 = 0
        var connected: Int32 = 0
        var locks = true
    }

    /// The look is taken inside listen(2), just before the kernel is called. No umask is set: 0o666
    /// is more than the usual one leaves, 0o600 less.
    @Test(arguments: [0o600, 0o660, 0o666, 0o1777] as [UInt32])
    func `the file has its mode before anyone can connect`(mode: UInt32) throws {
        try withPlace { place in
            var table = ce_system_kernel().pointee
            var glance = Glance(place: place)
            withUnsafeMutablePointer(to: &glance) { pointer in
                table.state = UnsafeMutableRawPointer(pointer)
                table.listen = { state, fd, backlog in
                    let glance = state!.assumingMemoryBound(to: Glance.self)
                    glance.pointee.mode = glance.pointee.place.status?.st_mode ?? 0
                    glance.pointee.connected = tryToConnect(to: glance.pointee.place.address)
                    if let lock = try? glance.pointee.place.lock() {
                        glance.pointee.locks = false
                        Glibc.close(lock)
                    }
                    return ce_system_kernel().pointee.listen(nil, fd, backlog)
                }
                var reactor: OpaquePointer?
                #expect(ce_reactor_create(&reactor, &table, nil) == 0)
                var (address, options) = (place.address, ce_listen_options())
                var file = ce_file_id()
                options.backlog = 1
                let fd = ce_listen_unix(reactor, &address, &options, mode, &file, nil)
                #expect(fd >= 0)
                #expect(ce_close(reactor, fd) == 0)
                ce_reactor_close(reactor)
            }
            #expect(glance.mode == S_IFSOCK | mode)
            #expect(glance.connected == -ECONNREFUSED)
            #expect(glance.locks, "or another starter takes this one for dead")
            #expect(place.status?.st_mode == S_IFSOCK | mode)
        }
    }
}

/// One attempt, by the kernel's own table.
private func tryToConnect(to address: ce_address) -> Int32 {
    var address = address
    let length = address.length
    let fd = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    defer { Glibc.close(fd) }
    return withUnsafePointer(to: &address.storage) { storage in
        storage.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            ce_system_kernel().pointee.connect(nil, fd, $0, length)
        }
    }
}
