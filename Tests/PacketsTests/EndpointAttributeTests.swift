// What an endpoint tells about its stream. Numbers of ENDPOINTS 6.

import Sluice
import SluiceTestKit
import Testing

@Suite struct EndpointAttributeTests {
    @Test func `69, 71: an endpoint knows its socket, and says what it has not`() async throws {
        try await withPassing { endpoint, _ in
            let credentials: PeerCredentials = try endpoint.attribute(.peerCredentials)
            let name: UnixName = try endpoint.receiver.attribute(.remoteName)
            let family: SocketFamily = try endpoint.sender.attribute(.family)
            #expect(credentials == .own && name == .unnamed && family == .unix)
            #expect(throws: PacketError.stream(.unavailable("tlsVersion"))) {
                try endpoint.attribute(.tlsVersion)
            }
            #expect(endpoint.attribute(.tlsVersion, default: "none") == "none")
            await endpoint.abort()
            let nameAfter: UnixName = try endpoint.attribute(.remoteName)
            let credentialsAfter: PeerCredentials = try endpoint.attribute(.peerCredentials)
            #expect(nameAfter == name && credentialsAfter == credentials)
        }
    }

    @Test func `70: the receiving half comes first`() async throws {
        try await withPair(.tcp) { near, far in
            let endpoint = StreamEndpoint(near.reader, far.writer, LineCodec.lines())
            let address = try near.reader.attribute(.localAddress)
            #expect(try endpoint.attribute(.localAddress) == address)
            let key = Attribute<Int>("only the writer's")
            far.writer.setAttribute(key, to: 5)
            #expect(try endpoint.attribute(key) == 5)
        }
    }
}
