// Whose rights another process changed, and that nobody is told of it twice.
// SPDX-License-Identifier: Apache-2.0

import API
import Domain
import Primitives
import Testing

@Suite("Rights that another process changed")
struct RightsWatchTests {
    private let amina = UserID("00000000-0000-4000-8000-000000000001")
    private let badr = UserID("00000000-0000-4000-8000-000000000002")

    private func grants(_ texts: String...) throws -> Set<Grant> {
        Set(try texts.map { Grant(try #require(Permission($0))) })
    }

    private func caller(_ user: UserID?, _ grants: Set<Grant>) throws -> Caller {
        Caller(
            actor: .user(try #require(user)), grants: Array(grants),
            visibility: Visibility(scopes: []),
            issuedAt: WallTime(microseconds: 0), expiresAt: WallTime(microseconds: 1))
    }

    @Test("whoever lost or got a right is named once, everybody else never")
    func changes() async throws {
        let (metro, bus) = (try grants("camera:METRO:view"), try grants("camera:BUS:view"))
        let callers = [try caller(amina, metro), try caller(amina, metro), try caller(badr, bus)]
        var watch = RightsWatch()
        #expect(await watch.changed(among: callers) { Set($0.grants) }.isEmpty)
        let now: (Caller) async -> Set<Grant>? = { $0.actor.userID == self.amina ? [] : bus }
        let user = try #require(amina)
        #expect(await watch.changed(among: callers, now: now) == [user])
        #expect(await watch.changed(among: callers, now: now).isEmpty)
        #expect(await watch.changed(among: callers) { Set($0.grants) } == [user])
    }

    @Test("what was opened with rights that were gone by then is named at the first look")
    func opened() async throws {
        var watch = RightsWatch()
        let callers = [try caller(amina, try grants("camera:METRO:view"))]
        #expect(await watch.changed(among: callers) { _ in [] }.count == 1)
    }

    @Test("while rights cannot be read nobody has lost any; what they are is seen afterwards")
    func unreadable() async throws {
        let metro = try grants("camera:METRO:view")
        let callers = [try caller(amina, metro)]
        var watch = RightsWatch()
        #expect(await watch.changed(among: callers) { _ in nil }.isEmpty)
        #expect(await watch.changed(among: callers) { _ in metro }.isEmpty)
        #expect(await watch.changed(among: callers) { _ in nil }.isEmpty)
        #expect(await watch.changed(among: callers) { _ in [] }.count == 1)
    }
}
