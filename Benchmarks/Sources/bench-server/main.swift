// bench-server: the server under test, one loop on the main thread, or several on their own.
//
//   bench-server PORT MODE [LOOPS]
//
// MODE: echo, lines, frames, sink, source, or one of them with -span; LOOPS: 1 by default.
// Written as a user would write it. The plain modes use the calls that return arrays, the -span
// modes those that show the bytes where they lie; lines and frames have an -endpoint mode too,
// where a codec makes packets of them. Two more modes answer datagrams: udp-echo, and udp-server
// with a conversation for each client; one answers requests: requests.

import Glibc
import Sluice

let modes: [String: ClientHandler] = [
    "echo": echo, "echo-span": echoSpans,
    "lines": lines, "lines-span": lineSpans,
    "frames": frames, "frames-span": frameSpans,
    "lines-endpoint": lineEndpoint, "frames-endpoint": frameEndpoint,
    "sink": sink, "sink-span": sinkSpans,
    "source": source, "source-span": sourceSpans,
]

let otherModes: [String: @Sendable (Int) async throws -> Void] = [
    "udp-echo": datagramEcho(port:), "udp-server": datagramServer(port:),
    "requests": requestServer(port:),
]

/// 10,000 idle connections need more descriptors than the usual soft limit gives.
func raiseDescriptorLimit() {
    var limit = rlimit()
    let files = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
    guard getrlimit(files, &limit) == 0 else { return perror("getrlimit") }
    limit.rlim_cur = limit.rlim_max
    if setrlimit(files, &limit) != 0 { perror("setrlimit") }
}

let arguments = CommandLine.arguments
if arguments.count == 3, let port = Int(arguments[1]), let serve = otherModes[arguments[2]] {
    try EventLoop.run { try await serve(port) }
    exit(0)
}
guard arguments.count == 3 || arguments.count == 4, let port = Int(arguments[1]),
    let handler = modes[arguments[2]], let loops = Int(arguments.dropFirst(3).first ?? "1"),
    loops > 0
else {
    let names = (modes.keys.sorted() + otherModes.keys.sorted()).joined(separator: "|")
    print("usage: bench-server PORT \(names) [LOOPS]")
    exit(2)
}
raiseDescriptorLimit()
let group = loops > 1 ? try EventLoopGroup(loops: loops) : nil
try EventLoop.run {
    var options = ServerOptions()
    options.maxConnections = 12_000
    let server = try await startServer(
        port: port, loops: group, options: options, handler: handler)
    try await server.serveForever()
}
