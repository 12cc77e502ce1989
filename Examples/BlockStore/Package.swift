// swift-tools-version: 6.2
import PackageDescription

// A package of its own, as a user's would be: what it needs besides is not fetched by users of
// Sluice. The name given to the dependency makes a clone's folder name irrelevant.
let package = Package(
    name: "BlockStore",
    products: [
        .library(name: "BlockStore", targets: ["BlockStore"]),
        .executable(name: "block-store", targets: ["block-store"]),
    ],
    dependencies: [
        .package(name: "Sluice", path: "../.."),
        .package(url: "https://github.com/apple/swift-argument-parser.git", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-crypto.git", from: "4.5.2"),
    ],
    targets: [
        .target(
            name: "BlockStore",
            dependencies: [
                .product(name: "Sluice", package: "Sluice"),
                .product(name: "Crypto", package: "swift-crypto"),
            ]),
        .executableTarget(
            name: "block-store",
            dependencies: [
                "BlockStore",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Sluice", package: "Sluice"),
            ]),
    ],
    swiftLanguageModes: [.v6]
)
