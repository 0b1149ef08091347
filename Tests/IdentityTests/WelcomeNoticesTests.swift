// Notices of new users: signed, tried again, and in nobody's way.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Identity
import JSON
import Primitives
import Synchronization
import Testing

@Suite struct WelcomeNoticesTests {
    private static let secret = Redacted("a secret of the one who welcomes people")

    private static func webhook() throws -> IAMWebhook {
        try #require(IAMWebhook(secret: secret))
    }

    private struct Request: Sendable {
        var body: [UInt8]
        var headers: [String: String]
    }

    private struct Refusal: Error {}

    /// A receiver that refuses the first requests, and what became of the notices.
    private final class Receiver: Sendable {
        let clock = TestWorld()
        let requests = Mutex<[Request]>([])
        let pauses = Mutex<[Duration]>([])
        let outcomes: AsyncStream<String>
        private let told: AsyncStream<String>.Continuation
        private let refusals: Mutex<Int>

        init(refusing: Int = 0) {
            refusals = Mutex(refusing)
            (outcomes, told) = AsyncStream.makeStream()
        }

        func notices() throws -> WelcomeNotices {
            WelcomeNotices(
                webhook: try WelcomeNoticesTests.webhook(), world: clock.world,
                send: { body, headers in
                    let names = Dictionary(uniqueKeysWithValues: headers.map { ($0, $1) })
                    self.requests.withLock { $0.append(Request(body: body, headers: names)) }
                    let isRefused = self.refusals.withLock { left in
                        left -= 1
                        return left >= 0
                    }
                    if isRefused { throw Refusal() }
                },
                pause: { time in
                    self.pauses.withLock { $0.append(time) }
                    self.clock.advance(by: time)
                },
                report: { outcome, user in self.told.yield(Self.text(outcome, user)) })
        }

        private static func text(_ outcome: WelcomeOutcome, _ user: User) -> String {
            switch outcome {
            case .delivered: "delivered \(user.loginID)"
            case .failed: "failed \(user.loginID)"
            case .dropped: "dropped \(user.loginID)"
            }
        }
    }

    private func user(_ login: String) throws -> User {
        var profile = UserProfile(
            displayName: "Fatima \"Fa\" Ali", fullNameArabic: "فاطمة علي",
            agency: OrganizationUnit(code: "METRO", name: "Metro", nameArabic: "المترو"))
        profile.email = "fatima@metro.example"
        return User(
            id: try #require(UserID("00000000-0000-4000-8000-000000000001")),
            loginID: try #require(LoginID(login)), origin: .local, profile: profile,
            status: .pending, createdAt: TestWorld.start)
    }

