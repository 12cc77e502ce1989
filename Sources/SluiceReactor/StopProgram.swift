// Stopping the program for a caller's mistake, with words that release builds say too. Floor 1.

internal import Glibc

/// Writes the message to standard error and stops. (An optimised `precondition` stops without a
/// word, and the word is what names the call to use instead.)
package func stopProgram(_ message: String) -> Never {
    var line = "sluice: \(message)\n"
    line.withUTF8 { _ = write(STDERR_FILENO, $0.baseAddress, $0.count) }
    preconditionFailure(message)
}
