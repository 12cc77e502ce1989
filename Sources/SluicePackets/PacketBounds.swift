// The bounds and defaults of floor 3, each with its reason. Constants; any thread.

/// The limits that codecs and endpoints have unless they are given others.
public enum PacketBounds {
    /// Bytes of a line's payload: what a person's line never reaches.
    public static let lineLimit = 65_536
    /// Bytes of a frame's payload: 1 MiB.
    public static let frameLimit = 1 << 20
}
