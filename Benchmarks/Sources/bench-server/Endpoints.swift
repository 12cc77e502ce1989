// The modes that answer packets: lines and frames through a codec.

import Sluice

/// Writes back each line, which travels as bytes.
func lineEndpoint(_ reader: StreamReader, _ writer: StreamWriter) async throws {
    let endpoint = StreamEndpoint(reader, writer, FramedCodec(LineFraming(), BytesSerializer()))
    while let line = try await endpoint.receive() { try await endpoint.send(line) }
}

/// Writes back each frame: four bytes of length, big-endian, and as many bytes.
func frameEndpoint(_ reader: StreamReader, _ writer: StreamWriter) async throws {
    let codec = FramedCodec(LengthPrefixFraming(UInt32.self), BytesSerializer())
    let endpoint = StreamEndpoint(reader, writer, codec)
    while let frame = try await endpoint.receive() { try await endpoint.send(frame) }
}
