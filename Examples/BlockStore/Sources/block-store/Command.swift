// block-store: keeps blocks of bytes, which are asked for by their SHA-256.
//
//   swift run block-store serve --directory blocks    prints "listening on 127.0.0.1:8894"
//   swift run block-store add FILE                    prints the file's hash, as sha256sum does
//   swift run block-store get HASH >FILE              writes the bytes to standard output
//   swift run block-store contains HASH               prints "yes", or "no" and exits with 1
//   swift run block-store length                      prints how many blocks there are
//
// Each takes `--port`. A block is one request, of at most 16 MiB. SIGTERM or Ctrl-C ends the server
// once its requests are answered, a second one does not wait.

import ArgumentParser
import BlockStore
import Foundation
import Sluice

@main
struct BlockStoreCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "block-store", abstract: "Keeps blocks of bytes by their SHA-256.",
        subcommands: [Serve.self, Add.self, Get.self, Contains.self, Length.self])
}

struct Place: ParsableArguments {
    @Option(help: "The server's port on 127.0.0.1.")
    var port = 8894

    /// Asks the server one thing.
    func ask<R: TypedRequest>(_ request: R) async throws -> R.Reply {
        let store = try await openRequestConnection(host: "127.0.0.1", port: port)
        do {
            let reply = try await store.call(request)
            await store.close()
            return reply
        } catch {
            await store.close()
            throw error
        }
    }
}

struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Serves the blocks of a folder.")
    @OptionGroup var place: Place
    @Option(help: "The folder, which is made if it is not there.")
    var directory: String

    func run() async throws {
        let service = try blockService(BlockFolder(directory))
        let server = try await startServer(port: place.port, requestHandler: service.handler)
        print("listening on \(server.addresses[0])")
        fflush(nil)  // standard output may be a pipe
        let counts = try await server.serveForever(until: [.terminate, .interrupt])
        if counts?.allFinished == false { throw ExitCode.failure }
    }
}

struct Add: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Stores a file, prints its hash.")
    @OptionGroup var place: Place
    @Argument var file: String

    func run() async throws {
        let block = try Data(contentsOf: URL(fileURLWithPath: file))
        print(try await place.ask(AddBlock(Array(block))).hex)
    }
}

struct Get: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Prints a block's bytes.")
    @OptionGroup var place: Place
    @Argument var hash: BlockHash

    func run() async throws {
        guard let block = try await place.ask(GetBlock(hash)) else {
            throw NoSuchBlock()
        }
        try FileHandle.standardOutput.write(contentsOf: block)
    }
}

struct Contains: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Prints whether it has a block.")
    @OptionGroup var place: Place
    @Argument var hash: BlockHash

    func run() async throws {
        let isThere = try await place.ask(ContainsBlock(hash))
        print(isThere ? "yes" : "no")
        if !isThere { throw ExitCode.failure }
    }
}

struct Length: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Prints the number of blocks.")
    @OptionGroup var place: Place

    func run() async throws { print(try await place.ask(CountBlocks()).count) }
}

struct NoSuchBlock: Error, CustomStringConvertible {
    var description: String { "there is no such block" }
}

extension BlockHash: ExpressibleByArgument {
    public init?(argument: String) { self.init(argument) }
}
