// Rights that ended: known in memory on every node, within a second of the row.
// SPDX-License-Identifier: Apache-2.0

package import Database
package import Domain
package import Primitives
import Synchronization

/// The users and sessions whose tokens, links and streams are dead. What this process revokes counts
/// at once; what another one revoked, with the next `poll`.
package final class Revocations: Sendable {
    package typealias Listener = @Sendable (Revocation) async -> Void

    private struct State {
        var notBefore: [Revocation.Target: WallTime] = [:]
        var listeners: [Listener] = []
    }

    private let database: any DatabaseEngine
    private let world: World
    private let state = Mutex(State())

    package init(database: any DatabaseEngine, world: World) {
        self.database = database
        self.world = world
    }

    /// Called once for each new revocation: ends what was given out before it.
    package func onRevocation(_ listener: @escaping Listener) {
        state.withLock { $0.listeners.append(listener) }
    }

    /// Whether what was given out then is dead now. In memory: for every request and every link.
    package func isRevoked(user: UserID?, session: String?, issuedAt: WallTime) -> Bool {
        state.withLock { state in
            let targets =
                [user.map { .user($0) }, session.map { .session($0) }]
                as [Revocation.Target?]
            return targets.contains { target in
                guard let target, let notBefore = state.notBefore[target] else { return false }
                return issuedAt <= notBefore
            }
        }
    }

    package func isRevoked(_ caller: Caller) -> Bool {
        isRevoked(
            user: caller.actor.userID, session: caller.sessionID, issuedAt: caller.issuedAt)
    }

    /// Takes the rows of all nodes; call about twice a second.
    package func poll() async throws(DatabaseError) {
        let rows = try await database.query(
            Statement(
                "SELECT kind, id, not_before FROM revoked_sessions WHERE expires_at > ?",
                [.integer(world.wallTime().microseconds)]))
        var found: [Revocation] = []
        for row in rows {
            let id = try row.text("id")
            let notBefore = WallTime(microseconds: try row.integer("not_before"))
            switch try row.text("kind") {
            case "SESSION": found.append(Revocation(.session(id), notBefore: notBefore))
            default:
                guard let user = UserID(id) else { continue }
                found.append(Revocation(.user(user), notBefore: notBefore))
            }
        }
        forget(except: Set(found.map(\.target)))
        for revocation in found { await apply(revocation) }
    }

    /// Makes a revocation count in this process, once, and ends what it ends.
    func apply(_ revocation: Revocation) async {
        let listeners: [Listener] = state.withLock { state in
            if let known = state.notBefore[revocation.target], known >= revocation.notBefore {
                return []
            }
            state.notBefore[revocation.target] = revocation.notBefore
            return state.listeners
        }
        for listener in listeners { await listener(revocation) }
    }

    /// What its row says is over can end nothing any more. A fresh one, whose row a poll that began
    /// before it has not seen, stays.
    private func forget(except present: Set<Revocation.Target>) {
        let oldest = world.wallTime() + (.zero - Limits.revocation)
        state.withLock { state in
            state.notBefore = state.notBefore.filter {
                present.contains($0.key) || $0.value > oldest
            }
        }
    }

    // MARK: Rows

    static func revoke(_ revocation: Revocation) -> Statement {
        let (kind, id) =
            switch revocation.target {
            case .user(let id): ("USER", id.rawValue)
            case .session(let id): ("SESSION", id)
            }
        return Statement(
            """
            INSERT INTO revoked_sessions (kind, id, not_before, expires_at) VALUES (?, ?, ?, ?)
            ON CONFLICT (kind, id) DO UPDATE SET not_before = excluded.not_before,
                expires_at = excluded.expires_at
            """,
            [
                .text(kind), .text(id), .integer(revocation.notBefore.microseconds),
                .integer((revocation.notBefore + Limits.revocation).microseconds),
            ])
    }

    static func forget(at now: WallTime) -> Statement {
        Statement(
            "DELETE FROM revoked_sessions WHERE expires_at < ?", [.integer(now.microseconds)])
    }
}
