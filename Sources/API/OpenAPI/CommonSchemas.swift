// Schemas of what occurs everywhere: identifiers, times, texts, pages of a list, errors.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Ingest

extension Schema {
    /// An identifier, of a camera, a user or a group.
    static let identifier = text(
        36...36, pattern: "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
    ).example("5b1f8f0e-6f2a-4f35-9f0e-3a6d1c2b4e57").named("Identifier")

    /// What an address holds in its last parts: a session, a segment; what is none of them is a 404.
    static let part = text(1...200, pattern: "^[A-Za-z0-9._-]+$")

    /// ISO 8601 in UTC, with Z and at most microseconds; 1970 to 2200.
    static let time = text(
        20...32,
        pattern: "^(19[7-9][0-9]|2[01][0-9]{2})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
            + "T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,11})?Z$",
        format: "date-time"
    ).example("2026-01-01T08:00:00Z").named("Time")

    static let source = text(1...32, pattern: "^[A-Z0-9_]+$").example("METRO")
    static let folder = text(1...64, pattern: "^[a-z0-9-]+$").example("gates")
    static let loginID = text(1...64, pattern: "^[A-Za-z0-9._@-]+$").example("amina")

    /// Text for people, on one line.
    static func line(_ length: ClosedRange<Int>) -> Schema {
        text(length, pattern: "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")
    }

    /// Text for people, of any lines.
    static func prose(_ length: ClosedRange<Int>? = nil) -> Schema {
        text(length, pattern: prosePattern)
    }

    static let prosePattern = "^[^\\u0000]*$"

    static let count = integer(0...Int(Int32.max))
}

extension Parameter {
    static let limit = Parameter("limit", .integer(Bounds.limit).defaulting(to: 100))
    static let offset = Parameter("offset", .integer(Bounds.offset).defaulting(to: 0))
    static let width = Parameter("width", .integer(Bounds.width))
    static let source = Parameter("source", .source)
    static let words = Parameter("q", .prose(1...200))
    static let camera = Parameter("camera_id", .identifier, isRequired: true)
}

/// Ranges of numbers from outside: the parsers check them, the document says them.
enum Bounds {
    /// Of a page of a list, and where it begins.
    static let limit = 1...500
    static let offset = 0...1_000_000
    /// Of a picture, in pixels.
    static let width = 16...3840
    static let timelineResolutionSeconds = 1...86_400
    static let reservationSeconds = 1...86_400
    static let retentionDays = Ingest.Limits.retentionDays
    static let cameraName = Ingest.Limits.nameCharacters
    /// Sources that have a limit of their own.
    static let limitedSources = 1000
    /// Numbers of rows; what JavaScript counts exactly.
    static let rowID = 1...(1 << 53)
}

extension ErrorBody {
    static let schema = Schema.object(
        "Error",
        [
            "error": .object([
                "code": .text().described("Stable; for programs."),
                "message_en": .text(), "message_ar": .text(), "request_id": .text(),
                "details": .table(.text()),
            ])
        ])
}
