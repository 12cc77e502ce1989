// swift-tools-version: 6.2
import PackageDescription

// A package of its own, so that users of Sluice never build it. The name given to the dependency
// makes a clone's folder name irrelevant.
let package = Package(
    name: "SluiceBenchmarks",
    dependencies: [.package(name: "Sluice", path: "..")],
    targets: [
        .executableTarget(
            name: "bench-server", dependencies: [.product(name: "Sluice", package: "Sluice")]),
        .executableTarget(
            name: "bench-requests", dependencies: [.product(name: "Sluice", package: "Sluice")]),
    ],
    swiftLanguageModes: [.v6]
)