    @Test("a notice is an event as those that come in, and is signed like them")
    func signed() async throws {
        let receiver = Receiver()
        let notices = try receiver.notices()
        notices.welcome(try user("fatima"))
        var outcomes = receiver.outcomes.makeAsyncIterator()
        #expect(await outcomes.next() == "delivered fatima")
        let request = try #require(receiver.requests.withLock { $0.first })
        let webhook = try Self.webhook()
        let event = try webhook.verify(
            body: request.body, signature: request.headers["X-IAM-Signature"] ?? "",
            timestamp: request.headers["X-IAM-Timestamp"] ?? "",
            at: receiver.clock.world.wallTime())
        #expect(event.kind == .userCreated)
        #expect(
            event.data == [
                "user_id": "00000000-0000-4000-8000-000000000001", "login_id": "fatima",
                "display_name": "Fatima \"Fa\" Ali", "full_name_arabic": "فاطمة علي",
                "agency": .object(["code": "METRO", "name": "Metro", "name_arabic": "المترو"]),
                "status": "PENDING", "origin": "LOCAL", "email": "fatima@metro.example",
            ])
    }

    @Test("a refused notice is sent again after growing pauses: the same event, signed anew")
    func again() async throws {
        let receiver = Receiver(refusing: 2)
        let notices = try receiver.notices()
        notices.welcome(try user("fatima"))
        var outcomes = receiver.outcomes.makeAsyncIterator()
        #expect(await outcomes.next() == "delivered fatima")
        #expect(receiver.pauses.withLock { $0 } == [.seconds(1), .seconds(5)])
        let requests = receiver.requests.withLock { $0 }
        #expect(requests.count == 3)
        #expect(Set(requests.map(\.body)).count == 1)
        #expect(Set(requests.map { $0.headers["X-IAM-Signature"] }).count == 3)
    }

    @Test("after three tries it is given up, and the next user has three of its own")
    func failed() async throws {
        let receiver = Receiver(refusing: 3)
        let notices = try receiver.notices()
        var outcomes = receiver.outcomes.makeAsyncIterator()
        notices.welcome(try user("fatima"))
        #expect(await outcomes.next() == "failed fatima")
        notices.welcome(try user("omar"))
        #expect(await outcomes.next() == "delivered omar")
        #expect(receiver.requests.withLock { $0.count } == 4)
    }

    @Test("a few are sent at once, a thousand wait, and what comes then is dropped")
    func bounded() async throws {
        let (begun, begin) = AsyncStream<Void>.makeStream()
        let (outcomes, told) = AsyncStream<String>.makeStream()
        let (release, open) = AsyncStream<Void>.makeStream()
        let gate = Task { for await _ in release {} }
        let notices = WelcomeNotices(
            webhook: try Self.webhook(), world: TestWorld().world,
            send: { _, _ in
                begin.yield()
                await gate.value
            },
            pause: { _ in },
            report: { outcome, user in
                if case .dropped = outcome { told.yield("dropped \(user.loginID)") }
                if case .delivered = outcome { told.yield("delivered") }
            })
        var started = begun.makeAsyncIterator()
        for _ in 0..<4 { notices.welcome(try user("first")) }
        for _ in 0..<4 { await started.next() }
        for _ in 0..<1000 { notices.welcome(try user("waiting")) }
        notices.welcome(try user("late"))
        var results = outcomes.makeAsyncIterator()
        #expect(await results.next() == "dropped late")
        open.finish()
        for _ in 0..<1004 { #expect(await results.next() == "delivered") }
    }

    @Test("at the end what hangs is given up when patience ends")
    func finish() async throws {
        let (begun, begin) = AsyncStream<Void>.makeStream()
        let (never, end) = AsyncStream<Void>.makeStream()
        let outcome = Mutex("")
        let notices = WelcomeNotices(
            webhook: try Self.webhook(), world: TestWorld().world,
            send: { _, _ in
                begin.yield()
                // Hangs until it is cancelled.
                for await _ in never {}
                try Task.checkCancellation()
            },
            pause: { _ in try Task.checkCancellation() },
            report: { result, _ in
                outcome.withLock { $0 = if case .failed = result { "failed" } else { "other" } }
            })
        notices.welcome(try user("fatima"))
        var started = begun.makeAsyncIterator()
        await started.next()
        await notices.finish(patience: .seconds(1))
        end.finish()
        #expect(outcome.withLock { $0 } == "failed")
    }

    @Test("at the end what only waits is given up without a try")
    func waiting() async throws {
        let (begun, begin) = AsyncStream<Void>.makeStream()
        let (never, end) = AsyncStream<Void>.makeStream()
        let sent = Mutex(0)
        let failed = Mutex(0)
        let notices = WelcomeNotices(
            webhook: try Self.webhook(), world: TestWorld().world,
            send: { _, _ in
                sent.withLock { $0 += 1 }
                begin.yield()
                for await _ in never {}
                try Task.checkCancellation()
            },
            pause: { _ in try Task.checkCancellation() },
            report: { result, _ in
                if case .failed = result { failed.withLock { $0 += 1 } }
            })
        for number in 0..<10 { notices.welcome(try user("fatima\(number)")) }
        var started = begun.makeAsyncIterator()
        for _ in 0..<4 { await started.next() }
        await notices.finish(patience: .seconds(1))
        end.finish()
        #expect(failed.withLock { $0 } == 10)
        #expect(sent.withLock { $0 } == 4)
    }

    @Test("whoever makes a user, it is told of once; one that could not be made is not")
    func service() async throws {
        let welcomed = Mutex<[String]>([])
        try await IdentityRig.with(
            welcome: { user in welcomed.withLock { $0.append(user.loginID.rawValue) } }
        ) { rig in
            try await rig.user("fatima")
            try await rig.user("guest", origin: .external)
            _ = await code { try await rig.user("fatima") }
            #expect(welcomed.withLock { $0 } == ["fatima", "guest"])
        }
    }
}
