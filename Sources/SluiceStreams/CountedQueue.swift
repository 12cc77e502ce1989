// CountedQueue: first in, first out, with a running count of bytes. A pure core. Floor 2.
// Inlinable, or the floor above would ask the runtime for types at each use.
//
// Invariant: `bytes` is the sum of what was given for the elements in it.

@usableFromInline
package struct CountedQueue<Element> {
    @usableFromInline var elements: [(element: Element, bytes: Int)?] = []
    @usableFromInline var head = 0
    /// What its elements are taken to hold.
    @usableFromInline package internal(set) var bytes = 0

    @inlinable
    package init() {}

    @inlinable package var count: Int { elements.count - head }
    @inlinable package var isEmpty: Bool { head == elements.count }

    /// The element at a place, 0 being the first.
    @inlinable package subscript(index: Int) -> Element {
        guard let found = elements[head + index] else { preconditionFailure("it was taken") }
        return found.element
    }

    @inlinable package var first: Element? { isEmpty ? nil : self[0] }

    @inlinable
    package mutating func append(_ element: Element, bytes: Int) {
        elements.append((element, bytes))
        self.bytes += bytes
    }

    @inlinable
    package mutating func popFirst() -> Element? {
        guard !isEmpty, let first = elements[head] else { return nil }
        elements[head] = nil
        head += 1
        bytes -= first.bytes
        tidy()
        return first.element
    }

    @inlinable package var last: Element? { isEmpty ? nil : self[count - 1] }

    /// Takes back what was appended last.
    @inlinable
    package mutating func removeLast() {
        guard !isEmpty, let last = elements.removeLast() else { return }
        bytes -= last.bytes
        tidy()
    }

    @inlinable
    package mutating func removeFirst(_ count: Int) {
        for _ in 0..<count { _ = popFirst() }
    }

    @inlinable
    package func contains(where isWanted: (Element) -> Bool) -> Bool {
        elements[head...].contains { $0.map { isWanted($0.element) } ?? false }
    }

    /// Moves the first element to the end of another queue.
    @inlinable
    package mutating func moveFirst(to other: inout CountedQueue) {
        let before = bytes
        if let element = popFirst() { other.append(element, bytes: before - bytes) }
    }

    @inlinable
    package mutating func append(contentsOf other: CountedQueue) {
        for index in other.head..<other.elements.count {
            if let entry = other.elements[index] { append(entry.element, bytes: entry.bytes) }
        }
    }

    /// Gives memory back: nothing is owned while it is empty.
    @inlinable
    mutating func tidy() {
        if isEmpty {
            elements.removeAll(keepingCapacity: elements.capacity <= 64)
            head = 0
        } else if head >= 64, head * 2 >= elements.count {
            elements.removeFirst(head)
            head = 0
        }
    }
}
