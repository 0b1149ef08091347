// Limits read and changed by somebody: in force at once, kept, and told to the audit log.
// SPDX-License-Identifier: Apache-2.0

package import Database
package import Domain
import Primitives

/// Changes the limits of a running server.
package struct LimitAdministration: Sendable {
    /// Commits statements with the event that tells of them, both or neither.
    package typealias Commit =
        @Sendable (AuditEvent, [Statement]) async throws(DatabaseError) -> Void

    private let store: LimitStore
    private let quota: QuotaService
    private let configured: SeatLimits
    private let world: World
    private let commit: Commit

    /// - Parameter configured: in force while none were ever written.
    package init(
        store: LimitStore, quota: QuotaService, configured: SeatLimits, world: World,
        commit: @escaping Commit
    ) {
        self.store = store
        self.quota = quota
        self.configured = configured
        self.world = world
        self.commit = commit
    }

    package func current() async throws(MarsadError) -> StoredLimits {
        do {
            return try await store.newest() ?? StoredLimits(limits: configured, version: 0)
        } catch {
            throw MarsadError(.storageUnavailable)
        }
    }

    /// Puts limits in force here at once, and in other processes within two seconds. Who is watching
    /// goes on, also where there are more than the new limit.
    /// - Parameter version: that they are a change of; CONFLICT where it is not the newest. `nil`: of any.
    package func change(
        to limits: SeatLimits, from version: Int64?, by caller: Caller
    ) async throws(MarsadError) -> StoredLimits {
        let before = try await current()
        var details = ["limits": Self.text(limits), "limits_before": Self.text(before.limits)]
        details["document"] = "limits"
        do {
            var statements = [
                try LimitStore.insertion(
                    of: limits, by: caller.actor.description, at: world.wallTime())
            ]
            if let version { statements.insert(LimitStore.check(version), at: 0) }
            try await commit(AuditEvent(.settingsChanged, by: caller, details: details), statements)
        } catch .expectationFailed, .constraint(.unique, _) {
            throw MarsadError(
                .conflict, details: ["reason": "the limits have another version by now"])
        } catch {
            throw MarsadError(.storageUnavailable)
        }
        await quota.setLimits(limits)
        return try await current()
    }

    private static func text(_ limits: SeatLimits) -> String {
        let agencies = limits.agencies.sorted { $0.key < $1.key }.map { source, agency in
            "\(source)=\(agency.limit.map(String.init) ?? "none")"
        }
        let total = "total=\(limits.total.map(String.init) ?? "none")"
        return (agencies + [total]).joined(separator: " ")
    }
}
