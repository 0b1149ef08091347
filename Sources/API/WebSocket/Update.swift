// What clients are told while it happens, and who may hear it.
// SPDX-License-Identifier: Apache-2.0

package import Domain
import NIOCore
import Primitives
import Synchronization

/// Something that changed. The newest of a kind replaces the one before it.
package enum Update: Hashable, Sendable {
    /// An agency's use of its quota; `limit` is `nil` where it has none.
    case quota(Source, current: Int, limit: Int?)
    /// A camera's state, as the contract calls it; `nil` once it is gone.
    case camera(CameraID, Source, FolderID?, status: String?)
    /// Live streams of each source.
    case stats([Source: Int])
    case alert(Alert)

    /// Something that an operator should know.
    package struct Alert: Hashable, Sendable {
        package var type: String
        package var english: String
        package var arabic: String
        package var severity: String
        /// Whose it is; `nil` for one that concerns everybody.
        package var source: Source?

        package init(
            type: String, english: String, arabic: String, severity: String, source: Source? = nil
        ) {
            self.type = type
            self.english = english
            self.arabic = arabic
            self.severity = severity
            self.source = source
        }
    }
}

/// What a client asks to be told of.
package enum UpdateTopic: String, CaseIterable, Sendable {
    case cameras, quota, stats, alerts, detections
}

/// What a message is about: of one subject only the newest message waits for a slow client.
enum UpdateSubject: Hashable, Sendable {
    case quota(Source)
    case camera(CameraID)
    case stats
    /// Alerts do not replace one another, but a slow client gets only so many of the newest.
    case alert(slot: UInt64)
}

/// Who listens, as far as messages are chosen by it.
struct UpdateViewer: Sendable {
    let visibility: Visibility
    /// The sources of which anything is visible; `nil` for all.
    let sources: [Source]?

    init(_ caller: Caller) {
        visibility = caller.visibility
        sources = caller.visibility.sources
    }

    func sees(_ source: Source) -> Bool { sources?.contains(source) ?? true }
}

/// An update with its number, encoded once for all who get the same bytes.
final class UpdateMessage: Sendable {
    static let keptAlerts: UInt64 = 32

    let sequence: UInt64
    let update: Update
    /// Whole frames; by the sources that are visible, where the content depends on them.
    private let frames = Mutex<[[Source]?: ByteBuffer]>([:])

    init(_ update: Update, sequence: UInt64) {
        self.update = update
        self.sequence = sequence
    }

    var topic: UpdateTopic {
        switch update {
        case .quota: .quota
        case .camera: .cameras
        case .stats: .stats
        case .alert: .alerts
        }
    }

    var subject: UpdateSubject {
        switch update {
        case .quota(let source, _, _): .quota(source)
        case .camera(let id, _, _, _): .camera(id)
        case .stats: .stats
        case .alert: .alert(slot: sequence % Self.keptAlerts)
        }
    }

    /// Whether it says how things are, so that one who comes later is told as well.
    var isState: Bool {
        switch update {
        case .quota, .stats: true
        case .camera(_, _, _, let status): status != nil
        case .alert: false
        }
    }

    /// The message as this viewer may read it; `nil` where it is not for him.
    func frame(for viewer: UpdateViewer) -> ByteBuffer? {
        switch update {
        case .quota(let source, _, _):
            return viewer.sees(source) ? encoded(for: nil) : nil
        case .camera(_, let source, let folder, _):
            return viewer.visibility.allows(source, folder) ? encoded(for: nil) : nil
        case .stats: return encoded(for: viewer.sources)
        case .alert(let alert):
            return alert.source.map(viewer.sees) ?? true ? encoded(for: nil) : nil
        }
    }

    private func encoded(for sources: [Source]?) -> ByteBuffer {
        frames.withLock { frames in
            if let known = frames[sources] { return known }
            let text = (try? jsonBytes(UpdateBody(update, sequence, sources))) ?? ByteBuffer()
            let frame = WebSocketFrames.text(text)
            frames[sources] = frame
            return frame
        }
    }
}

/// A message as the contract writes it.
private struct UpdateBody: Encodable {
    var type: String
    var seq: UInt64
    var source: String?
    var current: Int?
    var limit: Int?
    var cameraId: String?
    var status: String?
    var activeStreams: Int?
    var perSourceCount: [String: Int]?
    var messageEn: String?
    var messageAr: String?
    var severity: String?
    var alertType: String?

    /// - Parameter sources: the only ones to be counted; `nil` for all.
    init(_ update: Update, _ sequence: UInt64, _ sources: [Source]?) {
        seq = sequence
        switch update {
        case .quota(let source, let current, let limit):
            type = "AGENCY_LIMIT_UPDATE"
            self.source = source.rawValue
            self.current = current
            self.limit = limit
        case .camera(let id, _, _, let status):
            type = "CAMERA_STATUS"
            cameraId = id.rawValue
            self.status = status ?? "REMOVED"
        case .stats(let counts):
            type = "STREAM_STATS"
            let visible = counts.filter { sources?.contains($0.key) ?? true }
            activeStreams = visible.values.reduce(0, +)
            perSourceCount = Dictionary(
                uniqueKeysWithValues: visible.map { ($0.key.rawValue, $0.value) })
        case .alert(let alert):
            type = "ALERT"
            // `type` is the message's own: the contract's name for both can be used only once.
            alertType = alert.type
            messageEn = alert.english
            messageAr = alert.arabic
            severity = alert.severity
        }
    }
}
