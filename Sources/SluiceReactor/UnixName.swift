// UnixName: what a Unix socket is called. Floor 1; a plain value, any thread.

internal import CEpoll

/// The name of a Unix socket, unix(7).
public enum UnixName: Hashable, Sendable, CustomStringConvertible {
    /// A file stands for it.
    case path(String)
    /// A name without a file, of any bytes: Linux's abstract namespace.
    case abstract([UInt8])
    /// None, as a client's or a socketpair(2)'s.
    case unnamed

    /// As `/proc/net/unix` shows it: the path; `@` and the name, each NUL in it as another `@`;
    /// nothing for none.
    public var description: String {
        switch self {
        case .path(let path): printable(path.utf8)
        case .abstract(let name):
            "@" + printable(name.map { $0 == 0 ? UInt8(ascii: "@") : $0 })
        case .unnamed: ""
        }
    }
}

/// Kinds of addresses.
public enum SocketFamily: String, Hashable, Sendable {
    /// IPv4; AF_INET.
    case v4
    /// IPv6; AF_INET6.
    case v6
    /// AF_UNIX.
    case unix
}

extension SocketAddress {
    /// The kind of address.
    public var family: SocketFamily {
        switch storage {
        case .v4: .v4
        case .v6: .v6
        case .unix: .unix
        }
    }

    /// The name of a Unix socket; `nil` for other addresses.
    public var unixName: UnixName? {
        guard case .unix(let bytes, let isAbstract) = storage else { return nil }
        if isAbstract { return .abstract(bytes) }
        return bytes.isEmpty ? .unnamed : .path(String(decoding: bytes, as: UTF8.self))
    }
}
