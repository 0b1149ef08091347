// Who waits after failed logins, how long, and who does not.
// SPDX-License-Identifier: Apache-2.0

import Identity
import Primitives
import Testing

/// A back-off with its clock.
private struct Logins {
    private var backoff = LoginBackoff()
    var now = Instant(nanoseconds: 0)

    mutating func begin(_ account: String, from address: String) -> LoginBackoff.Attempt? {
        backoff.begin(account: account, address: address, at: now).attempt
    }

    mutating func end(_ attempt: LoginBackoff.Attempt, _ ending: LoginBackoff.Ending) {
        backoff.end(attempt, ending, at: now)
    }

    /// How long a try would have to wait.
    func wait(_ account: String, from address: String) -> Duration {
        var copy = backoff
        return copy.begin(account: account, address: address, at: now).wait
    }

    /// A try with its ending; `nil` when it was made, else how long to wait.
    mutating func make(
        _ account: String, from address: String, _ ending: LoginBackoff.Ending
    ) -> Duration? {
        let (attempt, wait) = backoff.begin(account: account, address: address, at: now)
        guard let attempt else { return wait }
        backoff.end(attempt, ending, at: now)
        return nil
    }
}

@Suite struct LoginBackoffTests {

    @Test(
        "an account's waits double from a second to a quarter of an hour, and a quiet hour ends them"
    )
    func account() {
        var logins = Logins()
        var waits: [Int] = []
        for number in 0..<16 {
            #expect(logins.make("a", from: "x\(number)", .failed) == nil)
            let wait = logins.wait("a", from: "elsewhere")
            waits.append(Int(wait.inSeconds))
            logins.now = logins.now + wait
        }
        #expect(
            waits == [0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900, 900])
        logins.now = logins.now + .seconds(3601)
        #expect(logins.make("a", from: "y", .failed) == nil)
        #expect(logins.make("a", from: "z", .failed) == nil)
    }

    @Test("an address waits a minute at most; of IPv6 it is the network")
    func address() {
        var logins = Logins()
        var waits: [Int] = []
        for number in 0..<14 {
            #expect(logins.make("a\(number)", from: "2001:db8:1:2::\(number + 1)", .failed) == nil)
            let wait = logins.wait("other", from: "2001:db8:1:2::9")
            waits.append(Int(wait.inSeconds))
            logins.now = logins.now + wait
        }
        #expect(waits == [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60])
        #expect(logins.make("other", from: "2001:db8:1:3::1", .failed) == nil)
    }

    @Test("failures count, tries do not: a shift that signs in at once does not wait")
    func shift() {
        var logins = Logins()
        for number in 0..<200 {
            #expect(logins.make("operator\(number)", from: "nat", .succeeded) == nil)
        }
        // Nor does who mistypes now and then among them.
        for number in 0..<200 {
            #expect(logins.make("new\(number)", from: "nat", .failed) == nil)
            #expect(logins.make("new\(number)", from: "nat", .succeeded) == nil)
        }
    }

    @Test("who has signed in from an address before does not wait for what others do")
    func known() {
        var logins = Logins()
        #expect(logins.make("amina", from: "nat", .succeeded) == nil)
        for number in 0..<50 {
            _ = logins.make("stranger\(number)", from: "nat", .failed)
            _ = logins.make("amina", from: "elsewhere\(number)", .failed)
        }
        #expect(logins.wait("badr", from: "nat") > .zero)
        #expect(logins.wait("amina", from: "elsewhere") > .zero)
        #expect(logins.make("amina", from: "nat", .failed) == nil)
        #expect(logins.make("amina", from: "nat", .succeeded) == nil)
        // Her own failures count there as everybody's do.
        for _ in 0..<3 { #expect(logins.make("amina", from: "nat", .failed) == nil) }
        #expect(logins.make("amina", from: "nat", .succeeded) == .seconds(1))
    }

    @Test(
        "tries that are under way count as long as they may fail, and one that ended otherwise does not"
    )
    func underway() {
        var logins = Logins()
        var attempts: [LoginBackoff.Attempt] = []
        for number in 0..<10 {
            if let attempt = logins.begin("a\(number)", from: "x") { attempts.append(attempt) }
        }
        #expect(attempts.count == 5)
        for attempt in attempts { logins.end(attempt, .abandoned) }
        #expect(logins.make("a", from: "x", .failed) == nil)
    }

    @Test("a full table forgets the oldest and goes on")
    func flood() {
        var logins = Logins()
        for number in 0..<50_000 {
            logins.now = logins.now + .milliseconds(1)
            #expect(logins.make("b\(number)", from: "host-\(number)", .failed) == nil)
            if number.isMultiple(of: 2) {
                #expect(logins.make("c\(number)", from: "host-\(number)", .succeeded) == nil)
            }
        }
        #expect(logins.make("c49998", from: "host-49998", .failed) == nil)
    }
}
