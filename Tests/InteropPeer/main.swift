// InteropPeer: speaks the wire formats of other packages with their own programs. Run by
// Tests/Acceptance/easy_network.py.
//
//   InteropPeer serve MODE          prints "listening on 127.0.0.1:PORT"; sends every packet back
//   InteropPeer ask MODE PORT       sends packets of all sizes, one by one and in a row, compares
//                                   what comes back, and prints "N packets"

import Glibc

let words = Array(CommandLine.arguments.dropFirst())
guard words.count > 1, let mode = Mode.all[words[1]] else {
    print("usage: InteropPeer serve MODE | ask MODE PORT; modes: \(Mode.all.keys.sorted())")
    exit(2)
}
if words[0] == "serve" {
    try await mode.serve()
} else if words.count > 2, let port = Int(words[2]) {
    print("\(try await mode.ask(port)) packets")
}
