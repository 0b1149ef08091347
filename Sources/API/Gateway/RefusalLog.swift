// Tells the audit log who was refused what, and never so often that strangers could fill it.
// SPDX-License-Identifier: Apache-2.0

package import Domain
import HTTPTypes
import Hummingbird
import Primitives
import Synchronization

/// Refusals of routes that ask who calls. Somebody who is refused again and again is told of now and
/// then, with how often; so is everybody together, since addresses cost nothing.
package final class RefusalLog: Sendable {
    private static let remembered = 4096
    /// Of one user or address, and of all.
    private static let burst = 20
    private static let perSecond = 1
    private static let burstOfAll = 200
    private static let perSecondOfAll = 20

    private enum Who: Hashable {
        case actor(Actor)
        case network([UInt8])
    }

    private struct History {
        var bucket: TokenBucket
        var untold = 0
    }

    private struct State {
        var byWho = RecentTable<Who, History>(capacity: remembered)
        var all: TokenBucket
    }

    private let world: World
    private let auditing: Auditing
    private let state: Mutex<State>

    package init(world: World, auditing: Auditing) {
        self.world = world
        self.auditing = auditing
        state = Mutex(State(all: TokenBucket(depth: Self.burstOfAll, at: world.now())))
    }

    /// Writes a refusal for lack of a right; any other error is none.
    func tell(
        _ error: MarsadError, _ request: Request, _ context: MarsadRequestContext, route: String
    ) {
        guard [401, 403].contains(error.status ?? error.code.text.status) else { return }
        let actor = context.caller.actor
        let who = actor == .anonymous ? Who.network(context.address.network) : .actor(actor)
        guard let untold = count(who) else { return }
        var details = error.details
        details["code"] = error.code.rawValue
        details["method"] = request.method.rawValue
        details["route"] = route
        if untold > 0 { details["untold_before"] = String(untold) }
        let event = AuditEvent(
            .accessDenied, by: actor, origin: context.origin(of: request), details: details)
        // A refusal stands, whether it can be written or not.
        try? auditing.note(event)
    }

    /// How many of these refusals were not told since the last one that was; `nil` for another one.
    private func count(_ who: Who) -> Int? {
        let now = world.now()
        return state.withLock { state in
            var all = state.all
            defer { state.all = all }
            // Of all only what its own bucket lets through: one flood must not silence the others.
            return state.byWho.update(who, default: { History(bucket: Self.bucket(at: now)) }) {
                history in
                guard
                    history.bucket.take(perSecond: Self.perSecond, depth: Self.burst, at: now)
                        == nil,
                    all.take(
                        perSecond: Self.perSecondOfAll, depth: Self.burstOfAll, at: now) == nil
                else {
                    history.untold += 1
                    return nil
                }
                defer { history.untold = 0 }
                return history.untold
            }
        }
    }

    private static func bucket(at now: Instant) -> TokenBucket {
        TokenBucket(depth: burst, at: now)
    }
}
