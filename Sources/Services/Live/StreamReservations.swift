// The right to watch a camera for a while: taken before viewing, kept by heartbeats.
// SPDX-License-Identifier: Apache-2.0

package import Domain
package import Primitives

/// A granted reservation.
package struct StreamReservation: Sendable {
    package var id: String
    package var token: Redacted<String>
    package var cameraID: CameraID
    package var source: Source
    /// What its viewers are shown.
    package var quality: StreamQuality
    /// Who watches: the only one who may keep it or give it back.
    package var holder: Caller
    package var expiresAt: WallTime
    /// Of its source, when it was granted.
    package var usage: SourceUsage
    fileprivate var expires: Instant
    /// No heartbeat reaches beyond it.
    fileprivate var last: Instant?
    fileprivate var sessions: Set<String> = []
}

/// Reservations in this process's memory; whether there is a seat for one is the quota's to say.
package actor StreamReservations {
    private let world: World
    private let seats: SeatGate
    private let auditing: Auditing
    private let close: @Sendable (String) async -> Void
    private var reservations: [String: StreamReservation] = [:]
    private var byToken: [String: String] = [:]
    /// Tokens that ran out a moment ago, so that their holders hear so instead of "unknown".
    private var expired = RecentNames(
        memory: Limits.expiredTokenMemory, limit: Limits.recentNames)
    /// Reservations whose seat was taken away a moment ago, for the same reason.
    private var preempted = RecentNames(
        memory: Limits.expiredTokenMemory, limit: Limits.recentNames)
    /// Those that wait for a seat.
    private var asked = 0

    /// - Parameter close: ends the session of a viewer whose reservation ended.
    package init(
        world: World, seats: SeatGate, auditing: Auditing,
        close: @escaping @Sendable (String) async -> Void
    ) {
        self.world = world
        self.seats = seats
        self.auditing = auditing
        self.close = close
    }

    package static var heartbeatInterval: Duration { Limits.heartbeatInterval }

    /// Throws STORAGE_UNAVAILABLE where it cannot be told to the audit log either.
    package func reserve(
        _ cameraID: CameraID, source: Source, quality: StreamQuality = .auto, duration: Duration?,
        priority: SeatPriority = .normal, by holder: Caller
    ) async throws(MarsadError) -> StreamReservation {
        guard reservations.count + asked < Limits.reservations else {
            throw MarsadError(.overloaded, details: ["retry_after": "2"])
        }
        asked += 1
        defer { asked -= 1 }
        let id = world.makeID()
        let usage = try await seats.take(
            SeatRequest(
                reservation: id, cameraID: cameraID, source: source, priority: priority))
        do {
            try auditing.note(
                AuditEvent(
                    .viewStarted, by: holder,
                    details: [
                        "camera_id": cameraID.rawValue, "source": source.rawValue,
                        "reservation_id": id,
                    ]))
        } catch {
            await seats.giveBack(id)
            throw error
        }
        let now = world.now()
        let token = world.secureRandomBytes(24).hex
        let length = min(duration ?? Limits.reservation, Limits.reservation)
        let reservation = StreamReservation(
            id: id, token: Redacted(token), cameraID: cameraID, source: source, quality: quality,
            holder: holder, expiresAt: world.wallTime() + length, usage: usage,
            expires: now + length,
            last: duration.map { now + min($0, Limits.longestReservation) })
        reservations[reservation.id] = reservation
        byToken[token] = reservation.id
        return reservation
    }

    /// Prolongs a reservation; answers how long it now lasts.
    package func heartbeat(
        _ id: String, by caller: Caller
    ) async throws(MarsadError) -> (StreamReservation, Duration) {
        let now = world.now()
        guard var reservation = reservations[id], reservation.holder.actor == caller.actor,
            reservation.expires > now
        else {
            guard preempted.contains(id) else { throw MarsadError(.reservationNotFound) }
            throw MarsadError(.reservationNotFound, details: ["reason": "PREEMPTED"])
        }
        let wanted = now + Limits.reservation
        reservation.expires = reservation.last.map { min($0, wanted) } ?? wanted
        let left = reservation.expires - now
        reservation.expiresAt = world.wallTime() + left
        reservations[id] = reservation
        await seats.touch(id)
        return (reservation, left)
    }

    /// Gives a reservation back and ends what was watched with it. Twice is harmless; another's is
    /// RESERVATION_NOT_FOUND.
    package func release(_ id: String, by caller: Caller) async throws(MarsadError) {
        guard let reservation = reservations[id] else { return }
        guard reservation.holder.actor == caller.actor else {
            throw MarsadError(.reservationNotFound)
        }
        guard let gone = remove(id) else { return }
        await end(gone, .released)
    }

    /// Ends what somebody watches whose rights have ended.
    package func revoke(_ revocation: Revocation) async {
        await revoke(
            reservations.values.filter { revocation.ends($0.holder) }.map(\.id).sorted())
    }

    /// All that is watched, with who watches it.
    package var held: [HeldCamera] {
        reservations.values.map { HeldCamera(id: $0.id, cameraID: $0.cameraID, holder: $0.holder) }
    }

    /// Ends these reservations, whose holders may watch their cameras no more.
    package func revoke(_ ids: [String]) async {
        let now = world.now()
        for id in ids {
            guard let gone = remove(id) else { continue }
            expired.insert(gone.token.reveal(), at: now)
            await end(gone, .revoked)
        }
    }

    /// Ends reservations whose seats were taken away for somebody more urgent.
    package func preempt(_ ids: [String]) async {
        let now = world.now()
        for id in ids {
            guard let gone = remove(id) else { continue }
            preempted.insert(id, at: now)
            expired.insert(gone.token.reveal(), at: now)
            await end(gone, .preempted)
        }
    }

    /// Who holds the reservation that a token stands for.
    package func holder(of token: String) throws(MarsadError) -> Caller {
        try reservation(of: token).holder
    }

    /// The reservation that a token stands for, if it is one for this camera.
    package func check(_ token: String, for cameraID: CameraID) throws(MarsadError) -> String {
        let reservation = try reservation(of: token)
        guard reservation.cameraID == cameraID else { throw MarsadError(.forbidden) }
        return reservation.id
    }

    private func reservation(of token: String) throws(MarsadError) -> StreamReservation {
        guard let id = byToken[token], let reservation = reservations[id] else {
            throw MarsadError(expired.contains(token) ? .tokenExpired : .invalidToken)
        }
        guard reservation.expires > world.now() else { throw MarsadError(.tokenExpired) }
        return reservation
    }

    /// What the viewers of a reservation are to be shown.
    package func quality(of id: String) -> StreamQuality { reservations[id]?.quality ?? .auto }

    /// The session ends with the reservation; false when that has ended meanwhile.
    package func bind(_ session: String, to id: String) async -> Bool {
        guard reservations[id] != nil else { return false }
        reservations[id]?.sessions.insert(session)
        await seats.touch(id)
        return true
    }

    /// Whether the session was opened with this reservation.
    package func holds(_ session: String, by id: String) -> Bool {
        reservations[id]?.sessions.contains(session) ?? false
    }

    package func unbind(_ session: String, from id: String) {
        reservations[id]?.sessions.remove(session)
    }

    /// Ends what has run out; call about once a second.
    package func expire() async {
        let now = world.now()
        expired.forget(at: now)
        preempted.forget(at: now)
        for id in reservations.values.filter({ $0.expires <= now }).map(\.id).sorted() {
            guard let gone = remove(id) else { continue }
            expired.insert(gone.token.reveal(), at: now)
            await end(gone, .expired)
        }
    }

    /// Why somebody watches no more, as the audit log says it.
    private enum Ending: String {
        case released = "RELEASED"
        case expired = "EXPIRED"
        case preempted = "PREEMPTED"
        case revoked = "REVOKED"
    }

    private func end(_ reservation: StreamReservation, _ ending: Ending) async {
        // The log has kept room for the end of what has begun.
        try? auditing.note(
            AuditEvent(
                .viewStopped, by: reservation.holder,
                details: [
                    "camera_id": reservation.cameraID.rawValue,
                    "source": reservation.source.rawValue, "reservation_id": reservation.id,
                    "reason": ending.rawValue,
                ]))
        for session in reservation.sessions.sorted() { await close(session) }
        await seats.giveBack(reservation.id)
    }

    private func remove(_ id: String) -> StreamReservation? {
        guard let gone = reservations.removeValue(forKey: id) else { return nil }
        byToken[gone.token.reveal()] = nil
        return gone
    }
}
