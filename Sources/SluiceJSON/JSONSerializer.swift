// JSON texts as packets, by Codable. Beside the floors: it needs FoundationEssentials, which comes
// with the toolchain. Pure.

internal import FoundationEssentials
public import Sluice

/// Packets that are written in JSON: compact, without line feeds, with characters as they are and
/// names in order, so that a value has the same bytes each time.
///
/// What nests deeper than the limit is malformed before a parser sees it, and so is a number that
/// its type cannot hold. The packet's own `init(from:)` runs on what the peer sent: a type that
/// contains itself recurses no deeper than the limit.
public struct JSONSerializer<Packet: Codable & Sendable>: Serializer {
    /// Arrays and objects inside each other, 0 or more; of packets in both directions.
    public let depthLimit: Int

    /// Packets of this type.
    ///
    /// - Parameters:
    ///   - type: of a packet.
    ///   - depthLimit: 0 to ``JSONBounds/depthMax``, ``JSONBounds/depthLimit`` by default.
    public init(_ type: Packet.Type = Packet.self, depthLimit: Int = JSONBounds.depthLimit) {
        precondition(
            depthLimit >= 0 && depthLimit <= JSONBounds.depthMax,
            "a depth limit is 0 to \(JSONBounds.depthMax)")
        self.depthLimit = depthLimit
    }

    /// The value of one JSON text, which may stand between blanks.
    public func deserialize(_ bytes: RawSpan) throws(PacketError) -> Packet {
        // A parser would take these for UTF-16 or UTF-32, where the count of brackets is not true.
        let isWide = bytes.withUnsafeBytes { $0.prefix(4).contains(0) || $0.first ?? 0 >= 0xFE }
        if isWide { throw .malformed("JSON that is not UTF-8") }
        guard JSONDepth.isAtMost(depthLimit, in: bytes) else {
            throw .malformed("JSON nested deeper than \(depthLimit)")
        }
        do {
            return try bytes.withUnsafeBytes {
                try JSONDecoder().decode(Packet.self, from: Data($0))
            }
        } catch let error as PacketError {
            throw error
        } catch {
            throw .malformed("JSON: \(plainWords(of: error))")
        }
    }

    /// The value as JSON.
    public func serialize(_ packet: Packet, into output: inout PacketOutput) throws(PacketError) {
        let text: [UInt8]
        do {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.withoutEscapingSlashes, .sortedKeys]
            text = [UInt8](try encoder.encode(packet))
        } catch let error as PacketError {
            throw error
        } catch {
            throw .unencodable("JSON: \(plainWords(of: error))")
        }
        guard JSONDepth.isAtMost(depthLimit, in: text.span.bytes) else {
            throw .unencodable("JSON nested deeper than \(depthLimit)")
        }
        output.append(text)
    }
}

/// The bounds and defaults of JSON.
public enum JSONBounds {
    /// Arrays and objects inside each other, unless another limit is given.
    public static let depthLimit = 128
    /// The largest such limit: what the parser below recurses through at most.
    public static let depthMax = 512
    /// Unicode scalars of a place in a value that an error says.
    static let printedPath = 64
}

/// JSON texts, one a line.
public typealias JSONLineCodec<Packet: Codable & Sendable> =
    FramedCodec<LineFraming, JSONSerializer<Packet>>

extension FramedCodec {
    /// One JSON text a line, as JSON Lines and newline-delimited JSON have it; LF is sent.
    public static func jsonLines<Packet>(
        _ type: Packet.Type = Packet.self, limit: Int = PacketBounds.lineLimit
    ) -> JSONLineCodec<Packet> where Self == JSONLineCodec<Packet> {
        JSONLineCodec(LineFraming(limit: limit), JSONSerializer())
    }

    /// JSON texts one after the other, as ``JSONFraming`` finds them.
    public static func concatenatedJSON<Packet>(
        _ type: Packet.Type = Packet.self, limit: Int = PacketBounds.lineLimit
    ) -> Self where Self == FramedCodec<JSONFraming, JSONSerializer<Packet>> {
        FramedCodec(JSONFraming(limit: limit), JSONSerializer())
    }
}

/// What is wrong, and where in the value. Of the bytes only names, which in a dictionary the peer
/// chooses: cut short, and without control characters, which would end a log's line.
private func plainWords(of error: any Error) -> String {
    func at(_ context: [any CodingKey]) -> String {
        if context.isEmpty { return "" }
        let path = context.map(\.stringValue).joined(separator: ".").unicodeScalars
        var shown = ""
        for scalar in path.prefix(JSONBounds.printedPath) {
            let isControl = scalar.properties.generalCategory == .control
            shown.unicodeScalars.append(isControl ? "\u{FFFD}" : scalar)
        }
        return " at \(shown)\(path.count > JSONBounds.printedPath ? "…" : "")"
    }
    switch error {
    case DecodingError.dataCorrupted(let context):
        return "no valid JSON, or a value out of range\(at(context.codingPath))"
    case DecodingError.typeMismatch(let type, let context):
        return "not \(type)\(at(context.codingPath))"
    case DecodingError.valueNotFound(let type, let context):
        return "null, not \(type)\(at(context.codingPath))"
    case DecodingError.keyNotFound(let key, let context):
        return "no \(key.stringValue)\(at(context.codingPath))"
    case EncodingError.invalidValue(_, let context):
        return "a value that it cannot express\(at(context.codingPath))"
    default: return "\(error)"
    }
}
