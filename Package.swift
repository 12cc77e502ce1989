// swift-tools-version: 6.2
import PackageDescription

// With SLUICE_STRICT set, warnings are errors. Users who depend on this package by path are spared.
let strict = Context.environment["SLUICE_STRICT"] != nil

let swiftSettings: [SwiftSetting] =
    [
        .enableUpcomingFeature("ExistentialAny"),
        .enableUpcomingFeature("InternalImportsByDefault"),
        .enableUpcomingFeature("MemberImportVisibility"),
    ] + (strict ? [.treatAllWarnings(as: .error)] : [])

let cSettings: [CSetting] =
    strict
    ? [
        .enableWarning("all"), .enableWarning("extra"), .enableWarning("conversion"),
        .treatAllWarnings(as: .error),
    ] : []

/// A program in a folder of its name, with Sluice and these.
func example(_ name: String, _ dependencies: Target.Dependency...) -> Target {
    .executableTarget(
        name: name, dependencies: ["Sluice"] + dependencies, path: "Examples/\(name)",
        swiftSettings: swiftSettings)
}

let package = Package(
    name: "Sluice",
    products: [
        .library(name: "Sluice", targets: ["Sluice"]),
        .library(name: "CEpoll", targets: ["CEpoll"]),
        .library(name: "SluiceTesting", targets: ["SluiceTesting"]),
        .library(name: "SluiceC", targets: ["SluiceC", "CSluice"]),
        .library(name: "SluiceJSON", targets: ["SluiceJSON"]),
        .library(name: "SluiceZlib", targets: ["SluiceZlib"]),
        .library(name: "SluiceCrypto", targets: ["SluiceCrypto"]),
    ],
    // The one other package is fetched for those alone who ask for it.
    traits: [.trait(name: "Crypto", description: "SluiceCrypto, by swift-crypto")],
    dependencies: [
        .package(url: "https://github.com/apple/swift-crypto.git", from: "4.5.2")
    ],
    targets: [
        // Floors, each depending on lower ones only.
        .target(name: "CEpoll", path: "CEpoll", cSettings: cSettings),
        .target(name: "SluiceReactor", dependencies: ["CEpoll"], swiftSettings: swiftSettings),
        .target(
            name: "SluiceStreams", dependencies: ["SluiceReactor"], swiftSettings: swiftSettings),
        .target(
            name: "SluicePackets", dependencies: ["SluiceStreams"], swiftSettings: swiftSettings),
        .target(
            name: "Sluice", dependencies: ["SluiceReactor", "SluiceStreams", "SluicePackets"],
            swiftSettings: swiftSettings),

        // Serializers that need more than the toolchain's core, each a product of its own.
        .target(name: "SluiceJSON", dependencies: ["Sluice"], swiftSettings: swiftSettings),
        .systemLibrary(name: "CZlib", path: "Sources/CZlib", providers: [.apt(["zlib1g-dev"])]),
        .target(
            name: "SluiceZlib", dependencies: ["Sluice", "CZlib"], swiftSettings: swiftSettings),
        .target(
            name: "SluiceCrypto",
            dependencies: [
                "Sluice",
                .product(
                    name: "Crypto", package: "swift-crypto", condition: .when(traits: ["Crypto"])),
            ], swiftSettings: swiftSettings),

        // For tests of users' own codecs, with Swift Testing.
        .target(name: "SluiceTesting", dependencies: ["Sluice"], swiftSettings: swiftSettings),

        // The C interface: a header for C programs, and the Swift module that implements it.
        .target(
            name: "CSluice", path: "Sources/SluiceC", sources: ["sluice.c"],
            publicHeadersPath: "include", cSettings: cSettings),
        .target(
            name: "SluiceC", dependencies: ["CSluice", "Sluice"],
            exclude: ["include", "sluice.c"], swiftSettings: swiftSettings),

        // Examples, each run by a test.
        example("EchoServer"),
        example("LineChat"),
        example("TCPProxy"),
        example("FileReceiver"),
        example("JSONLines", "SluiceJSON"),
        example("MiniRedis"),
        example("DescriptorPass"),
        example("UDPTime"),
        .target(
            name: "GameProtocol", dependencies: ["Sluice"], path: "Examples/GameProtocol",
            swiftSettings: swiftSettings),
        example("GameServer", "GameProtocol"),
        example("PacketProxy", "GameProtocol"),
        .target(
            name: "EmbedInCService", dependencies: ["Sluice", "SluiceC"],
            path: "Examples/EmbedInC/service", swiftSettings: swiftSettings),
        .executableTarget(
            name: "EmbedInC", dependencies: ["CSluice", "EmbedInCService"],
            path: "Examples/EmbedInC/main", cSettings: cSettings),

        // What the tests share: call tables that fail, a C program, a malloc counter, stream kits.
        .target(
            name: "CFaults", dependencies: ["CEpoll"], path: "Tests/CFaults", cSettings: cSettings),
        .executableTarget(
            name: "ShimProgram", dependencies: ["CEpoll"], path: "Tests/ShimProgram",
            cSettings: cSettings),
        .executableTarget(
            name: "InteropPeer",
            dependencies: ["Sluice", "SluiceJSON", "SluiceZlib", "SluiceCrypto"],
            path: "Tests/InteropPeer", swiftSettings: swiftSettings),
        .target(
            name: "SluiceTestKit", dependencies: ["Sluice", "SluiceTesting", "CEpoll", "CFaults"],
            path: "Tests/SluiceTestKit", swiftSettings: swiftSettings),
        .testTarget(
            name: "CEpollTests",
            dependencies: ["CEpoll", "CFaults", "ShimProgram", "SluiceTestKit"],
            exclude: ["sanitize.sh"], swiftSettings: swiftSettings),
        .testTarget(
            name: "ReactorTests", dependencies: ["SluiceTestKit"], swiftSettings: swiftSettings),
        .testTarget(
            name: "StreamsTests", dependencies: ["SluiceTestKit"], swiftSettings: swiftSettings),
        .testTarget(
            name: "DatagramTests", dependencies: ["SluiceTestKit"], swiftSettings: swiftSettings),
        .testTarget(
            name: "FaultSweepTests", dependencies: ["SluiceTestKit"], swiftSettings: swiftSettings),
        .testTarget(
            name: "PacketsTests", dependencies: ["SluiceTestKit"], swiftSettings: swiftSettings),
        .testTarget(
            name: "RequestTests", dependencies: ["SluiceTestKit"], swiftSettings: swiftSettings),
        .testTarget(
            name: "SerializerTests",
            dependencies: ["SluiceJSON", "SluiceZlib", "SluiceCrypto", "SluiceTestKit"],
            swiftSettings: swiftSettings),
        .testTarget(
            name: "SluiceCTests", dependencies: ["SluiceC", "CSluice", "SluiceTestKit"],
            swiftSettings: swiftSettings),
        .testTarget(
            name: "BudgetTests", dependencies: ["SluiceTestKit"], swiftSettings: swiftSettings),
        .testTarget(
            name: "ExampleTests",
            dependencies: [
                "EchoServer", "LineChat", "TCPProxy", "FileReceiver", "MiniRedis", "EmbedInC",
                "DescriptorPass", "JSONLines", "UDPTime", "GameServer", "PacketProxy",
                "SluiceTestKit",
            ], swiftSettings: swiftSettings),
        .testTarget(name: "TidyTests", swiftSettings: swiftSettings),
    ],
    swiftLanguageModes: [.v6],
    cLanguageStandard: .c11
)

// Only these suites, of which SLUICE_TESTS holds the names: an optimised build of all takes long.
if let names = Context.environment["SLUICE_TESTS"]?.split(separator: " ") {
    package.targets.removeAll { $0.type == .test && !names.contains(Substring($0.name)) }
}
