// The one error that callers outside see: a stable code, and texts in both languages.
// SPDX-License-Identifier: Apache-2.0

/// A failure that the HTTP contract names. Its texts live in one catalogue at the edge.
package struct MarsadError: Error, Sendable, Equatable {
    /// The contract's codes (api contract, Errors).
    package enum Code: String, Sendable, CaseIterable {
        case invalidRequest = "INVALID_REQUEST"
        case invalidTimeRange = "INVALID_TIME_RANGE"
        case invalidSDP = "INVALID_SDP"
        case missingToken = "MISSING_TOKEN"
        case invalidToken = "INVALID_TOKEN"
        case tokenExpired = "TOKEN_EXPIRED"
        case invalidSignature = "INVALID_SIGNATURE"
        case invalidCredentials = "INVALID_CREDENTIALS"
        case sessionRevoked = "SESSION_REVOKED"
        case forbidden = "FORBIDDEN"
        case sourceForbidden = "SOURCE_FORBIDDEN"
        case userDisabled = "USER_DISABLED"
        case originNotAllowed = "ORIGIN_NOT_ALLOWED"
        case addressNotAllowed = "IP_NOT_ALLOWED"
        case notFound = "NOT_FOUND"
        case methodNotAllowed = "METHOD_NOT_ALLOWED"
        case cameraNotFound = "CAMERA_NOT_FOUND"
        case recordingNotFound = "RECORDING_NOT_FOUND"
        case reservationNotFound = "RESERVATION_NOT_FOUND"
        case alreadyExists = "ALREADY_EXISTS"
        case conflict = "CONFLICT"
        case lastAdministrator = "LAST_ADMINISTRATOR"
        case preconditionFailed = "PRECONDITION_FAILED"
        case preconditionRequired = "PRECONDITION_REQUIRED"
        case unprocessable = "UNPROCESSABLE"
        case linkExpired = "LINK_EXPIRED"
        case payloadTooLarge = "PAYLOAD_TOO_LARGE"
        case unsupportedMediaType = "UNSUPPORTED_MEDIA_TYPE"
        case agencyLimitExceeded = "AGENCY_LIMIT_EXCEEDED"
        case viewerLimitExceeded = "VIEWER_LIMIT_EXCEEDED"
        case cameraUnavailable = "CAMERA_UNAVAILABLE"
        case storageUnavailable = "STORAGE_UNAVAILABLE"
        case rateLimitExceeded = "RATE_LIMIT_EXCEEDED"
        case overloaded = "OVERLOADED"
        case internalError = "INTERNAL_ERROR"
    }

    package var code: Code
    /// What the code promises (`camera_id`, `nearest_before` …); shown to the caller, so never a secret.
    package var details: [String: String]
    /// Where the contract gives the code another status than its usual one.
    package var status: Int?

    package init(_ code: Code, status: Int? = nil, details: [String: String] = [:]) {
        self.code = code
        self.status = status
        self.details = details
    }
}
