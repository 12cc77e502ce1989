// ListenAddress: where a server listens. Floor 2; a plain value.

/// Where a server listens: host and port, all interfaces, a Unix path, an abstract name, or a
/// descriptor that listens already.
public struct ListenAddress: Sendable, Hashable, CustomStringConvertible {
    enum Place: Hashable, Sendable {
        case hosts([String], port: Int)
        case unix(path: String, mode: UInt32)
        case abstract([UInt8])
        case descriptor(Int32)
    }

    let place: Place

    /// All addresses of a host: numeric or a name.
    ///
    /// - Parameter port: 0 to 65,535; with 0 all addresses get the same free port.
    public static func host(_ host: String, port: Int) -> ListenAddress {
        ListenAddress(place: .hosts([host], port: port))
    }

    /// All addresses of several hosts, each once.
    public static func hosts(_ hosts: [String], port: Int) -> ListenAddress {
        ListenAddress(place: .hosts(hosts, port: port))
    }

    /// All interfaces, IPv4 and, where the machine has it, IPv6. Anybody who reaches the machine
    /// may connect.
    public static func allInterfaces(port: Int) -> ListenAddress {
        ListenAddress(place: .hosts(["0.0.0.0", "::"], port: port))
    }

    /// A Unix socket's path.
    ///
    /// A stale socket file is replaced; while a live server answers there, starting fails; any
    /// other file is left alone. On close the file is removed if it is still ours.
    ///
    /// - Parameters:
    ///   - path: 1 to 107 bytes.
    ///   - mode: the file's permissions, set before anybody can connect; by default the owner's
    ///     alone.
    public static func unix(path: String, mode: UInt32 = 0o600) -> ListenAddress {
        ListenAddress(place: .unix(path: path, mode: mode))
    }

    /// A name in Linux's abstract namespace, unix(7): no file, and no permissions either: every
    /// local user may connect.
    public static func abstract(_ name: String) -> ListenAddress {
        ListenAddress(place: .abstract(Array(name.utf8)))
    }

    /// A descriptor that is bound and listening, from a supervisor or a parent. The server takes it
    /// over and closes it; a Unix socket's file is left alone.
    public static func descriptor(_ descriptor: Int32) -> ListenAddress {
        ListenAddress(place: .descriptor(descriptor))
    }

    /// For example `localhost port 80`, a path, `@name`, `descriptor 3`.
    public var description: String {
        switch place {
        case .hosts(let hosts, let port): "\(hosts.joined(separator: ", ")) port \(port)"
        case .unix(let path, _): path
        case .abstract(let name): "@" + String(decoding: name, as: UTF8.self)
        case .descriptor(let fd): "descriptor \(fd)"
        }
    }
}
