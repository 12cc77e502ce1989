// InteropPeer: speaks the wire formats of other packages with their own programs. Run by
// Tests/Acceptance/easy_network.py and packet_streams.py.
//
//   InteropPeer serve MODE [PLACE]  prints "listening on 127.0.0.1:PORT"; sends every packet back,
//                                   or what the mode says
//   InteropPeer ask MODE PLACE      sends packets of all sizes, one by one and in a row, compares
//                                   what comes back, and prints "N packets"
//
// A place is a port, or the path of a Unix socket for the mode that has descriptors pass.

import Glibc

let words = Array(CommandLine.arguments.dropFirst())
guard words.count > 1, let mode = Mode.all[words[1]] else {
    print("usage: InteropPeer serve MODE [PLACE] | ask MODE PLACE")
    print("modes: \(Mode.all.keys.sorted())")
    exit(2)
}
if words[0] == "serve" {
    try await mode.serve(words.count > 2 ? words[2] : "0")
} else if words.count > 2 {
    print("\(try await mode.ask(words[2])) packets")
}
