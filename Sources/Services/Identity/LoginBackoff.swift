// How long a login must wait after failures: by account and by address, never for good.
// SPDX-License-Identifier: Apache-2.0

import Glibc
package import Primitives

/// A few failures are free; then one second, and twice as long after each further one. Failures count
/// by account and by address. Who has signed in from an address before has tries of his own there, so
/// that neither strangers who guess at his account nor colleagues behind the same address who mistype
/// make him wait.
package struct LoginBackoff: Sendable {
    /// A try that may be made; it is ended once, whatever comes of it.
    package struct Attempt: Sendable {
        fileprivate let keys: [Key]
        fileprivate let pair: Pair
    }

    /// What came of a try.
    package enum Ending: Sendable {
        case succeeded
        case failed
        /// The password was not compared.
        case abandoned
    }

    private struct Tries {
        var failures = 0
        /// Begun and not ended: each may still fail.
        var underway = 0
        var next: Instant
        var last: Instant
    }

    fileprivate struct Pair: Hashable {
        var account: String
        var network: String
    }

    fileprivate enum Key: Hashable {
        case account(String)
        case address(String)
        case known(Pair)

        var freeTries: Int {
            if case .address = self { Limits.freeTriesOfAddress } else { Limits.freeTries }
        }

        var longestWait: Duration {
            if case .address = self { Limits.longestWaitOfAddress } else { Limits.longestWait }
        }
    }

    private var tries: [Key: Tries] = [:]
    /// Who has signed in from where, and when last.
    private var known: [Pair: Instant] = [:]

    package init() {}

    /// Begins a try, or answers how long to wait instead. Beyond the free ones they are made one at a
    /// time, so that many at once do not pass together.
    package mutating func begin(
        account: String, address: String, at now: Instant
    ) -> (attempt: Attempt?, wait: Duration) {
        let pair = Pair(account: account, network: Self.network(of: address))
        let keys: [Key] =
            known[pair] == nil ? [.account(account), .address(pair.network)] : [.known(pair)]
        let wait = keys.map { self.wait(for: $0, at: now) }.max() ?? .zero
        guard wait <= .zero else { return (nil, wait) }
        for key in keys { change(key, at: now) { $0.underway += 1 } }
        return (Attempt(keys: keys, pair: pair), .zero)
    }

    package mutating func end(_ attempt: Attempt, _ ending: Ending, at now: Instant) {
        for key in attempt.keys {
            change(key, at: now) { tries in
                tries.underway -= 1
                switch (ending, key) {
                case (.abandoned, _): break
                case (.failed, _): Self.fail(&tries, of: key, at: now)
                // Where people sign in all day, what they mistype is made up for.
                case (.succeeded, .address): tries.failures = max(0, tries.failures - 1)
                case (.succeeded, .account), (.succeeded, .known):
                    tries.failures = 0
                    tries.next = now
                }
            }
        }
        guard ending == .succeeded else { return }
        if known[attempt.pair] == nil, known.count >= Limits.triedNames { forgetKnown() }
        known[attempt.pair] = now
    }

    private func wait(for key: Key, at now: Instant) -> Duration {
        guard let tries = tries[key] else { return .zero }
        if tries.next > now { return tries.next - now }
        let isFull = tries.underway > 0 && tries.failures + tries.underway >= key.freeTries
        return isFull ? Limits.firstWait : .zero
    }

    private static func fail(_ tries: inout Tries, of key: Key, at now: Instant) {
        if now - tries.last > Limits.triesForgotten { tries.failures = 0 }
        tries.failures += 1
        tries.last = now
        let waits = tries.failures - key.freeTries
        guard waits >= 0 else { return }
        let doubled = Limits.firstWait * Double(1 << min(waits, 20))
        tries.next = now + min(doubled, key.longestWait)
    }

    private mutating func change(_ key: Key, at now: Instant, _ body: (inout Tries) -> Void) {
        if tries[key] == nil, tries.count >= Limits.triedNames { forget(at: now) }
        var changed = tries[key] ?? Tries(next: now, last: now)
        body(&changed)
        let isBlank = changed.failures == 0 && changed.underway == 0
        tries[key] = isBlank ? nil : changed
    }

    /// What is old, and where that is not enough the older half at once: one at a time, a flood of names
    /// would make each of its tries walk the whole table.
    private mutating func forget(at now: Instant) {
        tries = tries.filter {
            now - $0.value.last <= Limits.triesForgotten || $0.value.underway > 0
        }
        guard tries.count > Limits.triedNames / 2 else { return }
        let times = tries.values.map(\.last).sorted()
        let middle = times[times.count / 2]
        tries = tries.filter { $0.value.last > middle || $0.value.underway > 0 }
    }

    private mutating func forgetKnown() {
        let times = known.values.sorted()
        let middle = times[times.count / 2]
        known = known.filter { $0.value > middle }
    }

    /// Of IPv6 the network: one customer has all 2⁶⁴ addresses of it.
    private static func network(of address: String) -> String {
        var bytes = in6_addr()
        guard inet_pton(AF_INET6, address, &bytes) == 1 else { return address }
        return withUnsafeBytes(of: &bytes) { raw in
            let prefix = Array(raw.prefix(12))
            let isMapped = prefix == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF]
            return isMapped
                ? raw.suffix(4).map { String($0) }.joined(separator: ".")
                : Array(raw.prefix(8)).map { String($0, radix: 16) }.joined(separator: ":")
        }
    }
}
