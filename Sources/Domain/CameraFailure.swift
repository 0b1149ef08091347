// Why a connection to a camera ended, or never was.
// SPDX-License-Identifier: Apache-2.0

/// What kind it was, and what was seen.
package struct CameraFailure: Error, Sendable, Equatable {
    /// What programs, metrics and the catalogue of words tell apart.
    package enum Kind: String, Sendable, CaseIterable {
        case address
        /// Outside the networks in which cameras may be.
        case network
        case refused
        case timeout
        case authentication
        case notFound
        case noVideo
        case protocolError = "protocol"
        case silent
        case closed
        /// A camera that is pushed to us, by nobody yet.
        case unpublished
    }

    private static let characters = 500

    package var kind: Kind
    /// What was seen, for people; at most 500 characters, without credentials.
    package var reason: String

    /// A longer reason is cut.
    package init(_ kind: Kind, _ reason: String) {
        self.kind = kind
        self.reason = String(reason.prefix(Self.characters))
    }
}
