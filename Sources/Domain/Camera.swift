// The camera as every service knows it, and its life as an operator sees it.
// SPDX-License-Identifier: Apache-2.0

package import Primitives

/// A camera's identity: a lower-case UUID string.
package struct CameraID: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let rawValue: String

    /// Accepts exactly the canonical lower-case UUID form, so that an id is safe in paths and labels.
    package init?(_ text: some StringProtocol) {
        guard let text = canonicalUUID(text) else { return nil }
        rawValue = text
    }

    package static func < (a: CameraID, b: CameraID) -> Bool { a.rawValue < b.rawValue }
    package var description: String { rawValue }
}

/// The agency that owns a camera (DUBAI_POLICE, METRO, BUS, OTHER …): data, not code.
package struct Source: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let rawValue: String

    /// Upper-case letters, digits and underscores, 1 to 32 of them: safe as a folder and a label.
    package init?(_ text: some StringProtocol) {
        let allowed = text.utf8.allSatisfy {
            (65...90).contains($0) || (48...57).contains($0) || $0 == UInt8(ascii: "_")
        }
        guard (1...32).contains(text.utf8.count), allowed else { return nil }
        rawValue = String(text)
    }

    package static func < (a: Source, b: Source) -> Bool { a.rawValue < b.rawValue }
    package var description: String { rawValue }
}

/// Whether and how a camera is recorded.
package enum RecordingMode: String, Sendable {
    case continuous = "CONTINUOUS"
    case off = "OFF"
}

/// How a camera's video comes here.
package enum CameraOrigin: String, Sendable {
    /// This server connects to it.
    case rtsp = "RTSP"
    /// It, or an encoder for it, connects to this server and publishes (RFC 9725).
    case whip = "WHIP"
}

/// Which of its streams a camera is asked for: the one that is recorded, or the smaller one that many
/// cameras offer beside it.
package enum CameraStream: String, Hashable, Sendable, CaseIterable {
    case main
    case sub
}

/// A camera's row.
package struct Camera: Sendable, Equatable {
    package var id: CameraID
    package var name: String
    package var nameArabic: String
    package var source: Source
    /// The camera group within its source; `nil` for none.
    package var folderID: FolderID?
    /// Its name in the system that it is imported from, once within its source; `nil` for none.
    package var externalID: String?
    package var origin: CameraOrigin
    /// Where its stream is, with credentials where it has them; never printed. Empty for one that
    /// publishes.
    package var address: Redacted<String>
    /// Where its sub-stream is, where it has one; sealed and never printed, like the first.
    package var subAddress: Redacted<String>?
    /// Whether its sound is taken: only where somebody decided so, since laws on listening are stricter
    /// than those on watching. It is never recorded.
    package var hasAudio = false
    package var recordingMode: RecordingMode
    /// Days its recordings are kept; `nil` for the installation's default.
    package var retentionDays: Int?
    /// The SHA-256 of what its publisher shows, in hexadecimal; `nil` for one that does not publish.
    package var publishTokenHash: String?
    package var createdAt: WallTime
    package var updatedAt: WallTime

    package init(
        id: CameraID, name: String, nameArabic: String, source: Source,
        origin: CameraOrigin = .rtsp, address: Redacted<String>,
        subAddress: Redacted<String>? = nil, recordingMode: RecordingMode = .continuous,
        retentionDays: Int? = nil, publishTokenHash: String? = nil, createdAt: WallTime
    ) {
        self.id = id
        self.name = name
        self.nameArabic = nameArabic
        self.source = source
        self.origin = origin
        self.address = address
        self.subAddress = subAddress
        self.recordingMode = recordingMode
        self.retentionDays = retentionDays
        self.publishTokenHash = publishTokenHash
        self.createdAt = createdAt
        self.updatedAt = createdAt
    }

    /// Whether a change from `before` leaves the connection and the recording as they are: another name,
    /// another group or another time to keep recordings costs no picture.
    package func keepsStream(of before: Camera) -> Bool {
        var same = before
        same.name = name
        same.nameArabic = nameArabic
        same.folderID = folderID
        same.externalID = externalID
        same.retentionDays = retentionDays
        same.updatedAt = updatedAt
        return same == self
    }
}

/// What a camera's supervisor is doing (media contract, Ingest).
package enum StreamStatus: String, Sendable, CaseIterable {
    case connecting = "CONNECTING"
    case active = "ACTIVE"
    case failed = "FAILED"
    case circuitOpen = "CIRCUIT_OPEN"
}

/// The state of one camera's stream, as the API shows it.
package struct StreamState: Sendable, Equatable {
    package var status: StreamStatus = .connecting
    /// Since when the present connection delivers.
    package var connectedAt: WallTime?
    /// The newest one, until it delivers again.
    package var lastFailure: CameraFailure?
    package var retryCount = 0
    package var bitsPerSecond = 0
    package var width = 0
    package var height = 0
    /// RFC 6381 form (`avc1.4D401F`).
    package var codec: String?
    /// Access units received since the program started.
    package var frames: UInt64 = 0
    /// Interruptions since the program started.
    package var gaps: UInt64 = 0
    package var lastFrameAt: WallTime?
    /// Whether its pictures reach the disk; false while the recorder waits, whatever the stream does.
    package var isRecording = false
    /// Its sub-stream, while somebody needs it.
    package var sub: SubStreamState?

    package init() {}
}

/// The state of a camera's sub-stream. It changes nothing about the camera's own.
package struct SubStreamState: Sendable, Equatable {
    package var status: StreamStatus
    package var lastFailure: CameraFailure?
    package var bitsPerSecond: Int
    package var width: Int
    package var height: Int

    package init(_ state: StreamState) {
        status = state.status
        lastFailure = state.lastFailure
        bitsPerSecond = state.bitsPerSecond
        width = state.width
        height = state.height
    }
}
