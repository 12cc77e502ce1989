// DatagramAddress: where a datagram socket is bound or connected. Floor 2; a plain value.

/// Where a datagram socket is bound, or what it is connected to.
public struct DatagramAddress: Sendable, Hashable, CustomStringConvertible {
    enum Place: Hashable, Sendable {
        case host(String, port: Int)
        case unix(path: String, mode: UInt32)
        case abstract(String)
        case automatic
        case unnamed
    }

    let place: Place

    /// UDP: a numeric host or a name, of whose addresses the first that can be used is taken.
    ///
    /// - Parameter port: 0 to 65,535; 0 lets the kernel choose.
    public static func host(_ host: String, port: Int) -> DatagramAddress {
        DatagramAddress(place: .host(host, port: port))
    }

    /// A Unix socket's path. Bound to, a stale socket file is replaced, any other file is left
    /// alone, and on close the file is removed if it is still ours.
    ///
    /// - Parameters:
    ///   - path: 1 to 107 bytes.
    ///   - mode: the permissions of the file of a bound socket; by default the owner's alone.
    public static func unix(path: String, mode: UInt32 = 0o600) -> DatagramAddress {
        DatagramAddress(place: .unix(path: path, mode: mode))
    }

    /// A name in Linux's abstract namespace, unix(7): no file, and no permissions either.
    public static func abstract(_ name: String) -> DatagramAddress {
        DatagramAddress(place: .abstract(name))
    }

    /// For binding: an address of the kernel's choice, so that peers can answer. For UDP a free
    /// port of the family connected to, for Unix an abstract name (autobind, unix(7)).
    public static let automatic = DatagramAddress(place: .automatic)

    /// For binding: a Unix socket without a name, which cannot be answered.
    public static let unnamed = DatagramAddress(place: .unnamed)

    /// For example `127.0.0.1 port 53`, a path, `@name`.
    public var description: String {
        switch place {
        case .host(let host, let port): "\(host) port \(port)"
        case .unix(let path, _): path
        case .abstract(let name): "@\(name)"
        case .automatic: "an automatic address"
        case .unnamed: "no address"
        }
    }
}
