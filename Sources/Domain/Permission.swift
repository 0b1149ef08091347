// What somebody may do, and to which cameras.
// SPDX-License-Identifier: Apache-2.0

/// Some of the cameras: all of them, those of a source, or those of a camera group in it. It names
/// no camera, so that one which is added tomorrow is covered like those of today.
package enum CameraScope: Hashable, Sendable, CustomStringConvertible {
    case all
    case source(Source)
    case folder(Source, FolderID)

    /// `*`, `METRO` or `METRO/gates`.
    package init?(_ text: some StringProtocol) {
        if text == "*" {
            self = .all
            return
        }
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard let first = parts.first, let source = Source(first) else { return nil }
        switch parts.count {
        case 1: self = .source(source)
        case 2:
            guard let folder = FolderID(parts[1]) else { return nil }
            self = .folder(source, folder)
        default: return nil
        }
    }

    package var description: String {
        switch self {
        case .all: "*"
        case .source(let source): source.rawValue
        case .folder(let source, let folder): source.rawValue + "/" + folder.rawValue
        }
    }

    /// Whether a camera of this source and camera group is one of them.
    package func covers(_ source: Source, _ folder: FolderID?) -> Bool {
        switch self {
        case .all: true
        case .source(let own): own == source
        case .folder(let own, let group): own == source && group == folder
        }
    }
}

/// One permission; as text `camera:METRO:view`, `storage:admin`.
package struct Permission: Hashable, Sendable, CustomStringConvertible {
    /// Everything that can be permitted: a misspelt one is refused instead of kept without effect.
    package enum Action: String, Sendable, CaseIterable {
        case viewCamera = "camera:view"
        case moveCamera = "camera:ptz"
        case viewPlayback = "playback:view"
        case viewClip = "clip:view"
        case createClip = "clip:create"
        case exportClip = "clip:export"
        case administerCameras = "camera:admin"
        case administerStorage = "storage:admin"
        case administerUsers = "iam:admin"
        case administerLayouts = "layout:admin"
        case readAudit = "audit:read"

        /// Whether it is about cameras, and so has a scope.
        package var isScoped: Bool {
            switch self {
            case .viewCamera, .moveCamera, .viewPlayback, .viewClip, .createClip, .exportClip: true
            case .administerCameras, .administerStorage, .administerUsers, .administerLayouts,
                .readAudit:
                false
            }
        }
    }

    package let action: Action
    /// `nil` for an action that is not about cameras.
    package let scope: CameraScope?

    /// `nil` where a scope is missing, or has no meaning.
    package init?(_ action: Action, _ scope: CameraScope? = nil) {
        guard action.isScoped == (scope != nil) else { return nil }
        self.action = action
        self.scope = scope
    }

    package init?(_ text: some StringProtocol) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        switch parts.count {
        case 2:
            guard let action = Action(rawValue: String(text)) else { return nil }
            self.init(action)
        case 3:
            guard let action = Action(rawValue: "\(parts[0]):\(parts[2])"),
                let scope = CameraScope(parts[1])
            else { return nil }
            self.init(action, scope)
        default: return nil
        }
    }

    package var description: String {
        guard let scope else { return action.rawValue }
        let parts = action.rawValue.split(separator: ":")
        return "\(parts[0]):\(scope):\(parts[1])"
    }
}

/// A permission as a group has it.
package struct Grant: Hashable, Sendable {
    package let permission: Permission
    /// How far back playback reaches, in hours; `nil` without a limit. Of no meaning elsewhere.
    package let playbackHours: Int?

    /// The longest limit, a hundred years.
    package static let maxPlaybackHours = 876_000

    package init(_ permission: Permission, playbackHours: Int? = nil) {
        self.permission = permission
        self.playbackHours = playbackHours.map { min(max($0, 1), Self.maxPlaybackHours) }
    }
}
