// Ends what is watched, played back and listened to with rights that are there no more.
// SPDX-License-Identifier: Apache-2.0

package import Domain
import Identity
import Live
import Playback

extension Routes {
    /// After a change of what these users may do.
    package func reviewRights(of users: Set<UserID>) async {
        tickets.forget(users)
        await review(of: { $0.actor.userID.map(users.contains) ?? false })
    }

    /// After cameras have moved to another source or camera group, or are gone.
    package func reviewRights(on cameras: Set<CameraID>) async {
        await review { cameras.contains($0.cameraID) }
    }

    /// Throws SESSION_REVOKED or CAMERA_NOT_FOUND where the caller's rights ended while something was
    /// being opened with them: what ends such things may have come too early to end it.
    func confirm(
        _ caller: Caller, to action: Permission.Action, _ cameraID: CameraID,
        else end: () async throws -> Void
    ) async throws {
        let isRevoked = services.identity.revocations.isRevoked(caller)
        let opened = HeldCamera(id: "", cameraID: cameraID, holder: caller)
        let hasLost = await hasLost(action, opened)
        guard isRevoked || hasLost else { return }
        try await end()
        throw MarsadError(isRevoked ? .sessionRevoked : .cameraNotFound)
    }

    /// What each of these callers still may goes on, the rest ends. A socket comes back with the rights of
    /// now, so that it is not closed for the same change again.
    func review(of isConcerned: @escaping @Sendable (Caller) -> Bool) async {
        services.hub.reconnect(where: isConcerned)
        await review { isConcerned($0.holder) }
    }

    private func review(_ isConcerned: @Sendable (HeldCamera) -> Bool) async {
        let watched = await services.reservations.held.filter(isConcerned)
        var ended: [String] = []
        for held in watched where await hasLost(.viewCamera, held) { ended.append(held.id) }
        await services.reservations.revoke(ended)
        for held in await services.playback.held.filter(isConcerned)
        where await hasLost(.viewPlayback, held) {
            await services.playback.endSession(held.id)
        }
    }

    /// While the database is away, who watches goes on: his next heartbeat asks again.
    private func hasLost(_ action: Permission.Action, _ held: HeldCamera) async -> Bool {
        do {
            guard let holder = try await services.identity.renewed(held.holder) else { return true }
            _ = try await camera(held.cameraID, for: holder, to: action)
            return false
        } catch let error as MarsadError {
            return [.cameraNotFound, .sourceForbidden].contains(error.code)
        } catch {
            return false
        }
    }
}
