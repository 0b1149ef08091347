// How long a login must wait after failures: by account and by address, never for good.
// SPDX-License-Identifier: Apache-2.0

import Glibc
package import Primitives

/// A few tries at once, then one second, and twice as long after each failure, up to a quarter of an
/// hour. Tries that come while one must wait are refused without being counted: whoever keeps an
/// account busy delays its owner by that quarter at most.
package struct LoginBackoff: Sendable {
    private struct Tries {
        var failures = 0
        var next: Instant
        var last: Instant
    }

    private enum Key: Hashable {
        case account(String)
        case address(String)
    }

    private var tries: [Key: Tries] = [:]

    package init() {}

    /// Counts a try as failed before it is made, so that many at once do not pass together. Answers
    /// how long to wait instead, where it must.
    package mutating func begin(account: String, address: String, at now: Instant) -> Duration? {
        let keys: [Key] = [.account(account), .address(Self.network(of: address))]
        let wait = keys.compactMap { tries[$0]?.next }.max().map { $0 - now } ?? .zero
        guard wait <= .zero else { return wait }
        for key in keys { fail(key, at: now) }
        return nil
    }

    /// The try that was begun was right: the account starts anew, the address is as before it.
    package mutating func succeeded(account: String, address: String) {
        tries[.account(account)] = nil
        let key = Key.address(Self.network(of: address))
        guard var known = tries[key] else { return }
        known.failures -= 1
        known.next = known.last
        tries[key] = known.failures > 0 ? known : nil
    }

    private mutating func fail(_ key: Key, at now: Instant) {
        var known = tries[key] ?? Tries(next: now, last: now)
        if now - known.last > Limits.triesForgotten { known.failures = 0 }
        known.failures += 1
        known.last = now
        let waits = known.failures - Limits.freeTries
        if waits >= 0 {
            let doubled = Limits.firstWait * Double(1 << min(waits, 20))
            known.next = now + min(doubled, Limits.longestWait)
        } else {
            known.next = now
        }
        if tries[key] == nil, tries.count >= Limits.triedNames { forget(at: now) }
        tries[key] = known
    }

    /// What is old, and where that is not enough the older half at once: one at a time, a flood of names
    /// would make each of its tries walk the whole table.
    private mutating func forget(at now: Instant) {
        tries = tries.filter { now - $0.value.last <= Limits.triesForgotten }
        guard tries.count > Limits.triedNames / 2 else { return }
        let times = tries.values.map(\.last).sorted()
        let middle = times[times.count / 2]
        tries = tries.filter { $0.value.last > middle }
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
