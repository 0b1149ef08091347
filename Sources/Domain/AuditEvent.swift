// What the audit log tells, and the seam by which every service tells it.
// SPDX-License-Identifier: Apache-2.0

/// Something that somebody did, tried or was refused.
package struct AuditEvent: Sendable, Equatable {
    /// A closed set: the kinds are a metric's label.
    package enum Kind: String, Sendable, CaseIterable {
        case userCreated = "USER_CREATED"
        case userUpdated = "USER_UPDATED"
        case userStatusChanged = "USER_STATUS_CHANGED"
        case passwordChanged = "PASSWORD_CHANGED"
        case groupCreated = "GROUP_CREATED"
        case groupUpdated = "GROUP_UPDATED"
        case groupDeleted = "GROUP_DELETED"
        case groupMemberAdded = "GROUP_MEMBER_ADDED"
        case groupMemberRemoved = "GROUP_MEMBER_REMOVED"
        case groupsChanged = "GROUPS_CHANGED"
        case loginSucceeded = "LOGIN_SUCCEEDED"
        case loginFailed = "LOGIN_FAILED"
        case logout = "LOGOUT"
        case tokenIssued = "TOKEN_ISSUED"
        case tokenReused = "TOKEN_REUSED"
        case keyRotated = "KEY_ROTATED"
        case accessDenied = "ACCESS_DENIED"
        case viewStarted = "VIEW_STARTED"
        case viewStopped = "VIEW_STOPPED"
        case playbackOpened = "PLAYBACK_OPENED"
        case snapshotViewed = "SNAPSHOT_VIEWED"
        case exported = "EXPORTED"
        case clipCreated = "CLIP_CREATED"
        case clipUpdated = "CLIP_UPDATED"
        case clipDeleted = "CLIP_DELETED"
        case evidenceLocked = "EVIDENCE_LOCKED"
        case evidenceUnlocked = "EVIDENCE_UNLOCKED"
        case cameraCreated = "CAMERA_CREATED"
        case cameraUpdated = "CAMERA_UPDATED"
        case cameraDeleted = "CAMERA_DELETED"
        case cameraProbed = "CAMERA_PROBED"
        case cameraMoved = "CAMERA_MOVED"
        case folderCreated = "FOLDER_CREATED"
        case folderUpdated = "FOLDER_UPDATED"
        case folderDeleted = "FOLDER_DELETED"
        case layoutChanged = "LAYOUT_CHANGED"
        case settingsChanged = "SETTINGS_CHANGED"
        case recordingChanged = "RECORDING_CHANGED"
        case serverStarted = "SERVER_STARTED"
        case serverStopped = "SERVER_STOPPED"
        /// Events that came while the log could not be written and its queue was full.
        case eventsLost = "EVENTS_LOST"
    }

    package var kind: Kind
    package var actor: Actor
    /// Whom it was done to, where that is a person.
    package var subject: UserID?
    package var origin: RequestOrigin
    /// `camera_id`, `source`, `start_time`, `reason` …; never a secret.
    package var details: [String: String]

    package init(
        _ kind: Kind, by actor: Actor, subject: UserID? = nil,
        origin: RequestOrigin = RequestOrigin(), details: [String: String] = [:]
    ) {
        self.kind = kind
        self.actor = actor
        self.subject = subject
        self.origin = origin
        self.details = details
    }

    package init(
        _ kind: Kind, by caller: Caller, subject: UserID? = nil, details: [String: String] = [:]
    ) {
        self.init(
            kind, by: caller.actor, subject: subject, origin: caller.origin, details: details)
    }
}

/// How services write the audit log without knowing it.
package struct Auditing: Sendable {
    /// Returns when the event is on the disk. Throws STORAGE_UNAVAILABLE when it cannot be: what was
    /// to be done must then not be done (exports, changes).
    package var record: @Sendable (AuditEvent) async throws(MarsadError) -> Void
    /// Returns at once; the event is written within the second, or when the log can be written again. A
    /// program that dies before that has not written it.
    /// Throws STORAGE_UNAVAILABLE when no more events can wait: viewing must then not begin.
    package var note: @Sendable (AuditEvent) throws(MarsadError) -> Void

    package init(
        record: @escaping @Sendable (AuditEvent) async throws(MarsadError) -> Void,
        note: @escaping @Sendable (AuditEvent) throws(MarsadError) -> Void
    ) {
        self.record = record
        self.note = note
    }
}
