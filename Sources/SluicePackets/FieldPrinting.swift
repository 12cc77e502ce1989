// How a record is printed: its fields with their labels, in one line of bounded length. Floor 3;
// pure.

extension FieldCoder {
    /// The most elements of an array that are printed, and bytes of raw ones.
    @usableFromInline static var printedElements: Int { 16 }
    /// Unicode scalars of a text that are printed: a character may have any number of them.
    private static var printedScalars: Int { 64 }
    /// UTF-8 bytes after which a record's line ends.
    private static var printedBytes: Int { 4_096 }

    /// Prints a field.
    @usableFromInline @inline(never)
    mutating func note<T>(_ label: StaticString, _ value: T) {
        note(label, words: "\(value)")
    }

    @usableFromInline @inline(never)
    mutating func note<T>(_ label: StaticString, elements: [T]) {
        let shown = elements.prefix(Self.printedElements).map { "\($0)" }.joined(separator: ", ")
        let more = elements.count > Self.printedElements ? ", … \(elements.count)" : ""
        note(label, words: "[\(shown)\(more)]")
    }

    mutating func note(_ label: StaticString, text: String) {
        let isLong = text.utf8.count > Self.printedScalars
        let shown = isLong ? String(text.unicodeScalars.prefix(Self.printedScalars)) : text
        note(label, words: shown.debugDescription + (isLong ? "… \(text.utf8.count)" : ""))
    }

    mutating func note(_ label: StaticString, bytes: [UInt8]) {
        let shown = bytes.prefix(Self.printedElements).map { byte in
            (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }
        let more = bytes.count > Self.printedElements ? "… \(bytes.count)" : ""
        note(label, words: "<\(shown.joined())\(more)>")
    }

    /// Says that an array has more elements than were printed.
    @usableFromInline @inline(never)
    mutating func printMore(_ count: Int) {
        printed += ", … \(count)"
    }

    /// Opens what contains other fields.
    @usableFromInline @inline(never)
    mutating func beginNote(_ label: StaticString, _ bracket: StaticString) {
        note(label, words: "\(bracket)")
    }

    @usableFromInline @inline(never)
    mutating func endNote(_ bracket: StaticString) {
        if !hasFailed { printed += "\(bracket)" }
    }

    @usableFromInline
    mutating func note(_ label: StaticString, words: String) {
        guard !hasFailed else { return }
        if let last = printed.utf8.last, last != UInt8(ascii: "("), last != UInt8(ascii: "[") {
            printed += ", "
        }
        printed += "\(label): \(words)"
        // The mark of a failure says that there is more.
        if printed.utf8.count > Self.printedBytes { fail(label, "too long to print") }
    }
}
