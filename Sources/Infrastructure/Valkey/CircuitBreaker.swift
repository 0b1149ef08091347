// Keeps callers from waiting, one after the other, for a server that does not answer.
// SPDX-License-Identifier: Apache-2.0

/// Closed until so many failures follow each other; then open, with a try of the owner's from time to
/// time (half open), until one succeeds.
package struct CircuitBreaker: Sendable {
    package enum State: String, Sendable {
        case closed
        case open
        case halfOpen = "half_open"
    }

    package private(set) var state = State.closed
    private var failures = 0
    private let threshold: Int

    package init(threshold: Int) { self.threshold = threshold }

    /// Whether callers may try.
    package var isClosed: Bool { state == .closed }

    /// A try began while the circuit is open.
    package mutating func probe() {
        if state == .open { state = .halfOpen }
    }

    package mutating func succeed() {
        failures = 0
        state = .closed
    }

    /// Answers whether this failure opened the circuit.
    package mutating func fail() -> Bool {
        switch state {
        case .closed:
            failures += 1
            guard failures >= threshold else { return false }
            state = .open
            return true
        case .halfOpen:
            state = .open
            return true
        case .open:
            return false
        }
    }
}
