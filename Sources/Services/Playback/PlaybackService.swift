// Playback sessions: prepared from the index in milliseconds, served from the recordings' own bytes.
// SPDX-License-Identifier: Apache-2.0

package import Domain
import MP4
import Manifests
package import NIOCore
package import Observability
package import Primitives

/// Where playback finds recordings; bound once where the program is wired.
package struct RecordingCatalog: Sendable {
    /// Segments of a camera in a range, oldest first, those still being written among them.
    package var segments: @Sendable (CameraID, TimeRange) async throws -> [Segment]
    package var gaps: @Sendable (CameraID, TimeRange) async throws -> [Gap]
    package var nearest:
        @Sendable (CameraID, WallTime) async throws -> (before: WallTime?, after: WallTime?)

    package init(
        segments: @escaping @Sendable (CameraID, TimeRange) async throws -> [Segment],
        gaps: @escaping @Sendable (CameraID, TimeRange) async throws -> [Gap],
        nearest:
            @escaping @Sendable (CameraID, WallTime) async throws -> (
                before: WallTime?, after: WallTime?
            )
    ) {
        self.segments = segments
        self.gaps = gaps
        self.nearest = nearest
    }
}

/// What `prepare` answers.
package struct PreparedPlayback: Sendable {
    package var sessionID: String
    package var playlistPath: String
    package var expiresAt: WallTime
    package var gaps: [Gap]
}

/// Holds the sessions and answers their requests.
package actor PlaybackService {
    private struct Session {
        var cameraID: CameraID
        var createdAt: WallTime
        var lastUsed: WallTime
        var gaps: [Gap]
        var pieces: [PlaybackPiece]
    }

    private static let linkLifetime = Duration.seconds(300)
    private static let idleLifetime = Duration.seconds(1800)
    private static let longestLifetime = Duration.seconds(12 * 3600)
    private static let sessionsAtMost = 10_000
    /// A longer range is asked for in parts.
    private static let longestRange = Duration.seconds(24 * 3600)
    private static let root = "/api/v1/playback"

    private let world: World
    private let catalog: RecordingCatalog
    private let node: any CameraNode
    private let signer: LinkSigner
    private let prepareDuration: Histogram
    private let activeSessions: Gauge
    private var sessions: [String: Session] = [:]

    package init(
        world: World, catalog: RecordingCatalog, node: any CameraNode, signer: LinkSigner,
        registry: MetricsRegistry
    ) {
        self.world = world
        self.catalog = catalog
        self.node = node
        self.signer = signer
        prepareDuration = registry.histogram(
            "cctv_playback_prepare_duration_seconds", help: "Time to prepare a playback session.")
        activeSessions = registry.gauge(
            "cctv_playback_sessions_active", help: "Playback sessions that have not expired.")
    }

    // MARK: Prepare and status

    /// Finds the recordings of a range. No byte of video is read.
    package func prepare(_ id: CameraID, _ range: TimeRange) async throws -> PreparedPlayback {
        let begun = world.now()
        guard range.end - range.start <= Self.longestRange, range.start < range.end else {
            throw MarsadError(
                .invalidTimeRange,
                details: ["longest_seconds": "\(Int(Self.longestRange.inSeconds))"])
        }
        let segments = try await catalog.segments(id, range)
        let pieces = PieceCutter.pieces(of: segments, in: range, origin: range.start)
        guard !pieces.isEmpty else { throw try await notRecorded(id, range) }
        let gaps = try await catalog.gaps(id, range)
        removeExpired()
        guard sessions.count < Self.sessionsAtMost else { throw MarsadError(.overloaded) }
        let sessionID = world.makeID()
        let now = world.wallTime()
        sessions[sessionID] = Session(
            cameraID: id, createdAt: now, lastUsed: now, gaps: gaps, pieces: pieces)
        activeSessions.set(Double(sessions.count))
        prepareDuration.observe(world.now() - begun)
        return prepared(sessionID, id, gaps, at: now)
    }

    package func status(_ sessionID: String) throws -> PreparedPlayback {
        let session = try use(sessionID)
        return prepared(sessionID, session.cameraID, session.gaps, at: world.wallTime())
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
    package func playlist(_ sessionID: String, token: String) throws -> String {
        let path = "\(Self.root)/playlist/\(sessionID).m3u8"
        let session = try use(sessionID, path: path, token: token)
        let expiry = session.createdAt + Self.longestLifetime
        func link(_ name: String) -> String {
            let path = "\(Self.root)/segment/\(sessionID)/\(name)"
            let token = signer.token(
                for: .init(path: path, sessionID: sessionID, cameraID: session.cameraID),
                expiresAt: expiry)
            return path + "?token=" + token
        }
        var inits: [String: String] = [:]
        var previousFile: PlaybackPiece?
        var initName = ""
        let segments = session.pieces.enumerated().map { index, piece in
            // A run has one set of parameter sets, so one initialization section serves it all.
            if previousFile?.segment.runID != piece.segment.runID { initName = "init-\(index).mp4" }
            previousFile = piece
            let initLink = inits[initName] ?? link(initName)
            inits[initName] = initLink
            return HLSPlaylist.MediaSegment(
                uri: link("\(index).m4s"), duration: piece.duration, wallTime: piece.wallTime,
                isDiscontinuous: piece.isDiscontinuous, initURI: initLink)
        }
        return HLSPlaylist(segments: segments, isEnded: true).serialize()
    }

    /// The bytes behind a link: `init-{n}.mp4` or `{n}.m4s`.
    package func media(_ sessionID: String, name: String, token: String) async throws -> ByteBuffer
    {
        let path = "\(Self.root)/segment/\(sessionID)/\(name)"
        let session = try use(sessionID, path: path, token: token)
        guard let (index, isInit) = Self.parse(name), session.pieces.indices.contains(index) else {
            throw MarsadError(.notFound)
        }
        let piece = session.pieces[index]
        return isInit
            ? try await MediaReader.initSegment(of: piece.segment, from: node)
            : try await MediaReader.media(of: piece, from: node)
    }

    private static func parse(_ name: String) -> (index: Int, isInit: Bool)? {
        if name.hasSuffix(".m4s"), let index = Int(name.dropLast(4)) { return (index, false) }
        if name.hasPrefix("init-"), name.hasSuffix(".mp4"),
            let index = Int(name.dropFirst(5).dropLast(4))
        {
            return (index, true)
        }
        return nil
    }

    // MARK: Sessions

    private func use(_ sessionID: String, path: String, token: String) throws(MarsadError)
        -> Session
    {
        guard let session = sessions[sessionID] else { throw MarsadError(.notFound) }
        let now = world.wallTime()
        try signer.verify(
            token, for: .init(path: path, sessionID: sessionID, cameraID: session.cameraID), at: now
        )
        return try use(sessionID)
    }

    private func use(_ sessionID: String) throws(MarsadError) -> Session {
        guard var session = sessions[sessionID] else { throw MarsadError(.notFound) }
        let now = world.wallTime()
        guard !isExpired(session, at: now) else {
            sessions[sessionID] = nil
            throw MarsadError(.linkExpired)
        }
        session.lastUsed = now
        sessions[sessionID] = session
        return session
    }

    private func isExpired(_ session: Session, at now: WallTime) -> Bool {
        session.lastUsed + Self.idleLifetime < now || session.createdAt + Self.longestLifetime < now
    }

    private func removeExpired() {
        let now = world.wallTime()
        sessions = sessions.filter { !isExpired($0.value, at: now) }
    }
}
