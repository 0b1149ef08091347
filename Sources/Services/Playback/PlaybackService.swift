// Playback sessions: prepared from the index in milliseconds, served from the recordings' own bytes.
// SPDX-License-Identifier: Apache-2.0

package import Domain
import MP4
package import NIOCore
package import Observability
package import Primitives

/// What `prepare` answers.
package struct PreparedPlayback: Sendable {
    package var sessionID: String
    package var playlistPath: String
    package var expiresAt: WallTime
    package var gaps: [Gap]
}

/// Holds the sessions and answers their requests. A session is a few words: what its playlist says is
/// made from the index when it is asked for, and a link says itself what it serves.
package actor PlaybackService {
    private struct Session {
        var cameraID: CameraID
        var range: TimeRange
        /// Who plays it: it is nobody else's, and ends with his rights.
        var holder: Caller
        var createdAt: WallTime
        var lastUsed: WallTime
        /// Kept for a while after its end, so that its links are known to have expired.
        var endedAt: WallTime?

        /// Links to keyframes are the finer the shorter the range is.
        var length: PieceLength {
            range.end - range.start <= .seconds(3600) ? .standard : .long
        }
    }

    private static let linkLifetime = Duration.seconds(300)
    private static let idleLifetime = Duration.seconds(1800)
    private static let longestLifetime = Duration.seconds(12 * 3600)
    private static let sessionsAtMost = 10_000
    private static let endedAtMost = 10_000
    private static let sweepInterval = Duration.seconds(60)
    /// A longer range is asked for in parts.
    private static let longestRange = Duration.seconds(24 * 3600)
    private static let root = "/api/v1/playback"

    private let world: World
    private let catalog: RecordingCatalog
    private let node: any CameraNode
    private let signer: LinkSigner
    private let auditing: Auditing
    private let prepareDuration: Histogram
    private let activeSessions: Gauge
    private var sessions: [String: Session] = [:]
    private var active = 0
    private var sweptAt: WallTime
    private var recent = RecentSegments()

    package init(
        world: World, catalog: RecordingCatalog, node: any CameraNode, signer: LinkSigner,
        auditing: Auditing, registry: MetricsRegistry
    ) {
        self.world = world
        self.catalog = catalog
        self.node = node
        self.signer = signer
        self.auditing = auditing
        sweptAt = world.wallTime()
        prepareDuration = registry.histogram(
            "cctv_playback_prepare_duration_seconds", help: "Time to prepare a playback session.")
        activeSessions = registry.gauge(
            "cctv_playback_sessions_active", help: "Playback sessions that have not expired.")
    }

    // MARK: Prepare and status

    /// Finds the recordings of a range. No byte of video is read, and no list of fragments. Throws
    /// STORAGE_UNAVAILABLE where it cannot be told to the audit log.
    package func prepare(
        _ id: CameraID, _ range: TimeRange, by holder: Caller
    ) async throws -> PreparedPlayback {
        let begun = world.now()
        guard range.end - range.start <= Self.longestRange, range.start < range.end else {
            throw MarsadError(
                .invalidTimeRange,
                details: ["longest_seconds": "\(Int(Self.longestRange.inSeconds))"])
        }
        guard try await !catalog.spans(id, range).isEmpty else {
            throw try await notRecorded(id, range)
        }
        let gaps = try await catalog.gaps(id, range)
        let now = world.wallTime()
        sweep(at: now)
        guard active < Self.sessionsAtMost else { throw MarsadError(.overloaded) }
        let sessionID = world.makeID()
        try auditing.note(
            AuditEvent(
                .playbackOpened, by: holder,
                details: [
                    "camera_id": id.rawValue, "start_time": range.start.description,
                    "end_time": range.end.description, "session_id": sessionID,
                ]))
        sessions[sessionID] = Session(
            cameraID: id, range: range, holder: holder, createdAt: now, lastUsed: now, endedAt: nil)
        active += 1
        activeSessions.set(Double(active))
        prepareDuration.observe(world.now() - begun)
        return prepared(sessionID, id, gaps, at: now)
    }

    /// A new link to a session's playlist; of another's session NOT_FOUND.
    package func status(_ sessionID: String, by caller: Caller) async throws -> PreparedPlayback {
        guard sessions[sessionID]?.holder.actor == caller.actor else {
            throw MarsadError(.notFound)
        }
        let session = try use(sessionID)
        let gaps = try await catalog.gaps(session.cameraID, session.range)
        return prepared(sessionID, session.cameraID, gaps, at: world.wallTime())
    }

    private func prepared(
        _ sessionID: String, _ id: CameraID, _ gaps: [Gap], at now: WallTime
    ) -> PreparedPlayback {
        let path = "\(Self.root)/playlist/\(sessionID).m3u8"
        let expiry = now + Self.linkLifetime
        let token = signer.token(
            for: .init(path: path, sessionID: sessionID, cameraID: id), expiresAt: expiry)
        return PreparedPlayback(
            sessionID: sessionID, playlistPath: path + "?token=" + token, expiresAt: expiry,
            gaps: gaps)
    }

    private func notRecorded(_ id: CameraID, _ range: TimeRange) async throws -> MarsadError {
        let nearest = try await catalog.nearest(id, range.start)
        var details = ["camera_id": id.rawValue]
        if let before = nearest.before { details["nearest_before"] = before.description }
        if let after = nearest.after { details["nearest_after"] = after.description }
        return MarsadError(.recordingNotFound, details: details)
    }

    // MARK: Playlist and media

    /// The playlist's text, with a token in every link.
    package func playlist(_ sessionID: String, token: String) async throws -> String {
        let path = "\(Self.root)/playlist/\(sessionID).m3u8"
        let session = try use(sessionID, path: path, token: token)
        let root = Self.mediaRoot(sessionID)
        let expiry = session.createdAt + Self.longestLifetime
        let builder = PlaylistBuilder(
            cameraID: session.cameraID, range: session.range, length: session.length, root: root
        ) { [signer] stem in
            signer.token(
                for: .init(
                    path: root + "/" + stem, sessionID: sessionID, cameraID: session.cameraID),
                expiresAt: expiry)
        }
        guard let text = try await builder.text(from: catalog) else {
            throw try await notRecorded(session.cameraID, session.range)
        }
        return text
    }

    /// The bytes behind a link of the playlist. Its token is bound to the file and its place on the
    /// timeline; a piece that the playlist does not name is not served.
    package func media(_ sessionID: String, name: String, token: String) async throws -> ByteBuffer
    {
        guard let media = MediaName(name) else { throw MarsadError(.invalidSignature) }
        let session = try use(
            sessionID, path: Self.mediaRoot(sessionID) + "/" + media.stem, token: token)
        switch media.part {
        case .initSection:
            let segment = try await segment(media.segmentID, of: session.cameraID, fragments: 0)
            return try await MediaReader.initSegment(of: segment, from: node)
        case .fragments(let first, let end):
            let segment = try await segment(media.segmentID, of: session.cameraID, fragments: end)
            let pieces = PieceCutter.cut(
                segment, in: session.range, length: session.length, offset: media.offset)
            // The last piece of a file that is being written has grown since the playlist was made.
            guard
                var piece = pieces.first(where: {
                    $0.fragments.lowerBound == first && $0.fragments.upperBound >= end
                })
            else { throw MarsadError(.notFound) }
            piece.fragments = first..<end
            return try await MediaReader.media(of: piece, from: node)
        }
    }

    private static func mediaRoot(_ sessionID: String) -> String { "\(root)/segment/\(sessionID)" }

    /// A segment with at least so many fragments, from memory where players have just been there.
    private func segment(
        _ segmentID: String, of id: CameraID, fragments: Int
    ) async throws -> Segment {
        if let known = recent.segment(segmentID), known.cameraID == id,
            known.fragments.count >= fragments
        {
            return known
        }
        guard let segment = try await catalog.segment(id, segmentID) else {
            throw MarsadError(.notFound)
        }
        recent.add(segment)
        return segment
    }

    // MARK: Sessions

    /// Ends the sessions of a camera that is gone: their links answer as expired from here on.
    package func endSessions(of id: CameraID) {
        let now = world.wallTime()
        for (sessionID, session) in sessions where session.cameraID == id {
            end(sessionID, at: now)
        }
        recent.removeAll(of: id)
    }

    /// Ends the sessions of somebody whose rights have ended, in the same way.
    package func revoke(_ revocation: Revocation) {
        let now = world.wallTime()
        for (sessionID, session) in sessions where revocation.ends(session.holder) {
            end(sessionID, at: now)
        }
    }

    /// All that is played back, with who does.
    package var held: [HeldCamera] {
        sessions.compactMap { id, session in
            guard session.endedAt == nil else { return nil }
            return HeldCamera(id: id, cameraID: session.cameraID, holder: session.holder)
        }
    }

    /// Ends one session, in the same way.
    package func endSession(_ sessionID: String) { end(sessionID, at: world.wallTime()) }

    private func use(_ sessionID: String, path: String, token: String) throws(MarsadError)
        -> Session
    {
        guard let session = sessions[sessionID] else { throw MarsadError(.notFound) }
        try signer.verify(
            token, for: .init(path: path, sessionID: sessionID, cameraID: session.cameraID),
            at: world.wallTime())
        return try use(sessionID)
    }

    private func use(_ sessionID: String) throws(MarsadError) -> Session {
        let now = world.wallTime()
        sweep(at: now)
        guard var session = sessions[sessionID] else { throw MarsadError(.notFound) }
        guard session.endedAt == nil, !isExpired(session, at: now) else {
            end(sessionID, at: now)
            throw MarsadError(.linkExpired)
        }
        session.lastUsed = now
        sessions[sessionID] = session
        return session
    }

    private func end(_ sessionID: String, at now: WallTime) {
        guard let session = sessions[sessionID], session.endedAt == nil else { return }
        sessions[sessionID]?.endedAt = now
        active -= 1
        activeSessions.set(Double(active))
    }

    private func isExpired(_ session: Session, at now: WallTime) -> Bool {
        session.lastUsed + Self.idleLifetime < now || session.createdAt + Self.longestLifetime < now
    }

    /// Ends what has expired, and forgets what ended so long ago that its links are old as well.
    private func sweep(at now: WallTime) {
        let isDue = now - sweptAt >= Self.sweepInterval || now < sweptAt
        guard isDue || active >= Self.sessionsAtMost else { return }
        sweptAt = now
        for (sessionID, session) in sessions {
            if let endedAt = session.endedAt {
                if endedAt + Self.longestLifetime < now { sessions[sessionID] = nil }
            } else if isExpired(session, at: now) {
                end(sessionID, at: now)
            }
        }
        let surplus = sessions.count - active - Self.endedAtMost
        guard surplus > 0 else { return }
        let ended = sessions.filter { $0.value.endedAt != nil }
            .sorted { ($0.value.endedAt ?? now) < ($1.value.endedAt ?? now) }
        for (sessionID, _) in ended.prefix(surplus) { sessions[sessionID] = nil }
    }
}

/// The segments that were served last: a player asks for the pieces of one file one after the other.
struct RecentSegments: Sendable {
    private static let countAtMost = 64
    private var entries: [String: (segment: Segment, used: UInt64)] = [:]
    private var clock: UInt64 = 0

    mutating func segment(_ id: String) -> Segment? {
        clock &+= 1
        entries[id]?.used = clock
        return entries[id]?.segment
    }

    mutating func add(_ segment: Segment) {
        clock &+= 1
        entries[segment.id] = (segment, clock)
        guard entries.count > Self.countAtMost else { return }
        let oldest = entries.min { $0.value.used < $1.value.used }
        if let oldest { entries[oldest.key] = nil }
    }

    mutating func removeAll(of id: CameraID) {
        entries = entries.filter { $0.value.segment.cameraID != id }
    }
}
